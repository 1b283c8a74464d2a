"""Write the tiny policy as a plain folder that transformers loads, with its card."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from transformers import GenerationConfig

from vtool.families.vlm import VLM

from . import tokenizer as tokens
from .expert import Scribe

VTOOL = {
    "announce": False,
    "dialect": "hermes",
    "tools": ["zoom"],
}


def export(vlm: VLM, scribe: Scribe, folder: Path, card: str) -> None:
    """Write weights (fp32 safetensors), configurations, tokenizer and card.

    Args:
        vlm: The policy.
        scribe: Holds its tokenizer.
        folder: Created if needed; files of the same name are replaced.
        card: Text of ``README.md``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    vlm.model.config.dtype = "float32"
    vlm.model.generation_config = GenerationConfig(
        bos_token_id=scribe.tokenizer.token_to_id("<|endoftext|>"),
        eos_token_id=scribe.tokenizer.token_to_id("<|im_end|>"),
        pad_token_id=scribe.tokenizer.token_to_id("<|endoftext|>"),
        do_sample=True,
        temperature=1.0,
    )
    vlm.save(folder)
    tokens.save(scribe.tokenizer, folder)
    _write(folder / "vtool.json", VTOOL)
    (folder / "README.md").write_text(card, encoding="utf-8")


def _write(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
