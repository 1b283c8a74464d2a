"""Makes the registry's CUDA torchvision importable on a CPU torch, for reference runs only.

That wheel's native library does not load there, so two operator schemas are missing and even
`import torchvision` fails. `install` watches for that import; where the native operators load it
does nothing, elsewhere it defines the two schemas with a CPU `nms` first. Transforms, models and
`torchvision.ops.nms` then work; other native operators and the image codecs do not.
"""

import importlib.abc
import importlib.machinery
import sys
from pathlib import Path

_KEEP = []
"""Operator libraries vanish with their last reference."""


def install():
    """Watch for the import of torchvision; calling it twice changes nothing."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


def state():
    """One of: absent, native, shimmed."""
    try:
        import torchvision
    except ModuleNotFoundError:
        return "absent"
    return "native" if torchvision.extension._has_ops() else "shimmed"


class _Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name != "torchvision":
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is not None and spec.origin:
            spec.loader = _Loader(name, spec.origin)
        return spec


class _Loader(importlib.machinery.SourceFileLoader):
    def exec_module(self, module):
        shimmed = not native_loads(Path(module.__file__).parent) and define_ops()
        super().exec_module(module)
        if shimmed:
            # `nms` asks for the whole native library although its operator is there now.
            sys.modules["torchvision.ops.boxes"]._assert_has_ops = lambda: None


def native_loads(package):
    """Whether torchvision's own operators load on this torch."""
    import torch

    for library in sorted(package.glob("_C*.so")) + sorted(package.glob("_C*.pyd")):
        try:
            torch.ops.load_library(str(library))
        except (ImportError, OSError):
            continue
        return True
    return False


def define_ops():
    """The two schemas that torchvision decorates unconditionally, and a CPU `nms`."""
    import torch

    if not _KEEP:
        library = torch.library.Library("torchvision", "DEF")
        arguments = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
        library.define(f"nms{arguments}")
        library.define(f"qnms{arguments}")
        library.impl("nms", nms, "CPU")
        _KEEP.append(library)
    return True


def nms(boxes, scores, iou_threshold):
    """Greedy non-maximum suppression: indices kept, best score first."""
    import torch

    order = torch.argsort(scores, descending=True, stable=True)
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    kept = []
    while len(order):
        best, order = order[0], order[1:]
        kept.append(best)
        low = torch.maximum(boxes[best, :2], boxes[order, :2])
        high = torch.minimum(boxes[best, 2:], boxes[order, 2:])
        shared = (high - low).clamp(min=0).prod(dim=1)
        overlap = shared / (areas[best] + areas[order] - shared)
        order = order[~(overlap > iou_threshold)]
    return torch.stack(kept) if kept else torch.zeros(0, dtype=torch.long)
