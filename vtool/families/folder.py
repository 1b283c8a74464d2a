"""What a checkpoint folder says about itself, read without torch and without trust.

Plain Hugging Face layout: ``config.json``, ``preprocessor_config.json``, ``*.safetensors``,
``tokenizer.json``. Pickled weights and checkpoint-supplied code are refused, never run.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from vtool.errors import CheckpointError
from vtool.families import QwenVL, family_of_type
from vtool.families.base import PixelSpec

PICKLES = frozenset({".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt"})
"""Endings of files that run code when they are loaded."""

CONFIGS = (
    "config.json",
    "generation_config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "tokenizer_config.json",
)


def check_folder(folder: Path | str) -> Path:
    """Refuse a checkpoint that is not there, or not safe to load.

    Raises:
        CheckpointError: It is missing, holds pickles, asks for its own code, or names weight
            files that are not safetensors inside the folder.
    """
    path = Path(folder)
    if not (path / "config.json").is_file():
        raise CheckpointError(f"{path} holds no config.json: it is no checkpoint folder")
    check_safe(path)
    return path


def check_safe(path: Path) -> None:
    """Whatever a checkpoint holds, loading it runs no code of its own.

    Raises:
        CheckpointError: It would.
    """
    check_no_pickles(path)
    check_no_code(path)
    check_index(path)


def check_no_pickles(path: Path) -> None:
    """Safetensors only.

    Raises:
        CheckpointError: Pickled files are there, or no safetensors.
    """
    pickles = sorted(f.name for f in path.iterdir() if f.suffix.lower() in PICKLES)
    if pickles:
        raise CheckpointError(
            f"{path} holds {', '.join(pickles)}: pickled files can run code when loaded. Convert "
            "the weights to safetensors and move these files away"
        )
    if not any(path.glob("*.safetensors")):
        raise CheckpointError(f"{path} holds no *.safetensors: there are no weights to load")


def check_no_code(path: Path) -> None:
    """No code out of a checkpoint.

    Raises:
        CheckpointError: A configuration has an ``auto_map``.
    """
    for name in CONFIGS:
        if (path / name).is_file() and _mentions(_read(path / name), "auto_map"):
            raise CheckpointError(
                f"{path / name} has an auto_map: it asks to run code from the checkpoint, which "
                "is never done. Use a checkpoint of a family that transformers itself knows"
            )


def check_index(path: Path) -> None:
    """A shard index may only name safetensors next to it.

    Raises:
        CheckpointError: It names anything else, or a shard that is missing.
    """
    index = path / "model.safetensors.index.json"
    if not index.is_file():
        return
    for shard in sorted(set(_read(index).get("weight_map", {}).values())):
        if Path(shard).name != shard or not shard.endswith(".safetensors"):
            raise CheckpointError(f"{index} names {shard!r}, which is no safetensors next to it")
        if not (path / shard).is_file():
            raise CheckpointError(f"{index} names {shard}, which is missing")


def family_of_folder(folder: Path | str) -> QwenVL:
    """The family of a checkpoint, with its own patch geometry and pixel bounds.

    Raises:
        CheckpointError: There is no readable ``config.json``.
        UnknownName: No family of the house has that model type.
    """
    path = Path(folder)
    config = _read(path / "config.json")
    family = family_of_type(str(config.get("model_type")))
    processor = path / "preprocessor_config.json"
    return family_from(family, config, _read(processor) if processor.is_file() else {})


def family_from(family: QwenVL, config: Mapping[str, Any], processor: Mapping[str, Any]) -> QwenVL:
    """``family`` as a configuration and a processor configuration say; both may be partial."""
    vision = config.get("vision_config") or {}
    size = processor.get("size") or {}
    old = family.spec
    spec = PixelSpec(
        patch=int(vision.get("patch_size", old.patch)),
        merge=int(vision.get("spatial_merge_size", old.merge)),
        temporal=int(vision.get("temporal_patch_size", old.temporal)),
        min_pixels=int(processor.get("min_pixels") or size.get("shortest_edge", old.min_pixels)),
        max_pixels=int(processor.get("max_pixels") or size.get("longest_edge", old.max_pixels)),
        mean=_three(processor.get("image_mean", old.mean)),
        std=_three(processor.get("image_std", old.std)),
    )
    rate = family.tokens_per_second and float(
        vision.get("tokens_per_second", family.tokens_per_second)
    )
    return dataclasses.replace(family, spec=spec, tokens_per_second=rate)


def processor_json(spec: PixelSpec) -> dict[str, Any]:
    """``preprocessor_config.json`` from which plain transformers builds an equal processor."""
    return {
        "image_processor_type": "Qwen2VLImageProcessor",
        "patch_size": spec.patch,
        "merge_size": spec.merge,
        "temporal_patch_size": spec.temporal,
        "size": {"shortest_edge": spec.min_pixels, "longest_edge": spec.max_pixels},
        "image_mean": list(spec.mean),
        "image_std": list(spec.std),
    }


def _read(path: Path) -> dict[str, Any]:
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as err:
        raise CheckpointError(f"{path} cannot be read as JSON: {err}") from err
    if not isinstance(body, dict):
        raise CheckpointError(f"{path} must hold a JSON object, not {type(body).__name__}")
    return body


def _mentions(body: object, key: str) -> bool:
    return any(key in part for part in _objects(body))


def _objects(body: object) -> Iterator[dict[str, Any]]:
    if isinstance(body, dict):
        yield body
    children = body.values() if isinstance(body, dict) else body if isinstance(body, list) else ()
    for child in children:
        yield from _objects(child)


def _three(values: object) -> tuple[float, float, float]:
    red, green, blue = (float(v) for v in values)  # type: ignore[attr-defined]
    return red, green, blue
