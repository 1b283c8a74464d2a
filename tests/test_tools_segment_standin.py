"""torchvision's stand-ins: equal to what they stand for, and never seen by anybody else."""

import json
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from vtool.vision_tools.backends import torchvision_standin as standin


def plain_nms(boxes, scores, classes, threshold):
    """By the definition: the best of those left stays, and drops all of its class that overlap."""
    left, kept = sorted(range(len(boxes)), key=lambda i: -scores[i]), []
    while left:
        best = left.pop(0)
        kept.append(best)
        left = [
            i
            for i in left
            if classes[i] != classes[best] or overlap(boxes[i], boxes[best]) <= threshold
        ]
    return kept


def overlap(a, b):
    shared = max(0, min(a[2], b[2]) - max(a[0], b[0])) * max(0, min(a[3], b[3]) - max(a[1], b[1]))
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared
    return shared / union if union else 0.0


ROWS = st.lists(
    st.tuples(*[st.integers(0, 12)] * 2, *[st.integers(0, 8)] * 2, st.integers(0, 2)), max_size=20
)


@given(ROWS, st.sampled_from([0.3, 0.5, 0.7]), st.randoms(use_true_random=False))
def test_suppression_is_that_of_the_definition(rows, threshold, random):
    boxes = [(x, y, x + w, y + h) for x, y, w, h, _ in rows]
    scores = random.sample(range(100), len(rows))
    classes = [row[4] for row in rows]
    got = standin.batched_nms(
        torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        torch.tensor(scores, dtype=torch.float32),
        torch.tensor(classes, dtype=torch.float32),
        threshold,
    )
    assert got.dtype == torch.int64
    assert got.tolist() == plain_nms(boxes, scores, classes, threshold)


def test_suppression_by_hand():
    # The second shares 90 of 110 with the first (.818), the third exactly half of the union.
    boxes = torch.tensor([[0, 0, 10, 10], [0, 1, 10, 11], [0, 0, 10, 5], [20, 0, 30, 10.0]])
    scores = torch.tensor([0.8, 0.9, 0.7, 0.1])
    one, two = torch.zeros(4), torch.tensor([0, 1, 0, 0])
    assert standin.batched_nms(boxes, scores, one, 0.5).tolist() == [1, 2, 3]
    assert standin.batched_nms(boxes, scores, one, 0.9).tolist() == [1, 0, 2, 3]
    assert standin.batched_nms(boxes, scores, two, 0.5).tolist() == [1, 0, 2, 3]
    assert standin.batched_nms(boxes, scores, two, 0.49).tolist() == [1, 0, 3]
    tied = torch.tensor([0.5, 0.5, 0.5, 0.5])
    assert standin.batched_nms(boxes, tied, one, 0.5).tolist() == [0, 2, 3]


@pytest.mark.parametrize(
    ("kind", "result"),
    [
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
        (torch.float16, torch.float32),
        (torch.int64, torch.int64),
        (torch.uint8, torch.int32),
    ],
)
def test_areas_do_not_overflow(kind, result):
    boxes = torch.tensor([[0, 0, 250, 250], [5, 6, 7, 9]]).to(kind)
    assert standin.box_area(boxes).tolist() == [62500, 6]
    assert standin.box_area(boxes).dtype == result
    assert standin.box_area(boxes[None]).shape == (1, 2)


def test_pictures_are_resized_by_height_and_width():
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (40, 60, 3), dtype=np.uint8)
    picture = standin.to_pil_image(pixels)
    assert np.array_equal(np.array(picture), pixels)
    assert standin.resize(picture, (20, 90)).size == (90, 20)
    # Halving with a triangle filter: weights 1, 3, 3, 1 on four neighbours a direction.
    rows = np.array([1, 3, 3, 1]) / 8
    wanted = np.einsum("i,j,ijc->c", rows, rows, pixels[9:13, 19:23].astype(float))
    got = np.array(standin.resize(picture, (20, 30)))[5, 10]
    assert got.astype(float) == pytest.approx(wanted, abs=1.0)
    for wrong in (pixels[:, :, 0], pixels.astype(np.float32), torch.zeros(3, 4, 4)):
        with pytest.raises(TypeError):
            standin.to_pil_image(wrong)


# --- never seen -----------------------------------------------------------------------------------


def run(program, *path):
    """The last line that a program prints in a fresh interpreter."""
    head = f"import sys; sys.path[:0] = {list(map(str, path))!r}\n"
    done = subprocess.run(
        [sys.executable, "-c", head + textwrap.dedent(program)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.splitlines()[-1]


WATCHED = """
import builtins, importlib.util, json
from transformers.utils import import_utils

def state():
    import_utils.is_torchvision_available.cache_clear()
    return import_utils.is_torchvision_available(), sorted(
        n for n in sys.modules if n.partition(".")[0] == "torchvision"
    )

before, during = state(), []
true = builtins.__import__
def watching(name, *rest, **more):
    if name.startswith("segment_anything") or name.startswith("copy"):
        during.append(state())
    return true(name, *rest, **more)

from vtool.vision_tools.backends import sam
builtins.__import__ = watching
library = sam.library()
builtins.__import__ = true
from segment_anything import automatic_mask_generator as maker
print(json.dumps([before, [d for d in during if d != before], state(), len(during) > 0,
                  maker.batched_nms.__module__.split(".")[-1],
                  [type(f).__name__ for f in sys.meta_path]]))
"""


def test_nobody_else_finds_a_torchvision_before_during_or_after():
    before, differing, after, watched, source, finders = json.loads(run(WATCHED))
    assert watched
    assert before == after
    assert differing == []
    if not before[0]:
        assert before[1] == []
        assert source == "torchvision_standin"
    assert "_Finder" not in finders


BROKEN = (
    "raise RuntimeError('operator torchvision::nms does not exist')",
    "from . import no_such_library",
    "raise OSError('libcudart.so.13: cannot open shared object file')",
)


def test_a_broken_torchvision_is_stood_in_for_and_leaves_nothing_behind(tmp_path):
    for number, body in enumerate(BROKEN):
        package = tmp_path / str(number) / "torchvision"
        package.mkdir(parents=True)
        (package / "__init__.py").write_text(f"from . import extension\n{body}\n")
        (package / "extension.py").write_text("found = True\n")
    program = f"""
    from vtool.vision_tools.backends import sam
    from vtool.vision_tools.backends.torchvision_standin import torchvision_works
    for number in range({len(BROKEN)}):
        sys.path[0] = {str(tmp_path)!r} + f"/{{number}}"
        assert not torchvision_works()
        assert not [n for n in sys.modules if n.startswith("torchvision")]
    library = sam.library()
    print(library.automatic_mask_generator.batched_nms.__module__.split(".")[-1],
          [n for n in sys.modules if n.startswith("torchvision")])
    """
    assert run(program, tmp_path / "0") == "torchvision_standin []"


def made_torchvision(folder, nms):
    """A package of that name whose parts can be imported."""
    for name in ("ops", "transforms"):
        (folder / "torchvision" / name).mkdir(parents=True)
        (folder / "torchvision" / name / "__init__.py").write_text("")
    (folder / "torchvision" / "__init__.py").write_text("")
    (folder / "torchvision" / "ops" / "boxes.py").write_text(
        f"def box_area(b): return b\ndef batched_nms(*a): {nms}\n"
    )
    (folder / "torchvision" / "transforms" / "functional.py").write_text(
        "def resize(i, s): return i\ndef to_pil_image(a): return a\n"
    )


@pytest.mark.parametrize(
    ("nms", "source"),
    [
        ("return a[1]", "torchvision.ops.boxes"),
        (
            "raise RuntimeError('no custom operators')",
            "vtool.vision_tools.backends.torchvision_standin",
        ),
    ],
)
def test_the_real_one_is_used_where_it_works_and_stays_where_it_was(tmp_path, nms, source):
    made_torchvision(tmp_path, nms)
    program = """
    import torchvision
    from vtool.vision_tools.backends import sam
    library = sam.library()
    print(library.automatic_mask_generator.batched_nms.__module__,
          sys.modules["torchvision"] is torchvision)
    """
    assert run(program, tmp_path) == f"{source} True"


def test_the_library_is_looked_for_once(monkeypatch):
    from vtool.vision_tools.backends import sam

    library = sam.library()
    monkeypatch.setattr(standin, "torchvision_works", lambda: pytest.fail("looked again"))
    assert sam.library() is library
