"""The numbers of a model that decide its memory and its arithmetic, read from a configuration."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vtool.errors import CheckpointError


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of a vision-language model of the Qwen families.

    Args:
        hidden: Width of the language model.
        layers: Its depth.
        heads: Query heads.
        kv_heads: Key and value heads.
        head_dim: Width of a head.
        intermediate: Width of the gated MLP.
        vocab: Rows of the embedding.
        tied: Whether embedding and head are one matrix.
        head_norm: Whether queries and keys are normalised (Qwen3).
        vision_hidden: Width of the vision tower.
        vision_layers: Its depth.
        vision_intermediate: Width of its MLP.
        vision_gated: Whether that MLP is gated (Qwen2.5).
        patch_values: Numbers of a patch over its frames.
        mergers: Merging heads: one, and one for each deepstack layer.
        grid: Rows of the learned position table.
        merge: Patches merged per side.
    """

    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    vocab: int
    tied: bool
    head_norm: bool
    vision_hidden: int
    vision_layers: int
    vision_intermediate: int
    vision_gated: bool
    patch_values: int
    mergers: int = 1
    grid: int = 0
    merge: int = 2

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Shape:
        """The shape that a `config.json` describes.

        Raises:
            CheckpointError: A number is missing.
        """
        text, vision = config.get("text_config") or config, config["vision_config"]
        newer = str(config.get("model_type")) == "qwen3_vl"
        try:
            heads = int(text["num_attention_heads"])
            patch = int(vision["patch_size"])
            return cls(
                hidden=int(text["hidden_size"]),
                layers=int(text["num_hidden_layers"]),
                heads=heads,
                kv_heads=int(text["num_key_value_heads"]),
                head_dim=int(text.get("head_dim") or int(text["hidden_size"]) // heads),
                intermediate=int(text["intermediate_size"]),
                vocab=int(text["vocab_size"]),
                tied=bool(config.get("tie_word_embeddings", text.get("tie_word_embeddings"))),
                head_norm=newer,
                vision_hidden=int(vision["hidden_size"]),
                vision_layers=int(vision["depth"]),
                vision_intermediate=int(vision["intermediate_size"]),
                vision_gated=not newer,
                patch_values=3 * int(vision.get("temporal_patch_size", 2)) * patch * patch,
                mergers=1 + len(vision.get("deepstack_visual_indexes", ()) if newer else ()),
                grid=int(vision.get("num_position_embeddings", 0)) if newer else 0,
                merge=int(vision.get("spatial_merge_size", 2)),
            )
        except KeyError as err:
            raise CheckpointError(f"the configuration does not say {err}") from err

    @property
    def language(self) -> int:
        """Parameters of the language model, embedding and head included."""
        h, d = self.hidden, self.head_dim
        attention = h * d * (2 * self.heads + 2 * self.kv_heads)
        # Qwen2.5 has biases on q, k, v; Qwen3 a norm for queries and one for keys.
        attention += 2 * d if self.head_norm else d * (self.heads + 2 * self.kv_heads)
        layer = attention + 3 * h * self.intermediate + 2 * h
        tables = self.vocab * h * (1 if self.tied else 2)
        return self.layers * layer + h + tables

    @property
    def vision(self) -> int:
        """Parameters of the vision tower, mergers included."""
        c, i = self.vision_hidden, self.vision_intermediate
        attention = 4 * c * c + 4 * c
        if self.vision_gated:  # Qwen2.5: RMS norms, biases in the MLP, no bias at the patches
            block = attention + 3 * c * i + 2 * i + c + 2 * c
            patches = self.patch_values * c
            norms = c
        else:
            block = attention + 2 * c * i + i + c + 4 * c
            patches = self.patch_values * c + c + self.grid * c
            norms = 2 * c + (self.mergers - 1) * 2 * c * self.merge**2
        wide = c * self.merge**2
        merger = wide * wide + wide + wide * self.hidden + self.hidden
        return self.vision_layers * block + patches + norms + self.mergers * merger

    @property
    def parameters(self) -> int:
        """All of them."""
        return self.language + self.vision


_QWEN3 = Shape(
    hidden=2048,
    layers=28,
    heads=16,
    kv_heads=8,
    head_dim=128,
    intermediate=6144,
    vocab=151_936,
    tied=True,
    head_norm=True,
    vision_hidden=1024,
    vision_layers=24,
    vision_intermediate=4096,
    vision_gated=False,
    patch_values=3 * 2 * 16 * 16,
    mergers=4,
    grid=2304,
)
_QWEN25 = Shape(
    hidden=2048,
    layers=36,
    heads=16,
    kv_heads=2,
    head_dim=128,
    intermediate=11_008,
    vocab=151_936,
    tied=True,
    head_norm=False,
    vision_hidden=1280,
    vision_layers=32,
    vision_intermediate=3420,
    vision_gated=True,
    patch_values=3 * 2 * 14 * 14,
)
PUBLISHED: Mapping[str, Shape] = {
    "Qwen/Qwen2.5-VL-3B-Instruct": _QWEN25,
    "Qwen/Qwen2.5-VL-7B-Instruct": replace(
        _QWEN25,
        hidden=3584,
        layers=28,
        heads=28,
        kv_heads=4,
        intermediate=18_944,
        vocab=152_064,
        tied=False,
    ),
    "Qwen/Qwen3-VL-2B-Instruct": _QWEN3,
    "Qwen/Qwen3-VL-4B-Instruct": replace(
        _QWEN3, hidden=2560, layers=36, heads=32, intermediate=9728
    ),
    "Qwen/Qwen3-VL-8B-Instruct": replace(
        _QWEN3,
        hidden=4096,
        layers=36,
        heads=32,
        intermediate=12_288,
        tied=False,
        vision_hidden=1152,
        vision_layers=27,
        vision_intermediate=4304,
    ),
}
"""As their `config.json` files have it: a dry run can tell of models that are not here yet."""


def shape_of(model: str | Path) -> Shape | None:
    """The shape of a checkpoint folder or of a published model; None for another name."""
    path = Path(model) / "config.json"
    if path.is_file():
        return Shape.of(json.loads(path.read_text(encoding="utf-8")))
    return PUBLISHED.get(str(model))
