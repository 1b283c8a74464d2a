"""Model families: image tokens, positions and pixels of one kind of model.

Importing this room loads numpy only; the torch half is `vtool.families.vlm`.
"""

from __future__ import annotations

from vtool.errors import UnknownName
from vtool.families.base import Block, Family, Patches, PixelSpec, Size
from vtool.families.qwen import QWEN3_VL, QWEN25_VL, QwenVL

FAMILIES: dict[str, QwenVL] = {f.name: f for f in (QWEN25_VL, QWEN3_VL)}
"""Families by name."""


def family(name: str) -> QwenVL:
    """The family of that name: ``"qwen25_vl"`` or ``"qwen3_vl"``.

    Raises:
        UnknownName: No such family; the message names the nearest.
    """
    if name not in FAMILIES:
        raise UnknownName("model family", name, FAMILIES)
    return FAMILIES[name]


def family_of_type(model_type: str) -> QwenVL:
    """The family whose checkpoints say ``model_type`` in ``config.json``.

    Raises:
        UnknownName: None does.
    """
    by_type = {f.model_type: f for f in FAMILIES.values()}
    if model_type not in by_type:
        raise UnknownName("model type", model_type, by_type)
    return by_type[model_type]


__all__ = [
    "FAMILIES",
    "Block",
    "Family",
    "Patches",
    "PixelSpec",
    "QwenVL",
    "Size",
    "family",
    "family_of_type",
]
