"""Recipes: YAML onto frozen dataclasses, `key=value` overrides, strict keys.

Components are named by registry name, never by dotted path. Unknown keys are refused, and the
nearest one is offered.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config

from vtool.errors import RecipeError, nearest
from vtool.message import Json

T = TypeVar("T")

STRICT = ConfigDict(extra="forbid", arbitrary_types_allowed=True)


def read_yaml(path: Path | str) -> dict[str, Any]:
    """A YAML file as plain values.

    Raises:
        RecipeError: Unreadable, not YAML, or no mapping.
    """
    try:
        body = yaml.load(Path(path).read_text(encoding="utf-8"), Loader=_OneKeyLoader)
    except OSError as err:
        raise RecipeError(f"cannot read recipe {path}: {err.strerror}") from err
    except UnicodeDecodeError as err:
        raise RecipeError(f"recipe {path} is not UTF-8 text") from err
    except yaml.YAMLError as err:
        raise RecipeError(f"recipe {path} is not YAML: {err}") from err
    if not isinstance(body, dict):
        raise RecipeError(f"recipe {path} needs keys and values, got {type(body).__name__}")
    return body


class _OneKeyLoader(yaml.SafeLoader):
    """The safe loader, for which a key that comes twice is an error rather than the last one.

    Only true and false are truth values, as in YAML 1.2: `on` is the name of a key of ours.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        twice = [k for k, n in Counter(map(str, keys)).items() if n > 1]
        if twice:
            raise yaml.constructor.ConstructorError(
                None, None, f"the key {twice[0]!r} comes twice", node.start_mark
            )
        return super().construct_mapping(node, deep)


_OneKeyLoader.yaml_implicit_resolvers = {
    first: [(tag, seen) for tag, seen in found if not tag.endswith(":bool") or first in "tTfF"]
    for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def override(body: Mapping[str, Any], pairs: Iterable[str]) -> dict[str, Any]:
    """Apply `a.b=value` pairs; values are read as YAML.

    Raises:
        RecipeError: A pair without `=`, or a path through something that is no mapping.
    """
    out: dict[str, Any] = {**body}
    for pair in pairs:
        path, sep, text = pair.partition("=")
        if not sep or not path:
            raise RecipeError(f"an override is key=value, got {pair!r}")
        at = out
        *parents, last = path.split(".")
        for name in parents:
            inner = at.get(name, {})
            if not isinstance(inner, dict):
                raise RecipeError(f"override {pair!r}: {name!r} holds no keys")
            at[name] = {**inner}
            at = at[name]
        try:
            at[last] = yaml.load(text, Loader=_OneKeyLoader)
        except yaml.YAMLError as err:
            raise RecipeError(f"override {pair!r}: the value is not YAML") from err
    return out


def merged(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Keys of `new` over those of `old`, key by key where both hold mappings."""
    out = dict(old)
    for key, value in new.items():
        both = isinstance(value, Mapping) and isinstance(out.get(key), Mapping)
        # Options belong to the thing that they are options of, so they are replaced whole.
        replace = not both or key.endswith("options")
        out[key] = value if replace else merged(out[key], value)
    return out


def build(cls: type[T], body: Mapping[str, Any], where: str = "recipe") -> T:
    """Make a dataclass of plain values, strictly.

    Args:
        cls: A dataclass, perhaps of dataclasses.
        body: Keys and values.
        where: What to call it in messages.

    Raises:
        RecipeError: Unknown keys (nearest offered), missing keys, wrong types.
    """
    check_keys(cls, body, where)
    try:
        strict = with_config(STRICT)(cls) if not hasattr(cls, "__pydantic_config__") else cls
        return TypeAdapter(strict).validate_python(dict(body))
    except ValidationError as err:
        lines = [_told(e["loc"], e["msg"]) for e in err.errors()]
        raise RecipeError(f"{where} does not fit: " + "; ".join(lines)) from err


def _told(keys: tuple[int | str, ...], message: str) -> str:
    """A complaint of the validator in our words: the key where there is one, and what is wrong."""
    where = ".".join(map(str, keys))
    said = message.removeprefix("Value error, ")
    return f"{where}: {said}" if where else said


def check_keys(cls: object, body: object, where: str) -> None:
    """Refuse unknown keys at any depth, offering the nearest.

    Raises:
        RecipeError: An unknown key.
    """
    cls = _dataclass_in(cls)
    if cls is None or not isinstance(body, Mapping):
        return
    hints = typing.get_type_hints(cls)
    names = [f.name for f in dataclasses.fields(typing.cast(Any, cls))]
    for key, value in body.items():
        if key not in names:
            raise RecipeError(
                f"{where} has no key {key!r}{nearest(str(key), names)}; keys: {', '.join(names)}"
            )
        check_keys(hints[key], value, f"{where}.{key}")
        if isinstance(value, list):
            for i, item in enumerate(value):
                for arg in typing.get_args(hints[key]):
                    check_keys(arg, item, f"{where}.{key}[{i}]")


def _dataclass_in(hint: object) -> object | None:
    if dataclasses.is_dataclass(hint):
        return hint
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        found = [a for a in typing.get_args(hint) if dataclasses.is_dataclass(a)]
        return found[0] if len(found) == 1 else None
    return None


def to_plain(value: object) -> Json:
    """A dataclass as plain values, for saving beside a run."""
    return typing.cast(Json, TypeAdapter(type(value)).dump_python(value, mode="json"))
