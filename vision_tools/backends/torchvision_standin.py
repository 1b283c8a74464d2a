"""What segment-anything asks of torchvision, for machines where that does not work.

The library takes four functions while it is imported. Where torchvision's own work, they are
used. Elsewhere the library's modules are run with an `import` of their own, which hands them the
functions below. Nothing called torchvision ever stands in `sys.modules`: whoever else looks for
it, at any time and on any thread (transformers does), finds what was there before.

Source: behaviour of `torchvision.ops.boxes` and `torchvision.transforms.functional` 0.28.
"""

from __future__ import annotations

import builtins
import importlib
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
from PIL import Image as PILImage

from vtool.errors import require

LIBRARY = "segment_anything"


def import_segment_anything() -> ModuleType:
    """The library, with torchvision's functions or with those that stand in.

    Not to be called by two threads at once.

    Raises:
        MissingExtra: It is not installed.
    """
    if LIBRARY in sys.modules or torchvision_works():
        return require(LIBRARY, "segment")
    finder = _Finder()
    sys.meta_path.insert(0, finder)
    try:
        return require(LIBRARY, "segment")
    finally:
        sys.meta_path.remove(finder)


def torchvision_works() -> bool:
    """Whether the real one is there and its operators run on this torch.

    A wheel made for another torch may fail to be imported, or be imported and fail when called.
    What a failed import leaves behind is removed, unless it was there before.
    """
    before = {n for n in sys.modules if n.partition(".")[0] == "torchvision"}
    try:
        boxes = importlib.import_module("torchvision.ops.boxes")
        importlib.import_module("torchvision.transforms.functional")
        one = require("torch", "train").zeros(1, 4)
        boxes.batched_nms(one, one[:, 0], one[:, 0], 0.5)
    except (ImportError, RuntimeError, OSError, AttributeError):
        for name in [n for n in sys.modules if n.partition(".")[0] == "torchvision"]:
            if name not in before:
                del sys.modules[name]
        return False
    return True


class _Finder(MetaPathFinder):
    """Finds the library's modules where they are, and loads them in the way of `_Loader`."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname.partition(".")[0] != LIBRARY:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _Loader(spec.loader.name, spec.loader.path)
        return spec


class _Loader(SourceFileLoader):
    """Runs a module whose `import` knows the stand-ins: Python takes it from `__builtins__`."""

    def exec_module(self, module: ModuleType) -> None:
        vars(module)["__builtins__"] = {**vars(builtins), "__import__": _import}
        super().exec_module(module)


def _import(name: str, *rest: Any, **more: Any) -> Any:
    return STANDINS.get(name) or builtins.__import__(name, *rest, **more)


def box_area(boxes: Any) -> Any:
    """Area of each box, (..., 4) xyxy to (...)."""
    torch = require("torch", "train")
    # Half precision overflows from 256 x 256 on, small integers sooner.
    if boxes.is_floating_point():
        boxes = boxes.float() if boxes.element_size() < 4 else boxes
    else:
        boxes = boxes.to(torch.int32) if boxes.element_size() < 4 else boxes
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])


def batched_nms(boxes: Any, scores: Any, idxs: Any, iou_threshold: float) -> Any:
    """Indices that survive non-maximum suppression inside each class, best first.

    Args:
        boxes: (N, 4) xyxy.
        scores: (N,).
        idxs: (N,) class of each box; boxes of different classes do not suppress each other.
        iou_threshold: Overlap above which the worse of two is dropped.
    """
    torch = require("torch", "train")
    order = scores.argsort(descending=True, stable=True)
    boxes, idxs, areas = boxes[order], idxs.to(boxes.device)[order], box_area(boxes[order])
    alive = torch.ones(len(order), dtype=torch.bool, device=boxes.device)
    for at in range(len(order)):
        if not alive[at]:
            continue
        low = torch.maximum(boxes[at, :2], boxes[at + 1 :, :2])
        high = torch.minimum(boxes[at, 2:], boxes[at + 1 :, 2:])
        shared = (high - low).clamp(min=0).prod(dim=1)
        overlap = shared / (areas[at] + areas[at + 1 :] - shared)
        alive[at + 1 :] &= ~((overlap > iou_threshold) & (idxs[at + 1 :] == idxs[at]))
    return order[alive]


def to_pil_image(pic: Any, mode: str | None = None) -> PILImage.Image:
    """An RGB picture, uint8 (H, W, 3), as PIL's.

    Raises:
        TypeError: Anything else, which torchvision takes and segment-anything never gives.
    """
    fits = isinstance(pic, np.ndarray) and pic.dtype == np.uint8 and pic.ndim == 3
    if not fits or pic.shape[2] != 3 or mode not in (None, "RGB"):
        raise TypeError(f"expected an RGB picture, uint8 (H, W, 3), got {type(pic).__name__}")
    return PILImage.fromarray(pic)


def resize(img: PILImage.Image, size: Sequence[int]) -> PILImage.Image:
    """A PIL picture at another size (height, width), bilinear."""
    height, width = size
    return img.resize((width, height), PILImage.Resampling.BILINEAR)


STANDINS: dict[str, SimpleNamespace] = {
    "torchvision.ops.boxes": SimpleNamespace(batched_nms=batched_nms, box_area=box_area),
    "torchvision.transforms.functional": SimpleNamespace(resize=resize, to_pil_image=to_pil_image),
}
"""Modules as the library names them, and what it takes from them."""
