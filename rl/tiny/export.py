"""Write the tiny policy as a plain folder that transformers loads, with its card."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from transformers import GenerationConfig, Qwen3VLForConditionalGeneration

from . import tokenizer as tokens
from .expert import Scribe
from .spec import SPEC

VTOOL = {
    "family": "qwen3_vl",
    "dialect": "hermes",
    "announce_tools": False,
    "tools": ["zoom"],
}


def processor_config() -> dict[str, Any]:
    """What the library's image processors read."""
    return {
        "image_processor_type": "Qwen2VLImageProcessor",
        "do_convert_rgb": True,
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": list(SPEC.mean),
        "image_std": list(SPEC.std),
        "max_pixels": SPEC.max_pixels,
        "merge_size": SPEC.merge,
        "min_pixels": SPEC.min_pixels,
        "patch_size": SPEC.patch,
        "resample": 3,
        "rescale_factor": 1 / 255,
        "size": {"longest_edge": SPEC.max_pixels, "shortest_edge": SPEC.min_pixels},
        "temporal_patch_size": SPEC.temporal,
    }


def export(
    model: Qwen3VLForConditionalGeneration, scribe: Scribe, folder: Path, card: str
) -> None:
    """Write weights (fp32 safetensors), configurations, tokenizer and card.

    Args:
        model: The policy.
        scribe: Holds its tokenizer.
        folder: Created if needed; files of the same name are replaced.
        card: Text of ``README.md``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    model.config.dtype = "float32"
    model.generation_config = GenerationConfig(
        bos_token_id=scribe.tokenizer.token_to_id("<|endoftext|>"),
        eos_token_id=scribe.tokenizer.token_to_id("<|im_end|>"),
        pad_token_id=scribe.tokenizer.token_to_id("<|endoftext|>"),
        do_sample=True,
        temperature=1.0,
    )
    model.save_pretrained(folder)
    tokens.save(scribe.tokenizer, folder)
    _write(folder / "preprocessor_config.json", processor_config())
    _write(folder / "vtool.json", VTOOL)
    (folder / "README.md").write_text(card, encoding="utf-8")


def _write(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
