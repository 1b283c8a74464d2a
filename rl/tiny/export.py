"""Write the tiny policy as a plain folder that transformers loads, with its card."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from tokenizers import Tokenizer
from transformers import GenerationConfig

from vtool.families.vlm import VLM

from . import tokenizer as tokens


class HasTokenizer(Protocol):
    """What an export needs to know of a scribe."""

    tokenizer: Tokenizer


def export(
    vlm: VLM,
    scribe: HasTokenizer,
    folder: Path,
    card: str,
    tools: Sequence[str] = ("zoom",),
    *,
    announce: bool = False,
    options: Mapping[str, Any] | None = None,
) -> None:
    """Write weights (fp32 safetensors), configurations, tokenizer and card.

    Args:
        vlm: The policy.
        scribe: Holds its tokenizer.
        folder: Created if needed; files of the same name are replaced.
        card: Text of ``README.md``.
        tools: Tools that the policy was trained with.
        announce: Whether it is told its tools in a system turn.
        options: Of the dialect.
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
    syntax: dict[str, Any] = {"announce": announce, "dialect": "hermes", "tools": list(tools)}
    if options:
        syntax["options"] = dict(options)
    _write(folder / "vtool.json", syntax)
    (folder / "README.md").write_text(card, encoding="utf-8")


def _write(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
