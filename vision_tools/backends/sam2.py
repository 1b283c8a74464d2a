"""SAM 2 through transformers, with the user's weights.

The library's processor exists only where torchvision does; the three steps that it takes are done
here: stretch to the model's square (uint8, antialiased), scale, normalise.

Source: Ravi et al., "SAM 2", 2024; `Sam2ImageProcessor` and `Sam2Processor` of transformers 5.19.
"""

from __future__ import annotations

import json
import threading
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from vtool.errors import CheckpointError, require
from vtool.geometry import Size
from vtool.media import Image

from .prompts import Prompt, Segmented

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_FILES = ("preprocessor_config.json", "processor_config.json")
_LOCK = threading.RLock()


class Sam2:
    """A loaded SAM 2; the embedding of the last picture is kept.

    Args:
        model: `Sam2Model`.
        mean: Of the normalisation, on a scale of 0 to 1.
        std: Likewise.
    """

    def __init__(
        self,
        model: Any,
        mean: tuple[float, ...] = IMAGENET_MEAN,
        std: tuple[float, ...] = IMAGENET_STD,
    ) -> None:
        self.model, self._mean, self._std = model, mean, std
        side = model.config.vision_config.backbone_config.image_size
        self.side: Size = (side[1], side[0]) if isinstance(side, list | tuple) else (side, side)
        self._seen, self._embedding = "", None

    def pixels(self, image: Image) -> Any:
        """The picture as the model takes it: float32 (1, 3, S, S)."""
        torch = require("torch", "train")
        whole = torch.from_numpy(np.array(image.pixels)).permute(2, 0, 1)[None]
        size = (self.side[1], self.side[0])
        square = torch.nn.functional.interpolate(
            whole, size=size, mode="bilinear", antialias=True, align_corners=False
        )
        mean = torch.tensor(self._mean).view(1, 3, 1, 1) * 255
        std = torch.tensor(self._std).view(1, 3, 1, 1) * 255
        return (square.float() - mean) / std

    def segment(self, image: Image, prompt: Prompt) -> Segmented:
        """The best of the masks that SAM 2 offers for the prompt."""
        torch = require("torch", "train")
        given = self._given(torch, prompt)
        with _LOCK, torch.inference_mode():
            if self._seen != image.digest:
                ready = self.pixels(image).to(self.model.device)
                self._embedding = self.model.get_image_embeddings(ready)
                self._seen = image.digest
            out = self.model(
                image_embeddings=self._embedding, multimask_output=prompt.ambiguous, **given
            )
        scores = out.iou_scores[0, 0]
        best = int(scores.argmax())
        logits = out.pred_masks[0, 0, best][None, None].float()
        height, width = image.pixels.shape[:2]
        whole = torch.nn.functional.interpolate(
            logits, size=(height, width), mode="bilinear", align_corners=False
        )
        return Segmented(
            (whole[0, 0] > 0.0).cpu().numpy(), float(np.clip(float(scores[best]), 0, 1))
        )

    def _given(self, torch: Any, prompt: Prompt) -> dict[str, Any]:
        """Prompts in pixels of the square: the picture is stretched, so shares of sides keep."""
        box, told = prompt.box_pixels(self.side), prompt.point_pixels(self.side)
        given: dict[str, Any] = {}
        if box is not None:
            given["input_boxes"] = torch.tensor(box, dtype=torch.float32)[None, None]
        if told is not None:
            given["input_points"] = torch.tensor(told[0], dtype=torch.float32)[None, None]
            given["input_labels"] = torch.tensor(told[1], dtype=torch.int32)[None, None]
        return {k: v.to(self.model.device) for k, v in given.items()}


def load_sam2(name: str, device: str, local_files_only: bool) -> Sam2:
    """A checkpoint, loaded once.

    Args:
        name: Local folder or hub name.
        device: Of torch.
        local_files_only: Whether the hub is left alone.

    Raises:
        CheckpointError: It is no SAM 2, or cannot be read.
    """
    with _LOCK:
        return _load(name, device, local_files_only)


@lru_cache(maxsize=2)
def _load(name: str, device: str, local_files_only: bool) -> Sam2:
    torch, transformers = require("torch", "train"), require("transformers", "train")
    damaged = require("safetensors", "train").SafetensorError
    folder = Path(name).expanduser()
    name = str(folder) if folder.is_dir() else name
    try:
        model, told = transformers.Sam2Model.from_pretrained(
            name,
            local_files_only=local_files_only,
            use_safetensors=True,
            dtype=torch.float32,
            output_loading_info=True,
        )
    except (OSError, ValueError, RuntimeError, damaged) as err:
        raise CheckpointError(f"cannot load SAM 2 from {name}: {err}") from err
    # The library fills what is missing with random numbers and only warns.
    if absent := sorted(told["missing_keys"]):
        raise CheckpointError(
            f"{name} holds no SAM 2: {len(absent)} of its tensors are missing, such as {absent[0]}"
        )
    mean, std = _normalisation(name, local_files_only)
    return Sam2(model.to(device).eval(), mean, std)


def _normalisation(name: str, local: bool) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation as the checkpoint's own files say; ImageNet's where they do not."""
    hub = require("transformers.utils.hub", "train")
    for file in _FILES:
        path = hub.cached_file(
            name,
            file,
            local_files_only=local,
            _raise_exceptions_for_missing_entries=False,
            _raise_exceptions_for_connection_errors=False,
        )
        if path is not None:
            body = json.loads(Path(path).read_text(encoding="utf-8"))
            told = body.get("image_processor", body)
            mean, std = told.get("image_mean"), told.get("image_std")
            if mean and std:
                return tuple(mean), tuple(std)
    return IMAGENET_MEAN, IMAGENET_STD
