"""The stand-in for torchvision: there for one import, and with its meaning."""

import sys

import numpy as np
import torch
from vtool.vision_tools.backends import sam as sam_backend
from vtool.vision_tools.backends import torchvision_standin as standin

from vtool.geometry import Box, iou


def test_the_stand_in_is_there_for_the_import_only():
    from transformers.utils import is_torchvision_available

    before = is_torchvision_available()
    sam_backend.library()
    assert is_torchvision_available() == before
    if not standin._loads():
        with standin.torchvision_or_standin() as real:
            assert not real
            from torchvision.ops.boxes import batched_nms

            assert batched_nms is standin.batched_nms
        assert not [n for n in sys.modules if n.split(".")[0] == "torchvision"]


def test_a_broken_torchvision_is_stood_in_for_and_leaves_nothing(tmp_path, monkeypatch):
    folder = tmp_path / "torchvision"
    folder.mkdir()
    (folder / "__init__.py").write_text("raise RuntimeError('operator nms does not exist')")
    monkeypatch.syspath_prepend(tmp_path)
    with standin.torchvision_or_standin() as real:
        assert not real
        import torchvision.transforms.functional as functional

        assert functional.resize is standin.resize
    assert "torchvision" not in sys.modules


def test_suppression_by_hand_and_by_brute_force():
    boxes = torch.tensor([[0, 0, 10, 10], [1, 1, 11, 11], [0, 0, 10, 10], [20, 20, 30, 30.0]])
    scores, classes = torch.tensor([0.9, 0.8, 0.7, 0.6]), torch.tensor([0, 0, 1, 0])
    assert standin.batched_nms(boxes, scores, classes, 0.5).tolist() == [0, 2, 3]
    assert standin.batched_nms(boxes, scores, classes * 0, 0.5).tolist() == [0, 3]
    assert standin.batched_nms(boxes, scores, classes, 0.7).tolist() == [0, 1, 2, 3]
    empty = standin.batched_nms(boxes[:0], scores[:0], classes[:0], 0.5)
    assert empty.tolist() == []
    rng = np.random.default_rng(3)
    low = rng.uniform(0, 50, (60, 2))
    many = torch.tensor(np.concatenate([low, low + rng.uniform(1, 30, (60, 2))], 1))
    marks = torch.tensor(rng.permutation(60) / 60.0)
    left, kept = marks.argsort(descending=True).tolist(), []
    while left:
        kept.append(left.pop(0))
        a = Box(*(many[kept[-1]] / 100).tolist())
        left = [i for i in left if iou(a, Box(*(many[i] / 100).tolist())) <= 0.3]
    zeros = torch.zeros(60, dtype=torch.int64)
    assert standin.batched_nms(many, marks, zeros, 0.3).tolist() == kept
