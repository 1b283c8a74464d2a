"""Sizes of the tiny policy: a real Qwen3-VL configuration with 0.44 M parameters."""

from __future__ import annotations

from typing import Final

from transformers import Qwen3VLConfig

from vtool.families.base import PixelSpec

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


def config(vocab: int, ids: dict[str, int]) -> Qwen3VLConfig:
    """The architecture of the tiny policy.

    Args:
        vocab: Rows of the embedding.
        ids: Token ids of the special tokens, by their text.

    ``initializer_range`` is 0.08: at width 64 the library's 0.02 leaves the signal too small to
    learn from. ``head_dim`` is 32, so that the rotary sections sum to 16 and vLLM runs it too.
    """
    text = {
        "vocab_size": vocab,
        "hidden_size": 64,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 32,
        "intermediate_size": 128,
        "max_position_embeddings": 2048,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 10000.0,
            "mrope_section": [6, 5, 5],
            "mrope_interleaved": True,
        },
        "tie_word_embeddings": True,
        "initializer_range": 0.08,
        "bos_token_id": ids["<|endoftext|>"],
        "eos_token_id": ids["<|im_end|>"],
        "pad_token_id": None,
    }
    vision = {
        "depth": 2,
        "hidden_size": 64,
        "num_heads": 4,
        "intermediate_size": 128,
        "patch_size": SPEC.patch,
        "spatial_merge_size": SPEC.merge,
        "temporal_patch_size": SPEC.temporal,
        "out_hidden_size": 64,
        "num_position_embeddings": (VIEW // SPEC.patch) ** 2,
        "deepstack_visual_indexes": [0],
        "initializer_range": 0.08,
    }
    return Qwen3VLConfig(
        text_config=text,
        vision_config=vision,
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
        tie_word_embeddings=True,
    )
