"""Our readers say of a folder what lmms-eval's own loaders say of the same folder.

`golden/eval_loaders.json` is written by `scripts/golden_lmms_loaders.py`. Texts are compared by the
strings that the folder itself holds: how a question is worded around them is each project's own.
"""

import json
import re
from pathlib import Path

import miniatures
import pytest

from vtool.benchmark import benchmarks
from vtool.task import Answer, Boxes, Choice, Spans

GOLDEN = json.loads((Path(__file__).parent / "golden" / "eval_loaders.json").read_text())
THEIRS = GOLDEN["benchmarks"]

SKIPPED = {
    "refspatial": "its target is a mask, of which the task tells no plain value",
}
"""Benchmarks whose targets cannot be compared; their questions are."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("miniatures")


def words(task):
    """What a task asks, on one line."""
    return flat(" ".join(p for p in task.prompt if isinstance(p, str)))


def flat(text):
    return re.sub(r"\s+", " ", text).strip().lower()


def holds(task, says):
    """Whether a task's words hold these strings in this order."""
    at, text = 0, words(task)
    for string in map(flat, says):
        at = text.find(string, at)
        if at < 0:
            return False
        at += len(string)
    return True


def agrees(task, target):
    """Whether our reference is their target."""
    reference = task.reference
    if isinstance(reference, Choice):
        letters = "ABCDEFGH"
        right = letters[reference.correct]
        told = {right, f"({right})", reference.correct, reference.options[reference.correct]}
        return target in told
    if isinstance(reference, Answer):
        wanted = target if isinstance(target, list) else [target]
        return {str(w) for w in wanted} == set(reference.texts)
    if isinstance(reference, Boxes):
        corners = json.loads(target) if isinstance(target, str) else target
        box = reference.boxes[0]
        ours = (box.x1, box.y1, box.x2, box.y2)
        if max(corners) > 1:  # pixels of the picture
            width, height = next(p for p in task.prompt if hasattr(p, "size")).size
            ours = (box.x1 * width, box.y1 * height, box.x2 * width, box.y2 * height)
        return ours == pytest.approx(corners, abs=1e-6)
    assert isinstance(reference, Spans), type(reference)
    span = reference.spans[0]
    return [span.start_s, span.end_s] == pytest.approx(target)


@pytest.mark.parametrize("name", sorted(THEIRS))
def test_questions_and_targets_are_theirs(name, folder):
    tasks = list(benchmarks.get(name).read(miniatures.write(name, 0, folder / name)))
    rest = list(tasks)
    for row in THEIRS[name]:
        assert row["says"], "nothing of the row stands in its question"
        found = [t for t in rest if holds(t, row["says"])]
        assert found, f"{row} is not among {[words(t) for t in rest]}"
        if name not in SKIPPED:
            assert agrees(found[0], row["target"]), (row, found[0].reference)
        rest.remove(found[0])


def test_what_is_compared_can_differ():
    name = "chartqa"
    row = THEIRS[name][0]
    other = THEIRS[name][1]
    assert row["says"] != other["says"]
    assert row["target"] != other["target"]


def test_loaders_of_one_version():
    assert GOLDEN["lmms_eval"] == "0.7.3"
    assert len(THEIRS) >= 23
