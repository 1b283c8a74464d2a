"""Tools are plain typed functions; `@tool` reads their signature and docstring.

A tool's function gets values (`Image`, `Box`, `int` ...), never raw model text: only the
`Toolbox` turns a model's arguments into values. It returns an `Image`, a `str`, another store
value, or an `Observation` for several of these. It raises `ModelFault` where the request itself
was wrong; any other exception is a bug of the tool.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, overload

from vtool.config import build
from vtool.errors import ModelFault, RecipeError, VToolError
from vtool.needs import Lack, Need
from vtool.observation import Call, Finding, Observation, Settings, ToolReturn, Way
from vtool.registry import Registry
from vtool.toolspec import KINDS, MEDIA_KINDS, PLACE_KINDS, VALUE_KINDS, Kind, Param, ToolSpec
from vtool.workspace import Workspace

__all__ = [
    "Call",
    "Finding",
    "Kind",
    "Observation",
    "Param",
    "Settings",
    "Tool",
    "ToolReturn",
    "ToolSpec",
    "Way",
    "Workspace",
    "choose",
    "tool",
    "tools",
]


class Closing(Protocol):
    """Something that is given back when it is no longer needed."""

    def close(self) -> None:
        """Give it back; more than once is allowed, and it may be needed again afterwards."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Tool:
    """A function with its spec."""

    spec: ToolSpec
    fn: Callable[..., Any]
    call_arg: str | None = None
    """Name of the function's `Call` argument, if it has one."""
    settings_arg: str | None = None
    """Name of its `Settings` argument, if it has one."""
    settings: Settings | None = None
    workspace_arg: str | None = None
    """Name of its `Workspace` argument, if it has one: it may keep state between calls."""
    batched: Callable[[list[dict[str, Any]]], list[ToolReturn | ModelFault]] | None = None
    """Answers several calls at once, in order; set by `batch`."""
    warmed: Callable[..., object] | None = None
    """Loads what the first call would load; set by `warm`."""
    holds: Closing | None = None
    """What stands behind it, such as a connection; `Toolbox.close` closes it."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the plain function, under the tool's settings unless others are given."""
        if self.settings_arg is not None:
            kwargs = {self.settings_arg: self.settings, **kwargs}
        return self.fn(*args, **kwargs)

    def batch(
        self, fn: Callable[[list[dict[str, Any]]], list[ToolReturn | ModelFault]]
    ) -> Callable[[list[dict[str, Any]]], list[ToolReturn | ModelFault]]:
        """Decorator of a function that answers several calls of an isolated tool at once.

        It gets the arguments of each call and gives a result or a `ModelFault` for each, in
        order. If it raises, the calls are made one by one.
        """
        object.__setattr__(self, "batched", fn)
        return fn

    def warm(self, fn: Callable[..., object]) -> Callable[..., object]:
        """Decorator of a function that a worker calls once before its first call.

        It gets the tool's settings, if the tool has settings. Loading here does not count
        towards any call's deadline.
        """
        object.__setattr__(self, "warmed", fn)
        return fn

    def set(self, **values: object) -> Tool:
        """The same tool under other settings.

        Raises:
            RecipeError: A setting that it does not have, or of a wrong type.
        """
        if self.settings is None:
            if values:
                raise RecipeError(f"tool {self.spec.name} has no settings, got {', '.join(values)}")
            return self
        body = {**dataclasses.asdict(typing.cast(Any, self.settings)), **values}
        made = build(type(self.settings), body, f"tool {self.spec.name}")
        return dataclasses.replace(self, settings=made)

    def lacks(self) -> list[Lack]:
        """What is missing before it can run here; loads nothing heavy."""
        found = (need.lack(self.settings) for need in self.spec.needs)
        return [lack for lack in found if lack is not None]


def _load_tools() -> None:
    """Ours come through entry points; in a bare checkout there is nothing more to load."""


tools: Registry[Tool] = Registry("tool", "vtool.tools", _load_tools)
"""All tools by name. Published packages add theirs through the entry point group."""


def choose(what: Tool | str | Mapping[str, Any]) -> Tool:
    """A tool from what a recipe or a script says of it.

    Args:
        what: The tool itself, its name, or `{name: {setting: value}}`.

    Raises:
        UnknownName: No such tool.
        RecipeError: Settings that do not fit.
    """
    if isinstance(what, Tool):
        return what
    if isinstance(what, str):
        return tools.get(what)
    if len(what) != 1:
        raise RecipeError(f"a tool is a name or {{name: settings}}, got {dict(what)!r}")
    name, values = next(iter(what.items()))
    if not isinstance(values, Mapping | None):
        raise RecipeError(f"settings of tool {name} are keys and values, got {values!r}")
    return tools.get(name).set(**(values or {}))


@overload
def tool(fn: Callable[..., Any], /) -> Tool: ...
@overload
def tool(
    *,
    name: str | None = None,
    version: str = "1",
    seconds: float = 30.0,
    concurrency: int = 0,
    pure: bool = True,
    needs: Sequence[Need] = (),
    isolated: bool = False,
    batch: int = 1,
) -> Callable[[Callable[..., Any]], Tool]: ...
def tool(
    fn: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    version: str = "1",
    seconds: float = 30.0,
    concurrency: int = 0,
    pure: bool = True,
    needs: Sequence[Need] = (),
    isolated: bool = False,
    batch: int = 1,
) -> Tool | Callable[[Callable[..., Any]], Tool]:
    """Make a tool of a typed function, and register it.

    Args:
        fn: The function, when used without parentheses.
        name: What models call it; the function's name by default.
        version: Part of the cache key.
        seconds: Deadline of one call.
        concurrency: How many calls may run at once; 0 means any number.
        pure: Whether equal arguments give equal results.
        needs: Libraries, programs and weights without which it cannot run.
        isolated: Whether calls run in a worker process, which is killed at the deadline.
        batch: How many calls its batch function takes at once (isolated tools).

    Raises:
        VToolError: An argument without a type, or of a type that cannot be bound.
    """

    def make(f: Callable[..., Any]) -> Tool:
        summary, told = _docstring(f)
        params, own, settings = _params(f, told)
        called = name or f.__name__
        spec = ToolSpec(called, summary, params, version, seconds, concurrency, pure, tuple(needs))
        spec = dataclasses.replace(spec, isolated=isolated, batch=batch)
        return tools.add(spec.name, Tool(spec, f, own.call, own.settings, settings, own.workspace))

    return make if fn is None else make(fn)


@dataclass(slots=True)
class _Own:
    """Names of the arguments that the house fills in."""

    call: str | None = None
    settings: str | None = None
    workspace: str | None = None


def _params(
    f: Callable[..., Any], told: Mapping[str, str]
) -> tuple[tuple[Param, ...], _Own, Settings | None]:
    hints = typing.get_type_hints(f)
    params: list[Param] = []
    own, settings = _Own(), None
    last: str | None = None
    for arg in inspect.signature(f).parameters.values():
        if arg.name not in hints:
            raise VToolError(f"tool {f.__name__}: argument {arg.name!r} needs a type")
        hint = _strip_none(hints[arg.name])
        required = arg.default is inspect.Parameter.empty
        if hint is Call:
            own.call = arg.name
        elif hint is Workspace:
            own.workspace = arg.name
        elif inspect.isclass(hint) and issubclass(hint, Settings):
            own.settings, settings = arg.name, hint() if required else arg.default
        else:
            kind, choices = _kind(f.__name__, arg.name, hint)
            if kind in MEDIA_KINDS | VALUE_KINDS:
                last = arg.name
            of = last if kind in PLACE_KINDS or kind is Kind.SPAN else None
            default = None if required else arg.default
            about = told.get(arg.name, "")
            params.append(Param(arg.name, kind, about, required, default, choices, of))
    return tuple(params), own, settings


def _kind(function: str, arg: str, hint: object) -> tuple[Kind, tuple[str, ...]]:
    if typing.get_origin(hint) is Literal:
        return Kind.STRING, tuple(str(c) for c in typing.get_args(hint))
    kind = KINDS.get(hint)
    if kind is None:
        names = ", ".join(getattr(k, "__name__", str(k)) for k in KINDS)
        raise VToolError(f"tool {function}: {arg!r} has type {hint}, which is none of {names}")
    return kind, ()


def _strip_none(hint: object) -> object:
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        rest = [a for a in typing.get_args(hint) if a is not type(None)]
        if len(rest) == 1:
            return rest[0]
    return hint


def _docstring(f: Callable[..., Any]) -> tuple[str, dict[str, str]]:
    """First paragraph, and the `Args:` entries of a Google docstring."""
    doc = inspect.getdoc(f) or ""
    if not doc.strip():
        raise VToolError(f"tool {f.__name__} needs a docstring: it is what the model is told")
    summary = " ".join(re.split(r"\n\s*\n|\nArgs:", doc, maxsplit=1)[0].split())
    found = re.search(r"^Args:\n((?:[ \t]+.*\n?|\n)+)", doc, re.MULTILINE)
    told: dict[str, str] = {}
    name = None
    for line in (found.group(1) if found else "").splitlines():
        entry = re.match(r"^ {2,4}(\w+)(?: \([^)]*\))?: *(.*)$", line)
        if entry:
            name = entry.group(1)
            told[name] = entry.group(2)
        elif name and line.strip():
            told[name] += " " + line.strip()
    return summary, told
