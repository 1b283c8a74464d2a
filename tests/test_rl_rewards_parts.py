"""Reward parts on attempts that were really played."""

import math

import numpy as np
import pytest
import vtool.rl.rewards  # noqa: F401  (registers the parts)
from attempts import BAD_CALL, TARGET, attempt, call, final, look, mark, question, scores
from vtool.rl.recipe import load_recipe

from vtool.errors import RecipeError
from vtool.geometry import Box, Mask, Point
from vtool.judge import Case, JudgeDown, judges
from vtool.record import StopReason
from vtool.reward import RewardPart, Scope, Site, Unscored, choose, parts
from vtool.task import Answer, Attributes, Boxes, Choice, Evidence, Masks, Points

NUMBER = question(Answer(("5 km",)))


@pytest.mark.parametrize(
    ("part", "answer", "want"),
    [
        ("answer", "5 km", 1),
        ("answer", "5000 m", 0),
        ("answer_equivalent", "5000 m", 1),
        ("answer_equivalent", "0.5 km", 0),
        ("answer_equivalent", "five", 0),
        ("answer_f1", "5 m", 0.5),
        ("answer_f1", "far", 0),
    ],
)
def test_answers_by_rule(part, answer, want):
    assert scores(part, NUMBER, final(answer)) == pytest.approx(want)


def test_tolerance_is_relative():
    task = question(Answer(("9.81 m/s^2",)))
    assert scores("answer_equivalent", task, final("9.8 m/s²"), tolerance=0.01) == 1
    assert scores("answer_equivalent", task, final("9.8 m/s²")) == 0


CHOICE = question(Choice(("red", "green", "blue cat"), 2))


@pytest.mark.parametrize(
    ("answer", "want"),
    [
        ("C", 1),
        ("(c)", 1),
        ("C.", 1),
        ("C) blue cat", 1),
        ("Blue cat", 1),
        ("the blue cat", 1),
        ("A", 0),
        ("C) red", 0),
        ("A, B, C", 0),
        ("A or C", 0),
        ("red, green, blue cat", 0),
        ("D", 0),
        ("", 0),
        ("C" * 2000, 0),
    ],
)
def test_multiple_choice(answer, want):
    assert scores("answer", CHOICE, final(answer)) == want


@pytest.mark.parametrize(("recipe", "longest"), [("deepeyes", 1000), ("deepeyes_v2", 300)])
def test_a_padded_answer_is_wrong_from_the_recipes_length_on(recipe, longest):
    """Right, but for the points behind it: the reward of a wrong and malformed attempt."""
    spec = load_recipe(recipe).reward
    (options,) = [p["answer"] for p in spec.parts if isinstance(p, dict)]
    for reference, told in ((Answer(("42",)), "42"), (CHOICE.reference, "blue cat")):
        task = question(reference)
        for length, want in ((longest - 1, 1.0), (longest, 0.0)):
            given = told + "." * (length - len(told))
            assert scores("answer", task, final(given), **options) == want


class TestJudge:
    def setup_method(self):
        self.seen = []

    def ask(self, verdict):
        def judge(case: Case) -> float:
            self.seen.append(case)
            if isinstance(verdict, Exception):
                raise verdict
            return verdict

        judges._things["for_tests"] = judge

    def score(self, answer, **options):
        return scores("answer_judge", question(), final(answer), judge="for_tests", **options)

    def test_rules_come_first_and_the_judge_decides_the_rest(self):
        self.ask(1.0)
        assert self.score("42") == 1
        assert self.score("42.0") == 1
        assert self.seen == []
        assert self.score("forty-two") == 1
        assert self.seen == [Case("what?", ("42",), "forty-two")]

    def test_a_judge_that_is_down_leaves_it_unscored(self):
        self.ask(JudgeDown("no route"))
        assert isinstance(self.score("forty-two"), Unscored)
        assert self.score("42") == 1

    def test_what_is_written_to_persuade_is_not_shown(self):
        self.ask(1.0)
        assert self.score("x" * 1001) == 0
        assert self.seen == []

    def test_a_rubric_and_a_checklist(self):
        self.ask(0.7)
        task = question(tags={"checklist": [{"id": "a", "ask": "looked?", "weight": 2.0}]})
        episode = attempt(task, look(), final("42"))
        assert mark("judge", episode, task, judge="for_tests", criterion="polite?") == 0.7
        assert self.seen[-1].criterion == "polite?"
        assert mark("checklist", episode, task, judge="for_tests") == [2.0, 0.0]
        self.ask(JudgeDown("no route"))
        assert isinstance(mark("checklist", episode, task, judge="for_tests"), Unscored)


def test_attributes_left_out_count_nothing():
    task = question(Attributes({"Colour": ("red",), "age": ("very old", "old"), "shape": ("jar",)}))
    assert scores("attributes", task, final({"colour": "red"})) == pytest.approx(1 / 3)
    assert scores("attributes", task, final({"colour": "red", "age": "old", "shape": "jar"})) == 1
    half = {"colour": "red", "age": "very young", "shape": "jar"}
    assert scores("attributes", task, final(half)) == pytest.approx(5 / 6)
    assert scores("attributes", task, final("red")) == 0


@pytest.mark.parametrize(
    ("part", "turns", "want"),
    [
        ("format", (final("42"),), 1),
        ("format", (BAD_CALL, final("42")), 0),
        ("format", (look(box=(5, 5, 1, 1)), final("42")), 0),
        ("format_penalty", (final("42"),), 0),
        ("format_penalty", (final("4" * 1000),), -1),
        ("format_penalty", (final("4" * 999),), 0),
        ("format_short", (final("4" * 300),), 0),
        ("format_short", (final("4" * 299),), 1),
        ("format_mean", (look(), BAD_CALL, final("42")), 2 / 3),
        ("format_strict", (look(), final("42")), 1),
        ("format_strict", (look(), final("42", "")), 0),
        ("format_strict", (look() + look(), final("42")), 0),
        ("format_deductions", (BAD_CALL, final("42")), 0.8),
        ("format_deductions", (look(box=(5, 5, 1, 1)), final("42")), 0.8),
    ],
)
def test_formats(part, turns, want):
    assert scores(part, question(), *turns) == pytest.approx(want)


A, B = Box(0.1, 0.1, 0.3, 0.3), Box(0.5, 0.5, 0.9, 0.9)
TWO = question(Boxes((A, B)))
RAW_A, RAW_B, HALF_A = [100, 100, 300, 300], [500, 500, 900, 900], [100, 100, 300, 200]


@pytest.mark.parametrize(
    ("answer", "iou", "best", "count"),
    [
        ([RAW_A, RAW_B], 1, 1, 1),
        ([RAW_B, RAW_A], 1, 1, 1),
        ([RAW_A], 0.5, 1, 0.5),
        ([RAW_A, RAW_A], 0.5, 1, 1),
        ([RAW_A, RAW_B, RAW_B, RAW_B], 0.5, 1, 0.5),
        ([HALF_A, RAW_B], 0.75, 0.75, 1),
        ([], 0, 0, 0),
        ("nowhere", 0, 0, 0),
    ],
)
def test_boxes_are_matched_and_counted(answer, iou, best, count):
    episode = attempt(TWO, final(answer))
    assert mark("box_iou", episode, TWO) == pytest.approx(iou)
    assert mark("box_iou_best", episode, TWO) == pytest.approx(best)
    assert mark("box_count", episode, TWO) == pytest.approx(count)


def test_nothing_to_find_and_nothing_named_is_right():
    none = question(Boxes(()))
    assert scores("box_iou", none, final([])) == 1
    assert scores("box_iou", none, final([RAW_A])) == 0
    assert scores("point_final", question(Points(())), final([])) == 1
    assert scores("point_final", question(Points((Point(0, 0),))), final([])) == 0


def test_a_box_on_a_crop_counts_on_the_source_and_one_on_a_sheet_counts_against():
    """The crop is the target's quarter; all of it is the box (.25, .25, .5, .5)."""
    task = question(Boxes((TARGET,)))
    whole = {"bbox_2d": [0, 0, 1000, 1000], "image": 2}
    assert scores("box_iou", task, look(), final(whole)) == pytest.approx(1)
    two = [{"bbox_2d": [250, 250, 500, 500]}, {"bbox_2d": [0, 0, 1000, 1000], "image": 2}]
    assert scores("box_iou", task, look(), final(two)) == pytest.approx(0.5)


def test_steps_and_stretches_of_boxes():
    task = question(Boxes((Box(0, 0, 1, 1),)))
    assert scores("box_iou_stepped", task, final([0, 0, 1000, 800])) == 2
    assert scores("box_iou_stepped", task, final([0, 0, 1000, 810])) == 3
    assert scores("box_iou_rescaled", task, final([0, 0, 1000, 500])) == pytest.approx(0.5)
    assert scores("box_iou_rescaled", task, final([0, 0, 1000, 500]), low=0.5, high=1.0) == 0


def halves():
    cells = np.zeros((50, 50), np.bool_)
    cells[:, :25] = True
    return question(Masks((Mask(cells),)))


def test_masks_on_other_grids():
    """The wanted mask has 50 by 50 cells, the tool's 100 by 200."""
    task = halves()
    left = call("outline_for_tests", 1, (0, 0, 500, 1000))
    quarter = call("outline_for_tests", 1, (0, 0, 250, 1000))
    assert scores("mask_iou", task, left, final("$mask_1")) == 1
    assert scores("mask_iou", task, quarter, final("$mask_1")) == pytest.approx(0.5)
    assert scores("mask_iou", task, left, final("done")) == 0
    assert scores("mask_iou_last", task, left, final("done")) == 1
    assert scores("mask_iou_last", task, left, quarter, final("$mask_1")) == pytest.approx(0.5)
    assert scores("mask_iou_last", task, final("done")) == 0
    assert scores("mask_iou_stepped", task, left, final("done")) == 3
    both = scores("mask_iou", task, left, quarter, final(["$mask_1", "$mask_2"]))
    assert both == pytest.approx(0.5)


def test_a_mask_of_a_crop_is_mapped_back():
    cells = np.zeros((100, 200), np.bool_)
    cells[25:50, 50:100] = True
    task = question(Masks((Mask(cells),)))
    whole_crop = call("outline_for_tests", 2, (0, 0, 1000, 1000))
    assert scores("mask_iou", task, look(), whole_crop, final("$mask_1")) == pytest.approx(1)


POINT = question(Points((Point(0.4, 0.4),)))


@pytest.mark.parametrize(
    ("answer", "nndc", "final_", "area"),
    [
        ([400, 400], 1, 1, 1),
        ([300, 400], 0.6062, 1, 1),
        ([500, 500], 0.4926, 1, 1),
        ([600, 400], 0.3673, 0.3673, 0),
        ([[400, 400], [900, 900]], 0.5, 0.5, 0.5),
        ("there", 0, 0, 0),
    ],
)
def test_points(answer, nndc, final_, area):
    episode = attempt(POINT, final(answer))
    assert mark("point_nndc", episode, POINT) == pytest.approx(nndc, abs=1e-3)
    assert mark("point_final", episode, POINT) == pytest.approx(final_, abs=1e-3)
    assert mark("point_in_area", episode, POINT) == pytest.approx(area, abs=1e-3)


def test_a_point_in_a_mask_hits():
    cells = np.zeros((10, 10), np.bool_)
    cells[9, 9] = True
    task = question(Points((Point(0.1, 0.1),)), evidence=(Evidence(0, Mask(cells)),))
    assert scores("point_in_area", task, final([1000, 1000])) == 1
    assert scores("point_in_area", task, final([850, 1000])) == 0
    assert scores("point_final", task, final([1000, 1000])) == 1


def test_grasps_and_poses():
    pair = question(Points((Point(0.1, 0.1), Point(0.2, 0.1))))
    assert scores("grasp_nnce", pair, final([[100, 100], [200, 100]])) == 1
    assert scores("grasp_nnce", pair, final([[130, 100], [230, 100]])) == pytest.approx(0.97)
    assert scores("grasp_nnce", pair, final([[100, 100]])) == 0
    corners = [(x, y) for x in (0.1, 0.3) for y in (0.2, 0.6)] * 2
    cube = question(Points(tuple(Point(*c) for c in corners)))
    exact = [[round(1000 * v) for v in c] for c in corners]
    shifted = [[x + 100, y] for x, y in exact]
    assert scores("pose_hull_iou", cube, final(exact)) == pytest.approx(1)
    assert scores("pose_hull_iou", cube, final(shifted)) == pytest.approx(1 / 3)
    assert scores("pose_hull_iou", cube, final(exact[:7])) == 0


GEO = question(
    tags={"city": ["Lyon"], "state": ["Rhône"], "country": ["France"], "place": [45.76, 4.84]}
)


@pytest.mark.parametrize(
    ("answer", "points", "city"),
    [
        ("Lyon", 4, 1),
        ("Paris, France", 1, 0),
        ("Lyon, Germany", 4, 1),
        ("Rhône, France", 2, 0),
        ("Berlin", 0, 0),
        ("not Lyonnais", 0, 0),
    ],
)
def test_the_ladder_of_places(answer, points, city):
    episode = attempt(GEO, final(answer))
    assert mark("ladder", episode, GEO) == points
    assert mark("ladder_city", episode, GEO) == city


def test_distance_on_the_earth():
    assert scores("geo_distance", GEO, final("45.76, 4.84")) == pytest.approx(1)
    paris = scores("geo_distance", GEO, final("(48.8566, 2.3522)"))
    assert paris == pytest.approx(math.exp(-0.392), abs=0.01)
    assert scores("geo_distance", GEO, final("Lyon")) == 0
    assert scores("geo_distance", GEO, final("nan, 0")) == 0


def test_only_answers_of_finished_episodes_are_right():
    task = question()
    cut = attempt(task, look(), look(), max_turns=2)
    assert cut.stop is StopReason.MAX_TURNS
    for name in ("answer", "answer_f1", "answer_equivalent", "format", "format_strict"):
        assert mark(name, cut, task) == 0


@pytest.mark.parametrize(
    "name", ["box_iou", "mask_iou", "point_final", "attributes", "ladder", "pose_hull_iou"]
)
def test_parts_that_do_not_apply_say_so(name):
    assert scores(name, question(), final("42")) is None


def test_options_are_named_in_a_recipe_and_misspelt_ones_are_told():
    part = choose({"box_iou_rescaled": {"low": 0.5}})
    assert (part.name, part.fn.keywords) == ("box_iou_rescaled", {"low": 0.5})
    with pytest.raises(RecipeError, match="did you mean 'high'"):
        choose({"box_iou_rescaled": {"hihg": 0.5}})
    with pytest.raises(RecipeError, match="no option 'step'"):
        choose({"tool_turns_cosine": {"step": 3}})
    with pytest.raises(RecipeError, match="one name"):
        choose({"answer": {}, "format": {}})
    plain = RewardPart("p", Site.EPISODE, Scope.ATTEMPT, lambda e, t: 0.0)
    assert plain.set() is plain


def test_every_part_says_where_it_comes_from():
    for name in parts:
        doc = parts.get(name).fn.__doc__ or ""
        module = parts.get(name).fn.__module__
        if module.startswith("vtool.rl.rewards"):
            assert "Source:" in doc or name == "training_step", name
