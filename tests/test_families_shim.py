"""The torchvision shim: only where native operators are missing, and then a right `nms`."""

import subprocess
import sys
from pathlib import Path

import torch
from hypothesis import given
from hypothesis import strategies as st
from torchvision_shim import nms

SUPPORT = Path(__file__).parent / "support"

# A package that fails like the CUDA wheel does on a CPU torch.
PACKAGE = {
    "__init__.py": "from . import extension\nfrom . import ops\n",
    "extension.py": "def _has_ops():\n    return False\n",
    "ops/__init__.py": "from . import boxes\nfrom .boxes import nms\n",
    "ops/boxes.py": (
        "import torch\n"
        "def _assert_has_ops():\n"
        "    raise RuntimeError('no native ops')\n"
        "for name in ('nms', 'qnms'):\n"
        "    torch.library.register_fake(f'torchvision::{name}')(lambda *a: None)\n"
        "def nms(boxes, scores, limit):\n"
        "    _assert_has_ops()\n"
        "    return torch.ops.torchvision.nms(boxes, scores, limit)\n"
    ),
}

SCRIPT = """
import sys
sys.path[:0] = [{package!r}, {support!r}]
import torchvision_shim as shim
{before}
import torch
try:
    import torchvision
    boxes = torch.tensor([[0.0, 0, 9, 9], [1, 1, 9, 9], [20, 20, 30, 30]])
    print(shim.state(), torchvision.ops.nms(boxes, torch.tensor([0.5, 0.9, 0.1]), 0.5).tolist())
except RuntimeError as err:
    print(err)
"""


def run(folder, before):
    for name, text in PACKAGE.items():
        path = folder / "torchvision" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    script = SCRIPT.format(package=str(folder), support=str(SUPPORT), before=before)
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return out.stdout.strip()


def test_without_the_shim_the_import_fails(tmp_path):
    assert "torchvision::nms" in run(tmp_path, "")


def test_with_it_import_and_nms_work(tmp_path):
    assert run(tmp_path, "shim.install(); shim.install()") == "shimmed [1, 2]"


def test_where_native_operators_load_nothing_is_defined(tmp_path):
    """Told that they load, it steps aside, so the broken package fails as it would alone."""
    before = "shim.install(); shim.native_loads = lambda package: True"
    assert "torchvision::nms" in run(tmp_path, before)


def naive_nms(boxes, scores, limit):
    kept = []
    for i in sorted(range(len(boxes)), key=lambda i: (-scores[i], i)):
        if all(overlap(boxes[i], boxes[j]) <= limit for j in kept):
            kept.append(i)
    return kept


def overlap(a, b):
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    shared = max(width, 0) * max(height, 0)
    area = [(c[2] - c[0]) * (c[3] - c[1]) for c in (a, b)]
    return shared / (sum(area) - shared)


BOX = st.tuples(*[st.integers(0, 12)] * 2, *[st.integers(1, 9)] * 2).map(
    lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3])
)


@given(st.lists(st.tuples(BOX, st.sampled_from([0.1, 0.5, 0.5, 0.9])), max_size=8))
def test_nms_is_greedy_non_maximum_suppression(found):
    boxes, scores = [b for b, _ in found], [s for _, s in found]
    got = nms(torch.tensor(boxes, dtype=torch.float64).reshape(-1, 4), torch.tensor(scores), 0.4)
    assert got.tolist() == naive_nms(boxes, scores, 0.4)
