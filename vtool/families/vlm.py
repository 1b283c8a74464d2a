"""The torch half of a family: a real transformers model behind ids, positions and pictures.

The language model is called directly, with explicit positions and features. That makes three
things plain which the library's own forward hides or cannot do: a picture is encoded once and
read wherever it is shown, a chunk may bring new pictures onto an existing cache, and no state
stays on the module between calls.
"""

from __future__ import annotations

import contextlib
import copy
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import SafetensorError
from torch import Tensor, nn

from vtool.errors import CheckpointError, EngineError
from vtool.families import QwenVL, family_of_type
from vtool.families.adapters import base_of, is_adapter, load_adapter
from vtool.families.base import Patches, PixelSpec
from vtool.families.encoding import VisionBatch, check_rows, encode_pictures
from vtool.families.folder import check_folder, family_from, family_of_folder, processor_json
from vtool.families.stack import walk, walks

__all__ = ["VLM", "VisionBatch"]

CLASSES = {
    "qwen25_vl": transformers.Qwen2_5_VLForConditionalGeneration,
    "qwen3_vl": transformers.Qwen3VLForConditionalGeneration,
}


class VLM(nn.Module):  # type: ignore[misc]
    """A vision-language model of a known family.

    Args:
        model: The library's model; its parameters are this module's.
        family: The numpy half, with this checkpoint's pixel rule.
    """

    def __init__(self, model: Any, family: QwenVL) -> None:
        super().__init__()
        self.model = model
        self.train(model.training)
        self.family = family
        config = model.config
        self.image_token_id = int(config.image_token_id)
        self.video_token_id = int(config.video_token_id)
        self.vision_start_id = int(config.vision_start_token_id)
        self.vision_end_id = int(config.vision_end_token_id)
        self.visual_ids = (self.image_token_id, self.video_token_id)
        """What stands for rows of the vision tower."""
        self.placeholder_ids = (
            self.image_token_id,
            self.video_token_id,
            self.vision_start_id,
            self.vision_end_id,
        )
        """Ids that must never be sampled."""
        self.compute: torch.dtype | None = None
        """Type of the arithmetic where it differs from that of the weights (autocast)."""

    # ----------------------------------------------------------------- making

    @classmethod
    def load(
        cls,
        folder: Path | str,
        *,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
        attention: str = "sdpa",
    ) -> VLM:
        """Read a checkpoint in plain Hugging Face layout.

        Safetensors only; code that a checkpoint brings along is never run. Of a folder that
        holds an adapter, the base is loaded and the adapter put onto it.

        Raises:
            CheckpointError: The folder is unsafe, damaged, or lacks tensors.
            UnknownName: Its model type belongs to no family here.
        """
        path = check_folder(folder)
        if is_adapter(path):
            based = cls.load(base_of(path), dtype=dtype, device=device, attention=attention)
            load_adapter(based, path)
            return based
        family = family_of_folder(path)
        try:
            model, report = CLASSES[family.name].from_pretrained(
                path,
                dtype=dtype,
                attn_implementation=attention,
                use_safetensors=True,
                local_files_only=True,
                trust_remote_code=False,
                output_loading_info=True,
            )
        except (OSError, RuntimeError, ValueError, SafetensorError) as err:
            raise CheckpointError(f"{path} cannot be loaded: {err}") from err
        check_complete(path, report)
        return cls(model.to(device).eval(), family)

    @classmethod
    def from_config(
        cls,
        config: Any,
        *,
        spec: PixelSpec | None = None,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
        attention: str = "sdpa",
    ) -> VLM:
        """Random weights from torch's global generator.

        Args:
            config: A library configuration, such as `tiny_configs.random_config` makes.
            spec: Pixel rule; default: the family's, with the patch geometry of ``config``.
            dtype: Of the parameters.
            device: Where they live.
            attention: The library's name of an attention implementation.
        """
        family = family_of_type(config.model_type)
        family = family.with_spec(spec) if spec else family_from(family, config.to_dict(), {})
        config = copy.deepcopy(config)
        config._attn_implementation = attention
        model = CLASSES[family.name](config).to(device)
        for parameter in model.parameters():  # buffers stay: rotary frequencies need float32
            parameter.data = parameter.data.to(dtype)
        return cls(model.eval(), family)

    def save(self, folder: Path | str, weights: dict[str, Tensor] | None = None) -> None:
        """Write weights and configurations so that plain transformers loads them.

        Args:
            folder: Made if missing.
            weights: Written instead of the model's own, under the same names.
        """
        path = Path(folder)
        path.mkdir(parents=True, exist_ok=True)
        self.model.save_pretrained(path, state_dict=weights)
        body = json.dumps(processor_json(self.family.spec), indent=2)
        (path / "preprocessor_config.json").write_text(body + "\n", encoding="utf-8")

    # ---------------------------------------------------------------- shape

    @property
    def device(self) -> torch.device:
        """Where the parameters live."""
        return self.model.lm_head.weight.device

    @property
    def dtype(self) -> torch.dtype:
        """Of the parameters."""
        return self.model.lm_head.weight.dtype

    @property
    def num_layers(self) -> int:
        """Depth of the language model."""
        return int(self.model.config.text_config.num_hidden_layers)

    @property
    def kv_shape(self) -> tuple[int, int, int]:
        """(layers, key-value heads, head_dim): what a token leaves in a cache, twice."""
        attention = self.model.model.language_model.layers[0].self_attn
        heads = int(self.model.config.text_config.num_key_value_heads)
        return self.num_layers, heads, int(attention.head_dim)

    @property
    def vocab_size(self) -> int:
        """Rows of the output head."""
        return int(self.model.lm_head.weight.shape[0])

    @property
    def vision(self) -> nn.Module:
        """The vision tower."""
        return self.model.model.visual

    @property
    def language(self) -> nn.Module:
        """The language model without its head."""
        return self.model.model.language_model

    # ---------------------------------------------------------------- running

    def encode(self, patches: Sequence[Patches]) -> VisionBatch:
        """Features of pictures, all in one call.

        Raises:
            RecordError: A picture's rows do not match its grid, or its patches another family's.
        """
        if patches:
            with self._arithmetic():
                return encode_pictures(self.vision, patches, self.family.spec)
        width = int(self.model.config.text_config.hidden_size)
        nothing = torch.zeros(0, width, dtype=self.dtype, device=self.device)
        return VisionBatch(nothing, (), (0,))

    def hidden(
        self,
        ids: Tensor,
        positions: Tensor,
        *,
        attention_mask: Tensor | None = None,
        vision: VisionBatch | None = None,
        rows: Tensor | None = None,
        visual_mask: Tensor | None = None,
        cache: Any = None,
        at: Tensor | None = None,
    ) -> Tensor:
        """Last hidden states of a chunk.

        Args:
            ids: (B, L).
            positions: (3, B, L), see `QwenVL.positions`.
            attention_mask: None (causal), 2-D (B, past + L) with 0 for padding and holes, or 4-D
                bool (B, 1, L, past + L) that says everything, causality included.
            vision: Features that ``rows`` points into.
            rows: Feature row of every placeholder, in row-major order of ``ids``; default: all
                rows of ``vision`` in order.
            visual_mask: (B, L) bool, where the placeholders are; default: where ``ids`` says so.
            cache: A transformers cache; this chunk is appended to it.
            at: int64 (N,), flat positions (row * L + column) that are asked for, so that the last
                layer need not end anywhere else; default: all.

        Returns:
            (B, L, H), or (N, H) of what is asked for; after the final norm.

        Raises:
            RecordError: Placeholders and feature rows do not match.
        """
        if visual_mask is None:
            visual_mask = (ids == self.image_token_id) | (ids == self.video_token_id)
        rows = check_rows(visual_mask, vision, rows)
        embeds = self.language.embed_tokens(ids)
        deep: list[Tensor] = []
        if vision is not None and len(rows):
            rows = rows.to(embeds.device)
            features = vision.embeds[rows].to(embeds.dtype)
            embeds = embeds.masked_scatter(visual_mask[..., None], features)
            deep = [d[rows] for d in vision.deepstack]
        mask = self._mask(attention_mask, embeds.dtype)
        with self._arithmetic():
            if walks(self.language, mask, cache):
                out = walk(self.language, embeds, positions, mask, cache, deep, visual_mask, at)
            else:
                out = self._library(embeds, positions, mask, cache, deep, visual_mask)
                out = out if at is None else out.reshape(-1, out.shape[-1])[at]
        return out.to(self.dtype)

    def _library(
        self,
        embeds: Tensor,
        positions: Tensor,
        mask: Tensor | None,
        cache: Any,
        deep: Sequence[Tensor],
        visual: Tensor,
    ) -> Tensor:
        """The library's own way through the language model."""
        extra = {"visual_pos_masks": visual, "deepstack_visual_embeds": deep} if deep else {}
        out = self.language(
            input_ids=None,
            inputs_embeds=embeds,
            position_ids=positions,
            attention_mask=mask,
            past_key_values=cache,
            use_cache=cache is not None,
            **extra,
        )
        last: Tensor = out.last_hidden_state
        return last

    def _arithmetic(self) -> contextlib.AbstractContextManager[object]:
        if self.compute is None:
            return contextlib.nullcontext()
        cast: contextlib.AbstractContextManager[object] = torch.autocast(
            self.device.type, self.compute
        )
        return cast

    def _mask(self, mask: Tensor | None, dtype: torch.dtype) -> Tensor | None:
        if mask is None or mask.dim() == 2:
            return mask
        kind = self.model.config._attn_implementation
        if kind == "sdpa":
            return mask
        if kind == "eager":
            low = torch.finfo(dtype).min
            return torch.zeros_like(mask, dtype=dtype).masked_fill(~mask, low)
        raise EngineError(f"a 4-D mask needs attention 'sdpa' or 'eager', not {kind!r}")

    def head(self, hidden: Tensor) -> Tensor:
        """Logits over the vocabulary: (..., H) to (..., V)."""
        return self.model.lm_head(hidden)

    def forward(
        self,
        ids: Tensor,
        positions: Tensor,
        *,
        patches: Sequence[Patches] = (),
        rows: Tensor | None = None,
        attention_mask: Tensor | None = None,
        visual_mask: Tensor | None = None,
    ) -> Tensor:
        """`encode` and `hidden` in one call: what a distributed wrapper needs to see."""
        vision = self.encode(patches) if len(patches) else None
        return self.hidden(
            ids,
            positions,
            attention_mask=attention_mask,
            vision=vision,
            rows=rows,
            visual_mask=visual_mask,
        )


def check_complete(path: Path, report: Any) -> None:
    """Refuse a checkpoint that leaves tensors random or brings others.

    Raises:
        CheckpointError: Keys are missing, unexpected or misshapen; they are named.
    """
    for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        keys = sorted(str(key) for key in report.get(kind, ()))
        if keys:
            more = f" and {len(keys) - 5} more" if len(keys) > 5 else ""
            raise CheckpointError(f"{path}: {kind.replace('_', ' ')}: {', '.join(keys[:5])}{more}")
