"""Metrics of places, time and confidence: worked cases, and what the strict rules refuse."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from vtool.eval.metrics import places
from vtool.eval.metrics.calibration import (
    Stated,
    auroc,
    brier,
    calibration_table,
    expected_calibration_error,
)
from vtool.eval.metrics.moments import Query, average_precision, best_overlap, moment_table
from vtool.eval.metrics.segmentation import overlap, segmentation_table
from vtool.eval.metrics.spans import (
    Grounding,
    charades_span,
    gqa_table,
    ground_overlaps,
    hull_iou,
    recall_table,
    union_iou,
)

from vtool.metrics_shape import box_giou, box_iou, point_in_mask, share_in_mask

UNIT = (0.0, 0.0, 1.0, 1.0)
LEFT = (0.0, 0.0, 0.5, 1.0)
RIGHT = (0.5, 0.0, 1.0, 1.0)


def test_boxes():
    assert box_iou(UNIT, LEFT) == 0.5
    assert box_iou(LEFT, RIGHT) == 0
    assert box_giou(LEFT, RIGHT) == 0  # they tile their hull
    assert box_giou((0, 0, 0.25, 1), (0.75, 0, 1, 1)) == pytest.approx(-0.5)
    assert box_giou(UNIT, UNIT) == 1


@pytest.mark.parametrize("bad", [(1, 0, 0, 1), (0, 1, 1, 0), (0.3, 0.3, 0.3, 0.6), (1, 1, 0, 0)])
def test_inverted_boxes_are_refused_and_not_mended(bad):
    assert box_iou(bad, UNIT) == 0
    assert box_giou(bad, UNIT) == -1


def test_an_inverted_box_can_gain_by_the_published_rule():
    # Its area is -0.5, which halves the union: only our reading refuses it.
    assert box_iou((0, 1, 0.5, 0), UNIT, as_published=True) == 0
    assert box_iou((1, 1, 0, 0), UNIT, as_published=True) == 0


unit = st.floats(0, 1)


@given(*[unit] * 8)
def test_giou_is_at_most_iou(a, b, c, d, e, f, g, h):
    one, two = (a, b, c, d), (e, f, g, h)
    assert -1 <= box_giou(one, two) <= box_iou(one, two) + 1e-9 <= 1 + 1e-9


def test_points_in_masks():
    mask = np.zeros((4, 4), bool)
    mask[0, 0] = mask[3, 3] = True
    assert point_in_mask(0.1, 0.1, mask)
    assert point_in_mask(0.99, 0.99, mask)
    assert not point_in_mask(1.0, 1.0, mask)
    assert not point_in_mask(-0.1, 0.1, mask)
    assert point_in_mask(-0.1, 0.1, mask, as_published=True)
    assert share_in_mask([(0.1, 0.1), (0.5, 0.5), (2, 2)], mask) == pytest.approx(1 / 3)
    assert share_in_mask([], mask) == 0


def test_masks():
    full, none = np.ones((2, 2), bool), np.zeros((2, 2), bool)
    half = np.array([[True, True], [False, False]])
    assert overlap(half, full).iou() == 0.5
    assert overlap(none, none).iou() == 1
    assert overlap(none, full).iou() == 0
    ignored = np.array([[False, False], [True, True]])
    assert overlap(half, full, ignored).iou() == 1
    # (1/2 + 1) / 2 = .75 over pictures; (2 + 4) / (4 + 4) over cells.
    table = segmentation_table([overlap(half, full), overlap(full, full)])
    assert table == {"gIoU": 0.75, "cIoU": 0.75}
    # A small perfect mask and a large missed one: .5 over pictures, 1/17 over cells.
    large = np.ones((4, 4), bool)
    one = np.ones((1, 1), bool)
    table = segmentation_table([overlap(one, one), overlap(~large, large)])
    assert table == {"gIoU": 0.5, "cIoU": pytest.approx(1 / 17)}
    assert segmentation_table([overlap(one, one)], as_published=True)["gIoU"] == pytest.approx(
        1 / (1 + 1e-5)
    )
    assert segmentation_table([])["gIoU"] == 0
    with pytest.raises(ValueError, match="grid"):
        overlap(one, large)


@pytest.mark.parametrize(
    ("a", "b", "hull", "union"),
    [
        ((0, 10), (5, 15), 1 / 3, 1 / 3),
        ((0, 10), (0, 10), 1, 1),
        ((0, 2), (8, 10), 0, 0),
        ((3, 3), (3, 3), 0, 0),
        ((0, 10), (2, 4), 0.2, 0.2),
    ],
)
def test_overlap_of_spans(a, b, hull, union):
    assert hull_iou(a, b) == pytest.approx(hull)
    assert union_iou(a, b) == pytest.approx(union)


def test_recall_counts_a_threshold_that_is_met_exactly():
    table = recall_table([0.3, 0.5, 0.7, 0.0])
    assert table == {"R1@0.3": 0.75, "R1@0.5": 0.5, "R1@0.7": 0.25, "mIoU": pytest.approx(0.375)}
    assert recall_table([])["mIoU"] == 0


@pytest.mark.parametrize(
    ("answer", "span"),
    [
        ("20.5 - 30 seconds", (20.5, 30)),
        ("from 3s to 4s", (3, 4)),
        ("00:10 - 01:05", (10, 65)),
        ("1:00:00 - 1:00:05", (3600, 3605)),
        ("30 - 20", (20, 30)),
        ("It starts at 5\nand ends at 9", (5, 9)),
        ("no idea", None),
        ("12", None),
    ],
)
def test_spans_in_answers(answer, span):
    assert charades_span(answer) == span


def test_grounded_answers():
    assert ground_overlaps((2, 6), [(0, 4), (5, 6)]) == (pytest.approx(1 / 3), 0.5)
    assert ground_overlaps((3, 3), [(0, 4)]) == (0, 1)  # as published
    assert ground_overlaps(None, [(0, 4)]) == (0, 0)
    rows = [Grounding(0.5, 0.5, True), Grounding(0.9, 0.9, False), None]
    assert gqa_table(rows)["Acc@GQA"] == pytest.approx(1 / 3)
    assert gqa_table(rows, skip_missing=True)["Acc@GQA"] == 0.5
    assert gqa_table([])["mIoP"] == 0


def test_moments_by_hand():
    """Two wanted windows: the predictions find one, nothing, and the other."""
    wanted, found = ((0, 10), (20, 30)), ((0, 10), (50, 60), (20, 30))
    query = Query(wanted, found, (0.9, 0.8, 0.7))
    # Precision 1, 1/2, 2/3 at recall 1/2, 1/2, 1: 1/2 * 1 + 1/2 * 2/3.
    assert average_precision(query) == [pytest.approx(5 / 6)] * 10
    # A window found twice counts once: precision 1, 1/2 at recall 1/2, 1/2.
    twice = Query(wanted, ((0, 10), (0, 10)))
    assert average_precision(twice) == [0.5] * 10
    # The scores decide the order, not the list.
    late = Query(wanted, ((50, 60), (0, 10)), (0.1, 0.9))
    assert average_precision(late) == [0.5] * 10
    assert best_overlap(Query(wanted, ((22, 30),))) == pytest.approx(0.8)
    assert best_overlap(Query(wanted, ())) == 0


def test_only_ten_predictions_count():
    query = Query(((0, 10),), (*[(50, 60)] * 10, (0, 10)))
    assert average_precision(query) == [0.0] * 10


def test_a_query_without_prediction_counts_unless_the_published_rule_is_asked_for():
    rows = [Query(((0, 10),), ((0, 10),)), Query(((0, 10),), ())]
    assert moment_table(rows)["full-mAP"] == 0.5
    assert moment_table(rows, skip_empty=True)["full-mAP"] == 1
    assert moment_table(rows)["short-mAP"] == 0.5
    assert "long-mAP" not in moment_table(rows)


def test_calibration_by_hand():
    stated = [Stated(0.9, True), Stated(0.9, False), Stated(0.2, False), Stated(0.3, True)]
    # Bins (.8, .9]: |.5 - .9| * 2; (.1, .2]: .2; (.2, .3]: .7; over 4.
    assert expected_calibration_error(stated, bins=10) == pytest.approx((0.8 + 0.2 + 0.7) / 4)
    assert brier(stated) == pytest.approx((0.01 + 0.81 + 0.04 + 0.49) / 4)
    # Pairs right-wrong: (.9,.9) half, (.9,.2) one, (.3,.9) none, (.3,.2) one.
    assert auroc(stated) == pytest.approx(2.5 / 4)
    assert auroc(stated[:1]) is None
    assert expected_calibration_error([]) == 0
    assert expected_calibration_error([Stated(0.0, False), Stated(1.0, True)]) == 0
    with pytest.raises(ValueError, match="confidence"):
        Stated(1.2, True)


def test_calibration_is_split_by_kind_of_tool():
    stated = [Stated(1.0, True, "zoom"), Stated(1.0, False, "none"), Stated(0.5, True, "none")]
    table = calibration_table(stated)
    assert list(table) == ["all", "none", "zoom"]
    assert table["zoom"]["ECE"] == 0
    assert table["none"]["ECE"] == pytest.approx((1.0 + 0.5) / 2)
    assert table["none"]["AUROC"] == 0


@given(st.lists(st.tuples(unit, st.booleans()), max_size=30))
def test_calibration_stays_in_bounds(pairs):
    stated = [Stated(c, r) for c, r in pairs]
    assert 0 <= expected_calibration_error(stated) <= 1
    assert 0 <= brier(stated) <= 1
    area = auroc(stated)
    assert area is None or 0 <= area <= 1


@pytest.mark.parametrize(
    ("answer", "box"),
    [
        ("[0.1, 0.2, 0.3, 0.4]", (0.1, 0.2, 0.3, 0.4)),
        ("(0.1, 0.2, 0.3, 0.4)", None),
        ("[1, 2, 3]", None),
        ("at [10,20,30,40] and [1, 2, 3, 4]", (10, 20, 30, 40)),
    ],
)
def test_boxes_in_answers(answer, box):
    assert places.first_box(answer) == box


def test_points_in_answers():
    assert places.named_points("[(0.1, 0.2), (0.3, 0.4)]") == ((0.1, 0.2), (0.3, 0.4))
    assert places.named_points('{"point_2d": [100, 200]}') == ((100, 200),)
    assert places.named_points("[1, 2, 3, 4]") == ()
    assert places.fenced_points('```json\n[{"point_2d": [1, 2]}]\n```') == ((1, 2),)
    assert places.fenced_points('```json\n{"point_2d": \n```') == ()
    assert places.fenced_points("```json\n3\n```") == ()
    assert places.screenspot_box("(100, 200, 300, 400)") == (0.1, 0.2, 0.3, 0.4)
    assert places.screenspot_point("<bbox>0 0 1 1</bbox>") == (0.5, 0.5)
    assert places.yes_or_no("No.\nAnswer: yes") is True
    assert places.yes_or_no("I know") is False  # "know" holds "no": as published
    assert places.yes_or_no("I know", words=True) is None
    assert places.yes_or_no("Yes, I know.", words=True) is True
    assert places.yes_or_no("Yes, I know.") is None
