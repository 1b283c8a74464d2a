"""Depth of one picture by a checkpoint of Depth-Anything, DPT, ZoeDepth or GLPN."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vtool.errors import RecipeError, require
from vtool.media import Image


class Says(StrEnum):
    """What the numbers of a depth checkpoint are."""

    METRES = "metres"
    """Distance in metres."""
    FARTHER = "farther"
    """Without a unit, larger is farther."""
    NEARER = "nearer"
    """Without a unit, larger is nearer: inverse depth up to scale and shift."""


_BY_TYPE = {
    "dpt": Says.NEARER,
    "zoedepth": Says.METRES,
    "glpn": Says.METRES,
}
"""For model types whose config does not say it. MiDaS' DPT predicts inverse depth."""

_LOCK = threading.Lock()


@dataclass(frozen=True, slots=True)
class DepthModel:
    """A checkpoint, ready to run.

    Args:
        model: Of `AutoModelForDepthEstimation`.
        processor: Its image processor.
        says: What its numbers are.
    """

    model: Any
    processor: Any
    says: Says

    def predict(self, image: Image) -> NDArray[np.float32]:
        """What the checkpoint says of each pixel (H, W), at the picture's size."""
        torch = require("torch", "train")
        height, width = image.pixels.shape[:2]
        inputs = self.processor(images=image.pixels, return_tensors="pt")
        with _LOCK, torch.inference_mode():
            out = self.model(inputs["pixel_values"].to(self.model.device, self.model.dtype))
        if self.model.config.model_type == "zoedepth":
            depth = _without_padding(out.predicted_depth, height, width, self.processor.do_pad)
        else:
            sizes = [(height, width)]
            (result,) = self.processor.post_process_depth_estimation(out, target_sizes=sizes)
            depth = result["predicted_depth"]
        found: NDArray[np.float32] = depth.float().cpu().numpy()
        return found

    def depth(self, image: Image) -> NDArray[np.float32]:
        """Depth of each pixel (H, W), larger is farther.

        Metres as predicted; other numbers turned so that larger is farther and spread over
        0 (nearest) to 1 (farthest), since their scale and shift mean nothing.
        """
        raw = self.predict(image)
        if self.says is Says.METRES:
            return raw
        far = -raw if self.says is Says.NEARER else raw
        low, high = far.min(), far.max()
        return (far - low) / (high - low) if high > low else np.zeros_like(far)


def _without_padding(depth: Any, height: int, width: int, padded: bool) -> Any:
    """Zoe's prediction (1, h, w) on the picture's own pixels (H, W).

    The library's own step calls torchvision even from the processor made for places without it
    (transformers 5.19).

    Source: Bhat et al., ZoeDepth, 2023; padding of 3 * sqrt(side / 2) pixels a side.
    """
    torch = require("torch", "train")
    down, across = (int(np.sqrt(side / 2) * 3) if padded else 0 for side in (height, width))
    size = (height + 2 * down, width + 2 * across)
    whole = torch.nn.functional.interpolate(
        depth[:, None], size=size, mode="bicubic", align_corners=False
    )
    return whole[0, 0, down : down + height, across : across + width]


@lru_cache(maxsize=2)
def _load(name: str, device: str, says: str, local_files_only: bool) -> DepthModel:
    transformers = require("transformers", "train")
    model = transformers.AutoModelForDepthEstimation.from_pretrained(
        name, local_files_only=local_files_only, use_safetensors=True
    )
    processor = transformers.AutoImageProcessor.from_pretrained(
        name, local_files_only=local_files_only
    )
    check_processor(processor, model.config.model_type)
    meaning = meaning_of(model.config) if says == "auto" else Says(says)
    return DepthModel(model.to(device).eval(), processor, meaning)


def load(name: str, *, device: str, says: str, local_files_only: bool) -> DepthModel:
    """A checkpoint, loaded once.

    Args:
        name: Local folder or hub name.
        device: Of torch, such as `cpu` or `cuda:0`.
        says: `auto` to read it from the config, or one of `Says`.
        local_files_only: Whether the hub is left alone.

    Raises:
        RecipeError: A model type that does not say what its numbers are, or a padding that
            its post-processing does not take off.
    """
    with _LOCK:
        return _load(name, device, says, local_files_only)


def meaning_of(config: Any) -> Says:
    """What a checkpoint's numbers are, by its config.

    Raises:
        RecipeError: The config does not say it.
    """
    told = getattr(config, "depth_estimation_type", None)
    if told is not None:
        return Says.METRES if told == "metric" else Says.NEARER
    if config.model_type in _BY_TYPE:
        return _BY_TYPE[config.model_type]
    raise RecipeError(
        f"a {config.model_type} config does not say what its depth means: set depth.says to one "
        f"of {', '.join(Says)}"
    )


def check_processor(processor: Any, model_type: str) -> None:
    """Refuse a processor that pads where nothing removes it: pixels would not lie where they are.

    Raises:
        RecipeError: Names the setting in its preprocessor_config.json.
    """
    pads = getattr(processor, "do_pad", False) and getattr(processor, "size_divisor", None)
    if pads and model_type != "zoedepth":
        raise RecipeError(
            "this image processor pads pictures and does not remove it afterwards: set do_pad to "
            "false in its preprocessor_config.json"
        )
