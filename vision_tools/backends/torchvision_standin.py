"""What segment-anything asks of torchvision, for machines where that does not load.

The library wants four functions while it is imported. Where torchvision's own can be had they
are used; else these stand in during that import and are gone afterwards, so that nothing else
(transformers looks for torchvision, too) takes them for the real package.

Source: behaviour of `torchvision.ops.boxes` and `torchvision.transforms.functional` 0.28.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from PIL import Image as PILImage

from vtool.errors import require

_NAMES = (
    "torchvision",
    "torchvision.ops",
    "torchvision.ops.boxes",
    "torchvision.transforms",
    "torchvision.transforms.functional",
)


@contextmanager
def torchvision_or_standin() -> Iterator[bool]:
    """Within it `torchvision` can be imported.

    Yields:
        Whether it is the real one.
    """
    if _loads():
        yield True
        return
    stood = {name: ModuleType(name) for name in _NAMES}
    for name, module in stood.items():
        parent, _, last = name.rpartition(".")
        module.__path__ = []
        if parent:
            setattr(stood[parent], last, module)
    boxes, functional = stood["torchvision.ops.boxes"], stood["torchvision.transforms.functional"]
    vars(boxes).update(batched_nms=batched_nms, box_area=box_area)
    vars(functional).update(resize=resize, to_pil_image=to_pil_image)
    sys.modules.update(stood)
    try:
        yield False
    finally:
        _forget()


def _loads() -> bool:
    """Whether the real one is there and works with this torch; leaves no half of it behind."""
    before = "torchvision" in sys.modules
    try:
        importlib.import_module("torchvision.ops.boxes")
        importlib.import_module("torchvision.transforms.functional")
    except (ImportError, RuntimeError, OSError, AttributeError):
        if not before:
            _forget()
        return False
    return True


def _forget() -> None:
    for name in [n for n in sys.modules if n.partition(".")[0] == "torchvision"]:
        del sys.modules[name]


def box_area(boxes: Any) -> Any:
    """Area of each box, (N, 4) xyxy to (N,)."""
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


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
    alive = torch.ones(len(order), dtype=torch.bool, device=boxes.device)
    kept = []
    for at, index in enumerate(order.tolist()):
        if not alive[at]:
            continue
        kept.append(index)
        rest = order[at + 1 :]
        low = torch.maximum(boxes[index, :2], boxes[rest, :2])
        high = torch.minimum(boxes[index, 2:], boxes[rest, 2:])
        shared = (high - low).clamp(min=0).prod(dim=1)
        union = box_area(boxes[index : index + 1]) + box_area(boxes[rest]) - shared
        same = idxs[rest] == idxs[index]
        alive[at + 1 :] &= ~((shared / union > iou_threshold) & same)
    return torch.tensor(kept, dtype=torch.int64, device=boxes.device)


def to_pil_image(pic: Any, mode: str | None = None) -> PILImage.Image:
    """A uint8 array (H, W, 3) as a PIL picture."""
    return PILImage.fromarray(pic, mode) if mode else PILImage.fromarray(pic)


def resize(img: PILImage.Image, size: tuple[int, int]) -> PILImage.Image:
    """A PIL picture at another size (height, width), bilinear."""
    return img.resize((size[1], size[0]), PILImage.Resampling.BILINEAR)
