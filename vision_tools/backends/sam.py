"""Segment Anything (SAM) through its own library, with the user's weights.

The network is built to fit the tensors in the file, so that every size works. Only safetensors
are read: the published `.pth` files are pickles.

Source: Kirillov et al., "Segment Anything", 2023; package `segment-anything` 1.0.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from functools import lru_cache, partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from vtool.errors import CheckpointError, FaultCode, ModelFault, require
from vtool.media import Image

from .prompts import Prompt, Segmented
from .torchvision_standin import import_segment_anything

CONVERT = (
    'python -c "import sys, torch, safetensors.torch as s; '
    's.save_file(torch.load(sys.argv[1], weights_only=True), sys.argv[2])" sam.pth sam.safetensors'
)
_LOCK = threading.RLock()


class Sam:
    """A loaded SAM; the embedding of the last picture is kept.

    Args:
        model: `segment_anything.modeling.Sam`.
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        self._predictor = library().SamPredictor(model)
        self._seen = ""

    def segment(self, image: Image, prompt: Prompt) -> Segmented:
        """The best of the masks that SAM offers for the prompt.

        Raises:
            ModelFault: `bad_aspect`.
        """
        self._check_sides(image)
        told = prompt.point_pixels(image.size)
        with _LOCK:
            if self._seen != image.digest:
                # Should embedding fail, the predictor holds no picture at all.
                self._seen = ""
                self._predictor.set_image(np.array(image.pixels))
                self._seen = image.digest
            masks, scores, _ = self._predictor.predict(
                point_coords=None if told is None else told[0],
                point_labels=None if told is None else told[1],
                box=prompt.box_pixels(image.size),
                multimask_output=prompt.ambiguous,
            )
        best = int(np.argmax(scores))
        return Segmented(masks[best].astype(np.bool_), _share(scores[best]))

    def everything(self, image: Image, **options: Any) -> list[Segmented]:
        """Masks of all that SAM finds on a grid of points, largest first.

        Args:
            image: Where to look.
            options: Of `SamAutomaticMaskGenerator`.

        Raises:
            ModelFault: `bad_aspect`.
        """
        self._check_sides(image)
        maker = library().SamAutomaticMaskGenerator(self.model, **options)
        with _LOCK:
            found = maker.generate(np.array(image.pixels))
        made = [Segmented(f["segmentation"], _share(f["predicted_iou"])) for f in found]
        return sorted(made, key=lambda s: (-int(s.cells.sum()), -s.score))

    def _check_sides(self, image: Image) -> None:
        """Scaled to the encoder's side, a very long picture keeps not one pixel of its short one.

        Raises:
            ModelFault: `bad_aspect`.
        """
        width, height = image.size
        if min(width, height) * self.model.image_encoder.img_size < 0.5 * max(width, height):
            raise ModelFault(
                FaultCode.BAD_ASPECT,
                f"the picture is {width}x{height} pixels: too long to be segmented",
                hint="cut a shorter part out first",
            )


def _share(score: float) -> float:
    """SAM's guess of its own overlap, which may leave [0, 1]."""
    return float(np.clip(score, 0, 1))


def library() -> ModuleType:
    """segment-anything, with torchvision's functions or their stand-ins."""
    with _LOCK:
        return import_segment_anything()


def load_sam(path: str, device: str) -> Sam:
    """A checkpoint, loaded once.

    Args:
        path: A safetensors file, or a folder that holds one.
        device: Of torch.

    Raises:
        CheckpointError: No such file, a pickle, a damaged one, or tensors that make no SAM.
    """
    with _LOCK:
        return _load(path, device)


@lru_cache(maxsize=2)
def _load(path: str, device: str) -> Sam:
    file = find_weights(Path(path).expanduser())
    damaged = require("safetensors", "train").SafetensorError
    try:
        tensors = require("safetensors.torch", "train").load_file(file)
    except (OSError, damaged) as err:
        raise CheckpointError(f"{file} is damaged, or no safetensors file: {err}") from err
    model = build(tensors)
    try:
        model.load_state_dict(tensors)
    except RuntimeError as err:
        raise CheckpointError(f"{file} holds no SAM that can be built: {err}") from err
    return Sam(model.to(device).eval())


def find_weights(path: Path) -> Path:
    """The safetensors file meant.

    Raises:
        CheckpointError: There is none, or it is a pickle; the message says how to convert it.
    """
    if path.is_dir():
        inside = sorted(path.glob("*.safetensors"))
        if len(inside) == 1:
            return inside[0]
        raise CheckpointError(f"{path} holds {len(inside)} safetensors files, expected one")
    if not path.is_file():
        raise CheckpointError(f"no SAM weights at {path}: expected a safetensors file")
    if path.suffix != ".safetensors":
        raise CheckpointError(
            f"{path.name} is no safetensors file. SAM's .pth files are pickles, which are never "
            f"loaded here; convert it once: {CONVERT}"
        )
    return path


def build(tensors: Mapping[str, Any]) -> Any:
    """An untrained SAM whose shapes are those of the tensors.

    Raises:
        CheckpointError: Something that every SAM has is missing.
    """
    m = library().modeling
    torch = require("torch", "train")
    try:
        vision, sizes = _vision(tensors), _decoder(tensors)
    except (KeyError, IndexError) as err:
        raise CheckpointError(f"these are no weights of a SAM: {err} is missing") from err
    width, side = vision["out_chans"], vision["img_size"]
    grid = side // vision["patch_size"]
    return m.Sam(
        image_encoder=m.ImageEncoderViT(**vision, norm_layer=partial(torch.nn.LayerNorm, eps=1e-6)),
        prompt_encoder=m.PromptEncoder(
            embed_dim=width,
            image_embedding_size=(grid, grid),
            input_image_size=(side, side),
            mask_in_chans=4 * tensors["prompt_encoder.mask_downscaling.0.weight"].shape[0],
        ),
        mask_decoder=m.MaskDecoder(
            num_multimask_outputs=sizes["masks"],
            transformer=m.TwoWayTransformer(
                depth=sizes["depth"], embedding_dim=width, mlp_dim=sizes["mlp"], num_heads=8
            ),
            transformer_dim=width,
            iou_head_depth=sizes["head_depth"],
            iou_head_hidden_dim=sizes["head_width"],
        ),
        pixel_mean=[123.675, 116.28, 103.53],
        pixel_std=[58.395, 57.12, 57.375],
    )


def _vision(t: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of the image encoder, read off its tensors."""
    at = "image_encoder."
    _, grid, _, width = t[f"{at}pos_embed"].shape
    patch = t[f"{at}patch_embed.proj.weight"].shape[-1]
    depth = _count(t, f"{at}blocks.")
    # A block's table of relative positions has 2 n - 1 rows, n being what it attends over.
    reach = [(t[f"{at}blocks.{i}.attn.rel_pos_h"].shape[0] + 1) // 2 for i in range(depth)]
    windows = sorted({n for n in reach if n != grid})
    return {
        "depth": depth,
        "embed_dim": width,
        "img_size": grid * patch,
        "mlp_ratio": t[f"{at}blocks.0.mlp.lin1.weight"].shape[0] / width,
        "num_heads": width // t[f"{at}blocks.0.attn.rel_pos_h"].shape[1],
        "patch_size": patch,
        "qkv_bias": f"{at}blocks.0.attn.qkv.bias" in t,
        "use_rel_pos": True,
        "global_attn_indexes": tuple(i for i, n in enumerate(reach) if n == grid),
        "window_size": windows[0] if windows else 0,
        "out_chans": t[f"{at}neck.0.weight"].shape[0],
    }


def _decoder(t: Mapping[str, Any]) -> dict[str, int]:
    at = "mask_decoder."
    return {
        "masks": t[f"{at}mask_tokens.weight"].shape[0] - 1,
        "depth": _count(t, f"{at}transformer.layers."),
        "mlp": t[f"{at}transformer.layers.0.mlp.lin1.weight"].shape[0],
        "head_depth": _count(t, f"{at}iou_prediction_head.layers."),
        "head_width": t[f"{at}iou_prediction_head.layers.0.weight"].shape[0],
    }


def _count(tensors: Mapping[str, Any], prefix: str) -> int:
    found = {k[len(prefix) :].split(".")[0] for k in tensors if k.startswith(prefix)}
    if not found:
        raise KeyError(prefix)
    return len(found)
