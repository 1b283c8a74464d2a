"""Which dialect is written in which family: tested pairs, and renderers from checkpoint folders.

A family and a dialect that were never tried together are refused: a wrong pair trains on text
that its model has never seen, and says nothing.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vtool.chat import ChatTemplate
from vtool.codec import Codec
from vtool.dialects import make_dialect
from vtool.errors import CheckpointError, UnknownName, nearest
from vtool.families import family
from vtool.families.base import Family
from vtool.families.folder import family_of_folder
from vtool.patch_cache import PatchCache
from vtool.plain_codec import PlainCodec, PlainFamily
from vtool.showing import ClipForm
from vtool.token_render import TokenRenderer

FILE = "vtool.json"
"""What a checkpoint folder says about its own syntax."""

_SHOWN = {"coordinates": {"units": "shown"}}

PAIRS: dict[tuple[str, str], Mapping[str, Any]] = {
    ("plain", "hermes"): {},
    ("plain", "inline"): {},
    ("qwen25_vl", "hermes"): _SHOWN,
    ("qwen25_vl", "inline"): {},
    ("qwen3_vl", "hermes"): {},
    ("qwen3_vl", "inline"): {},
}
"""Tested (family, dialect) pairs with what their released models write by default."""


@dataclass(frozen=True, slots=True)
class RenderSettings:
    """How a checkpoint is talked to; lies in its folder as `vtool.json`."""

    family: str | None = None
    """For readers; where it is given, it must be that of `config.json`."""
    dialect: str = "hermes"
    options: Mapping[str, Any] = field(default_factory=dict)
    """Options of the dialect."""
    announce: bool = True
    """Whether tools are told in a system prompt."""
    opening: str = ""
    default_system: str | None = None
    max_images: int = 128
    clips: str = "pictures"
    """What frames of clips become: `pictures`, or `video` tokens. A folder without `vtool.json` is
    a released model, which was trained with the latter."""
    tools: tuple[str, ...] = ()
    """Tools that the checkpoint was trained with; commands offer these by default."""

    @classmethod
    def read(cls, folder: Path | str) -> RenderSettings:
        """The settings of a folder; the defaults where it has none.

        Raises:
            CheckpointError: `vtool.json` is no JSON object, or has a key that does not exist.
        """
        file = Path(folder) / FILE
        if not file.is_file():
            return cls(clips=ClipForm.VIDEO)
        try:
            body = json.loads(file.read_text(encoding="utf-8"))
        except ValueError as err:
            raise CheckpointError(f"{file} cannot be read as JSON: {err}") from err
        known = [f.name for f in dataclasses.fields(cls)]
        for key in body if isinstance(body, dict) else [repr(body)[:40]]:
            if key not in known:
                raise CheckpointError(
                    f"{file}: expected {', '.join(known)}, got {key!r}{nearest(key, known)}"
                )
        if body.get("clips", ClipForm.VIDEO) not in list(ClipForm):
            wanted = " or ".join(ClipForm)
            raise CheckpointError(f"{file}: clips: expected {wanted}, got {body['clips']!r}")
        return cls(**{**body, "tools": tuple(body.get("tools", ()))})

    def write(self, folder: Path | str) -> None:
        """Write `vtool.json`."""
        text = json.dumps(dataclasses.asdict(self), indent=2, sort_keys=True) + "\n"
        (Path(folder) / FILE).write_text(text, encoding="utf-8")


def render_pair(
    family_name: str,
    dialect_name: str,
    tokenizer_folder: Path | str | None = None,
    **settings: Any,
) -> TokenRenderer:
    """A renderer of a tested pair.

    Args:
        family_name: Such as `qwen3_vl`, or `plain`.
        dialect_name: Such as `hermes`.
        tokenizer_folder: Holds `tokenizer.json`; `plain` needs none.
        settings: Fields of `RenderSettings`.

    Raises:
        UnknownName: The pair was never tested; lists those that were.
        CheckpointError: The tokenizer lacks a control token.
    """
    chosen = RenderSettings(dialect=dialect_name, **settings)
    check_pair(family_name, dialect_name)
    if family_name == "plain":
        return _build(PlainFamily(), PlainCodec(), chosen, None)
    if tokenizer_folder is None:
        raise CheckpointError(f"{family_name} needs the folder of its tokenizer.json")
    return _build(family(family_name), _codec(tokenizer_folder), chosen, None)


def load_renderer(
    folder: Path | str, *, patch_cache: PatchCache | None = None, **settings: Any
) -> TokenRenderer:
    """The renderer of a checkpoint folder.

    Reads `config.json` and `preprocessor_config.json` (family, patch geometry, pixel bounds),
    `tokenizer.json`, and `vtool.json` where it is there.

    Args:
        folder: The checkpoint.
        patch_cache: Shared by several renderers, if given.
        settings: Fields of `RenderSettings` that replace what the folder says.

    Raises:
        CheckpointError: A file is missing, damaged or foreign.
        UnknownName: The family and the dialect were never tested together.
    """
    found = family_of_folder(folder)
    chosen = dataclasses.replace(RenderSettings.read(folder), **settings)
    if chosen.family not in (None, found.name):
        raise CheckpointError(
            f"{FILE} says family {chosen.family}, config.json says {found.name}: mend one of them"
        )
    check_pair(found.name, chosen.dialect)
    return _build(found, _codec(folder), chosen, patch_cache)


def check_pair(family_name: str, dialect_name: str) -> None:
    """Refuse what was never tested together.

    Raises:
        UnknownName: Lists the tested pairs.
    """
    if (family_name, dialect_name) not in PAIRS:
        known = [f"{f}/{d}" for f, d in PAIRS]
        raise UnknownName("tested pair", f"{family_name}/{dialect_name}", known)


def _build(
    found: Family, codec: Codec, chosen: RenderSettings, cache: PatchCache | None
) -> TokenRenderer:
    options = {**PAIRS[(found.name, chosen.dialect)], **chosen.options}
    return TokenRenderer(
        found,
        codec,
        make_dialect(chosen.dialect, options),
        announce=chosen.announce,
        chat=ChatTemplate(opening=chosen.opening, default_system=chosen.default_system),
        max_images=chosen.max_images,
        patch_cache=cache,
        clips=chosen.clips,
    )


def _codec(folder: Path | str) -> Codec:
    from vtool.families.text import TextCodec

    return TextCodec.load(folder)
