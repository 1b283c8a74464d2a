"""Final answers that say more than words: places, masks, attributes, confidence, and faults."""

import numpy as np
import pytest
from attempts import attempt, call, final, look, question

from vtool.config import to_plain
from vtool.dialects import make_dialect
from vtool.dialects.answer import read_answer
from vtool.errors import DataError
from vtool.geometry import Box, Mask, Point, Region
from vtool.message import Action, Author
from vtool.record import Fork, Segment, StopReason
from vtool.reward import Score
from vtool.rle import decode_mask
from vtool.store import Store
from vtool.task import Attributes, Boxes, Choice, Masks, Points
from vtool.trace import TraceWriter, read_trace

BOXES = question(Boxes((Box(0.1, 0.2, 0.3, 0.4),)))
POINTS = question(Points((Point(0.5, 0.5),)))
MASKS = question(Masks((Mask(np.ones((100, 200), np.bool_)),)))
ATTRIBUTES = question(Attributes({"colour": ("red",), "age": ("old",)}))


@pytest.mark.parametrize(
    "answer",
    [
        [100, 200, 300, 400],
        [[100, 200, 300, 400]],
        {"bbox_2d": [100, 200, 300, 400], "label": "cat"},
        [{"bbox_2d": [100, 200, 300, 400]}],
        {"bbox_2d": [100, 200, 300, 400], "image": 1},
        "```json\n[100, 200, 300, 400]\n```",
        "  [100, 200, 300, 400]\n",
    ],
)
def test_a_box_is_read_in_the_units_of_the_dialect(answer):
    reading = attempt(BOXES, final(answer)).reading
    assert reading.regions == (Region("image_1", Box(0.1, 0.2, 0.3, 0.4)),)
    assert reading.fault is None


@pytest.mark.parametrize(
    ("units", "order", "raw"),
    [
        ("thousand", "xyxy", [100, 200, 300, 400]),
        ("unit", "xyxy", [0.1, 0.2, 0.3, 0.4]),
        ("unit", "xywh", [0.1, 0.2, 0.2, 0.2]),
        ("original", "xyxy", [20, 20, 60, 40]),
        ("shown", "xyxy", [10, 10, 30, 20]),
    ],
)
def test_units_and_order_are_declared_never_guessed(units, order, raw):
    dialect = make_dialect("hermes", {"coordinates": {"units": units, "order": order}})
    store = Store()
    store.add(BOXES.prompt[0])
    action = Action(text="", answer=str(raw))
    reading = read_answer(action, BOXES, store, dialect, lambda handle: (100, 50))
    box = reading.regions[0].shape
    assert (box.x1, box.y1, box.x2, box.y2) == pytest.approx((0.1, 0.2, 0.3, 0.4))


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ("in the middle", "bad_json"),
        ("", "bad_json"),
        ([100, 200, 300], "bad_args"),
        ([100, 200, 300, "400"], "bad_args"),
        ([True, 200, 300, 400], "bad_args"),
        ([300, 200, 100, 400], "bad_box"),
        ([100, 200, 100, 400], "bad_box"),
        ([2000, 2000, 3000, 3000], "box_outside"),
        ([500, 500], "bad_args"),
        ({"box": [1, 2, 3, 4]}, "bad_args"),
        ({"bbox_2d": [1, 2, 3, 4], "point_2d": [1, 2]}, "bad_args"),
        ({"bbox_2d": [100, 200, 300, 400], "image": 7}, "unknown_image"),
        ([[100, 200, 300, 400], [300, 200, 100, 400]], "bad_box"),
        ("[NaN, 200, 300, 400]", "bad_json"),
        ("[100, 200, 300, 400] or so", "bad_json"),
        ([[1, 2, 3, 4]] * 1001, "too_large"),
        ("$mask_1", "bad_json"),
        ('"mask_1"', "bad_args"),
    ],
)
def test_what_is_no_box_is_a_typed_fault_and_no_box(answer, code):
    episode = attempt(BOXES, final(answer))
    assert episode.stop is StopReason.ANSWERED
    assert str(episode.reading.fault.code) == code
    assert episode.reading.regions == ()


def test_points_an_empty_list_and_a_box_on_a_crop():
    assert attempt(POINTS, final([500, 250])).reading.regions[0].shape == Point(0.5, 0.25)
    two = attempt(POINTS, final([{"point_2d": [0, 0]}, [1000, 1000]])).reading.regions
    assert [r.shape for r in two] == [Point(0, 0), Point(1, 1)]
    assert attempt(POINTS, final([])).reading.regions == ()
    on_crop = attempt(BOXES, look(), final({"bbox_2d": [0, 0, 500, 500], "image": 2}))
    assert on_crop.reading.regions == (Region("image_2", Box(0, 0, 0.5, 0.5)),)


@pytest.mark.parametrize("answer", ["$mask_1", "mask_1", ["mask_1"], {"mask": "$mask_1"}])
def test_a_mask_is_named_by_its_handle(answer):
    made = call("outline_for_tests", 1, (0, 0, 500, 1000))
    reading = attempt(MASKS, made, final(answer)).reading
    assert reading.fault is None
    assert reading.regions[0].media == "mask_1"
    assert reading.regions[0].shape.area == pytest.approx(0.5)


def test_a_mask_that_nobody_made_is_a_fault():
    fault = attempt(MASKS, final("$mask_3")).reading.fault
    assert (str(fault.code), fault.hint) == ("bad_args", "masks: none yet")


def test_attributes_are_one_object_of_texts():
    reading = attempt(ATTRIBUTES, final({"Colour": "red"})).reading
    assert reading.attributes == {"colour": "red"}
    assert str(attempt(ATTRIBUTES, final({"age": 3})).reading.fault.code) == "bad_args"
    assert str(attempt(ATTRIBUTES, final("red and old")).reading.fault.code) == "bad_json"


@pytest.mark.parametrize(
    ("words", "told", "code"),
    [
        ("I see.", None, None),
        ("<confidence>0.8</confidence>", 0.8, None),
        ("<confidence>1</confidence>", 1.0, None),
        ("<confidence>1.5</confidence>", None, "bad_args"),
        ("<confidence>NaN</confidence>", None, "bad_json"),
        ("<confidence>.2</confidence> <confidence>.9</confidence>", None, "bad_json"),
        ("<confidence>0.2</confidence> <confidence>0.9</confidence>", None, "bad_args"),
    ],
)
def test_one_confidence_may_stand_beside_the_answer(words, told, code):
    reading = attempt(question(), final("42", words)).reading
    if told is None and code is None:
        assert reading is None
        return
    assert reading.confidence == told
    assert (None if reading.fault is None else str(reading.fault.code)) == code


def test_readings_come_back_from_the_trace(tmp_path):
    made = call("outline_for_tests", 1, (0, 0, 500, 1000))
    episodes = [
        attempt(MASKS, made, final("$mask_1")),
        attempt(BOXES, final([300, 200, 100, 400])),
        attempt(ATTRIBUTES, final({"colour": "red"}, "<confidence>0.5</confidence>")),
        attempt(question(), final("42")),
    ]
    with TraceWriter(tmp_path) as writer:
        for episode in episodes:
            writer.write(episode, Score({}, 0.0), {})
    again = [r.episode for r in read_trace(tmp_path)]
    assert [e.reading for e in again] == [e.reading for e in episodes]
    assert [e.contexts[0].reading for e in again] == [e.reading for e in episodes]


def test_the_paths_of_a_tree_have_their_own_readings():
    episode = attempt(BOXES, final([100, 200, 300, 400]))
    first = episode.contexts[0]
    fork = episode.open("policy", edge=Fork(0, 1))
    fork.append(Segment(author=Author.TEACHER, turn=0, ids=first.segments[0].ids))
    fork.stop = StopReason.MAX_TURNS
    whole, cut = episode.leaves()
    assert whole.reading == first.reading
    assert cut.reading is None


def test_references_have_a_plain_form():
    cells = np.zeros((4, 6), np.bool_)
    cells[1:3, 2:5] = True
    plain = to_plain(Masks((Mask(cells),)))
    assert decode_mask(plain["masks"][0]) == Mask(cells)
    assert to_plain(Choice(("a", "b"), 1)) == {"options": ["a", "b"], "correct": 1}
    assert to_plain(ATTRIBUTES.reference)["values"] == {"colour": ["red"], "age": ["old"]}


@pytest.mark.parametrize("bad", [((), 0), (("a",), 0), (("a", "b"), 2), (("a", "b"), -1)])
def test_a_choice_has_options_and_one_right_one(bad):
    with pytest.raises(DataError):
        Choice(*bad)
