"""The reproduction card: what someone else needs to get the same numbers."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import is_dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from vtool.config import to_plain
from vtool.message import Json

from .attempt import Attempt
from .judging import Judging
from .key import contract, dataset_hash, text_hash

PACKAGES = ("vtool-agent", "numpy", "pillow", "torch", "transformers", "tokenizers", "av")


def card(
    played: Mapping[str, Json],
    attempts: Sequence[Attempt],
    renderer: object,
    judging: Judging | None,
) -> dict[str, Json]:
    """The card of an evaluation.

    Args:
        played: Settings, tools and renderer.
        attempts: What was played; their keys say what was asked.
        renderer: How the model was spoken to; None where nothing was played.
        judging: Who was asked, if anybody.
    """
    keys = {(a.task_id, a.attempt): a.key for a in attempts}
    return {
        "seed": played.get("seed"),
        "policy": played.get("policy"),
        "weights": played.get("weights"),
        "metric": played.get("metric"),
        "tools": played.get("tools"),
        "control": played.get("control"),
        "sampling": played.get("sampling"),
        "limits": played.get("limits"),
        "settings_hash": contract(played),
        "dataset_hash": dataset_hash(keys),
        "questions_hash": text_hash(sorted({f"{a.task_id}\n{a.question}" for a in attempts})),
        "renderer": played.get("renderer"),
        "prompt_hash": played.get("wording"),
        **_written(renderer),
        "judge": None if judging is None else judging.name,
        "versions": versions(),
    }


def _written(renderer: Any) -> dict[str, Json]:
    """Hash of the chat template, and the limits of pictures."""
    family, chat = getattr(renderer, "family", None), getattr(renderer, "chat", None)
    pixels = getattr(family, "spec", None)
    return {
        "template_hash": text_hash([repr(chat)]) if is_dataclass(chat) else None,
        "pixel_limits": to_plain(pixels) if is_dataclass(pixels) else None,
        "max_images": getattr(renderer, "max_images", None),
    }


def versions() -> dict[str, Json]:
    """Of Python, the machine and the packages that an answer may depend on."""
    found: dict[str, Json] = {
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
    }
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
