"""Sizes of the tiny policy: a real Qwen3-VL configuration with 0.45 M parameters."""

from __future__ import annotations

from typing import Final

import torch
from tokenizers import Tokenizer

from vtool.families import QwenVL, family
from vtool.families.base import PixelSpec
from vtool.families.tiny_configs import random_config
from vtool.families.vlm import VLM

from .tokenizer import ROWS

VIEW: Final = 64
"""Side in pixels at which a square picture is shown."""

SPEC: Final = PixelSpec(
    patch=8,
    merge=2,
    temporal=2,
    # Bounds around 64 * 64, not on it: every crop whose sides differ by less than about a sixth
    # is then shown as 64x64, where equal bounds would give 64x80 for a difference of one pixel.
    min_pixels=56 * 56,
    max_pixels=70 * 70,
    mean=(0.5, 0.5, 0.5),
    std=(0.5, 0.5, 0.5),
)
FAMILY: Final[QwenVL] = family("qwen3_vl").with_spec(SPEC)


def new_policy(tokenizer: Tokenizer, seed: int, spec: PixelSpec = SPEC, rows: int = ROWS) -> VLM:
    """A policy with random weights; the same seed gives the same weights.

    ``initializer_range`` is 0.08: at width 64 the library's 0.02 leaves the signal too small to
    learn from. ``head_dim`` is 32, so that the rotary sections sum to 16 and vLLM runs it too.
    """
    names = {
        "image_token_id": "<|image_pad|>",
        "video_token_id": "<|video_pad|>",
        "vision_start_token_id": "<|vision_start|>",
        "vision_end_token_id": "<|vision_end|>",
    }
    config = random_config(
        "qwen3_vl",
        vocab_size=rows,
        layers=3,
        control_ids={key: tokenizer.token_to_id(token) for key, token in names.items()},
        eos_id=tokenizer.token_to_id("<|im_end|>"),
        pad_id=tokenizer.token_to_id("<|endoftext|>"),
    )
    torch.manual_seed(seed)
    return VLM.from_config(config, spec=spec)
