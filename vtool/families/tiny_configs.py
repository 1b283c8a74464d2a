"""Small real configurations: the library's own classes at a size that a CPU trains.

Widths below those of the released models need a larger initialisation (0.08 instead of 0.02) to
learn at all, and head_dim 32 is the smallest that every engine of the house accepts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vtool.errors import UnknownName, require

CONTROL_IDS = ("image_token_id", "video_token_id", "vision_start_token_id", "vision_end_token_id")
"""Names of the control tokens in a configuration."""


def random_config(
    name: str,
    *,
    vocab_size: int,
    hidden: int = 64,
    layers: int = 2,
    head_dim: int = 32,
    heads: int | None = None,
    kv_heads: int = 2,
    intermediate: int = 128,
    patch: int = 8,
    merge: int = 2,
    temporal: int = 2,
    vision_layers: int = 2,
    vision_hidden: int = 64,
    vision_heads: int = 4,
    vision_intermediate: int = 128,
    deepstack: tuple[int, ...] = (0,),
    grid_embeddings: int = 64,
    window: int = 64,
    full_attention: tuple[int, ...] = (1,),
    tie: bool = True,
    theta: float = 10_000.0,
    initializer_range: float = 0.08,
    control_ids: Mapping[str, int] | None = None,
    eos_id: int | None = None,
    pad_id: int | None = None,
) -> Any:
    """A configuration that plain transformers builds and loads.

    Args:
        name: ``"qwen25_vl"`` or ``"qwen3_vl"``.
        vocab_size: Tokens; the last four are the control tokens unless ``control_ids`` says else.
        hidden: Width of the language model.
        layers: Its depth.
        head_dim: Width of a head; the M-RoPE sections sum to half of it.
        heads: Query heads. Default: 4 for qwen3_vl; ``hidden // head_dim`` for qwen25_vl, whose
            class allows nothing else.
        kv_heads: Key and value heads (at most ``heads``).
        intermediate: Width of the gated MLP.
        patch: Side of a patch in pixels.
        merge: Patches merged per side.
        temporal: Frames per temporal patch.
        vision_layers: Depth of the vision tower.
        vision_hidden: Its width.
        vision_heads: Its heads.
        vision_intermediate: Width of its MLP.
        deepstack: Vision layers whose features enter the first language layers (qwen3_vl).
        grid_embeddings: Learned position embeddings, a square number (qwen3_vl).
        window: Side of an attention window in pixels (qwen25_vl).
        full_attention: Vision layers that attend beyond their window (qwen25_vl).
        tie: Whether input and output embeddings are one matrix.
        theta: Base of the rotary frequencies.
        initializer_range: Standard deviation at initialisation, both towers.
        control_ids: `CONTROL_IDS` to ids.
        eos_id: End token of generation.
        pad_id: Padding token for generation (no row of the embedding is frozen for it).

    Raises:
        UnknownName: No such family.
    """
    makers = {"qwen25_vl": _qwen25, "qwen3_vl": _qwen3}
    if name not in makers:
        raise UnknownName("model family", name, makers)
    heads = heads or (4 if name == "qwen3_vl" else hidden // head_dim)
    text: dict[str, Any] = {
        "vocab_size": vocab_size,
        "hidden_size": hidden,
        "intermediate_size": intermediate,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": min(kv_heads, heads),
        "max_position_embeddings": 32_768,
        "initializer_range": initializer_range,
        "bos_token_id": None,
        "eos_token_id": eos_id,
    }
    vision: dict[str, Any] = {
        "depth": vision_layers,
        "hidden_size": vision_hidden,
        "num_heads": vision_heads,
        "intermediate_size": vision_intermediate,
        "patch_size": patch,
        "spatial_merge_size": merge,
        "temporal_patch_size": temporal,
        "out_hidden_size": hidden,
        "initializer_range": initializer_range,
    }
    ids = dict(control_ids or zip(CONTROL_IDS, range(vocab_size - 4, vocab_size), strict=True))
    top = {"tie_word_embeddings": tie, **ids}
    rope = {"rope_type": "default", "rope_theta": theta}
    if name == "qwen3_vl":
        text |= {"head_dim": head_dim, "rope_parameters": rope | _sections3(head_dim)}
        vision |= {
            "deepstack_visual_indexes": list(deepstack),
            "num_position_embeddings": grid_embeddings,
        }
    else:
        text |= {"rope_parameters": rope | _sections25(head_dim)}
        vision |= {
            "window_size": window,
            "fullatt_block_indexes": list(full_attention),
            "tokens_per_second": 2,
        }
    config = makers[name](text, vision, top)
    config.eos_token_id, config.pad_token_id = eos_id, pad_id
    return config


def _sections3(head_dim: int) -> dict[str, Any]:
    third = head_dim // 2 // 3
    sections = [head_dim // 2 - 2 * third, third, third]
    return {"mrope_section": sections, "mrope_interleaved": True}


def _sections25(head_dim: int) -> dict[str, Any]:
    # The released models have 16, 24, 24 of 64.
    quarter = head_dim // 8
    rest = head_dim // 2 - quarter
    return {"mrope_section": [quarter, rest - rest // 2, rest // 2]}


def _qwen25(text: dict[str, Any], vision: dict[str, Any], top: dict[str, Any]) -> Any:
    transformers = require("transformers", "train")
    return transformers.Qwen2_5_VLConfig(text_config=text, vision_config=vision, **top)


def _qwen3(text: dict[str, Any], vision: dict[str, Any], top: dict[str, Any]) -> Any:
    transformers = require("transformers", "train")
    return transformers.Qwen3VLConfig(text_config=text, vision_config=vision, **top)
