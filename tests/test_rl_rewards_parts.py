"""Reward parts on attempts that were really played."""

import math

import numpy as np
import pytest
import vtool.rl.rewards  # noqa: F401  (registers the parts)
from attempts import TARGET, attempt, call, final, look, question

from vtool.errors import RecipeError
from vtool.geometry import Box, Mask, Point
from vtool.judge import Case, JudgeDown, judges
from vtool.message import ToolCall
from vtool.record import StopReason
from vtool.reward import RewardPart, Scope, Score, Site, Unscored, choose, parts
from vtool.scoring import score_group
from vtool.task import Answer, Attributes, Boxes, Choice, Evidence, Masks, Points


def mark(name, episode, task, **options):
    return parts.get(name).set(**options).fn(episode, task)


def played(task, *turns, **limits):
    return attempt(task, *turns, **limits), task


def scores(name, task, *turns, **options):
    return mark(name, *played(task, *turns), **options)


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


BAD_CALL = "so\n<tool_call>\n{zoom}\n</tool_call>"


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


WANTED = (ToolCall("zoom", {"image": "image_1", "box": [0.25, 0.25, 0.5, 0.5]}),)
CALLS = question(calls=WANTED)


def test_calls_are_compared_by_what_the_toolbox_read():
    exact = attempt(CALLS, look(), final("42"))
    assert mark("call_match", exact, CALLS) == [1.0, 1.0]
    assert mark("call_toolrl", exact, CALLS) == pytest.approx(3)
    near = attempt(CALLS, look(box=(240, 240, 500, 500)), final("41"))
    assert mark("call_match", near, CALLS) == [1.0, 0.0]
    far = attempt(CALLS, look(box=(600, 600, 900, 900)), final("42"))
    assert mark("call_match", far, CALLS) == [0.75, 1.0]
    assert mark("call_toolrl", far, CALLS) == pytest.approx(1.5)
    two = attempt(CALLS, look(box=(600, 600, 900, 900)), look(), final("42"))
    assert mark("call_match", two, CALLS) == [0.0, 1.0, 1.0]
    assert mark("call_match_released", two, CALLS) == [-0.5, 1.0, 1.0]
    other = attempt(CALLS, call("read_for_tests"), final("42"))
    assert mark("call_match", other, CALLS) == [0.0, 1.0]
    soft = mark("call_match", two, CALLS, matching="transport")
    assert 0 < soft[0] < soft[1] < 1
    assert mark("call_match", exact, question()) is None


def test_refused_calls_climb_part_of_the_ladder():
    turns = (
        (look(), 4),
        (look(box=(900, 900, 100, 100)), 3),
        (call("zoom"), 2),
        (call("zom"), 1),
        (BAD_CALL, 0),
    )
    for turn, rung in turns:
        assert scores("call_ladder", question(), turn, look(), final("1")) == (rung + 4) / 2
    assert scores("call_ladder", question(), final("1")) == 0
    three = (look(), look(), look(), look(box=(900, 900, 100, 100)), final("1"))
    assert scores("call_success", question(), *three) == pytest.approx(0.875)
    assert scores("call_success", question(), *three, failed=0.0) == pytest.approx(0.75)
    assert scores("call_success", question(), final("1")) is None


FULL, NOTHING = look(box=(0, 0, 1000, 1000)), call("nothing_for_tests")


def test_bonuses_are_for_calls_that_do_something_and_are_not_paid_by_the_call():
    assert scores("tool_used", question(), look(), final("1")) == 1
    assert scores("tool_used", question(), look(), look(), look(), final("1")) == 1
    assert scores("tool_used", question(), FULL, final("1")) == 0
    assert scores("tool_used", question(), look(box=(9, 9, 1, 1)), final("1")) == 0
    assert scores("tool_used", question(), final("1")) == 0
    assert scores("tool_called", question(), FULL, final("1")) == 1
    assert scores("tool_turns", question(), look(), look(), FULL, final("1")) == pytest.approx(0.2)
    assert scores("tool_turns", question(), look(), final("1"), most=0.05) == 0.05
    named = {"tools": ["zoom", "read_for_tests"]}
    assert scores("tools_used_all", question(), look(), final("1"), **named) == 0
    both = (look(), call("read_for_tests"), final("1"))
    assert scores("tools_used_all", question(), *both, **named) == 1


@pytest.mark.parametrize(("step", "factor"), [(0, 1), (50, 0.854), (100, 0.5), (200, 0), (900, 0)])
def test_a_bonus_may_fade_with_the_step(step, factor):
    task = question()
    episode = attempt(task, look(), final("42"))
    part = parts.get("tool_turns_cosine")
    found = score_group([episode], task, [part], lambda p: Score(p, p[part.name]), step=step)
    assert found[0].total == pytest.approx(0.1 * factor, abs=1e-3)


def test_curiosity_in_both_forms():
    task = question()
    group = [attempt(task, look(), look(), look(), final("1"))]
    group += [attempt(task, final("1"), seed=i) for i in range(1, 8)]
    assert parts.get("curiosity_tool_rate").fn(group, task)[:2] == pytest.approx([0.0875, 0])
    assert parts.get("curiosity_relative").fn(group, task)[:2] == pytest.approx([0.175, 0])
    assert mark("redundancy", group[0], task) == pytest.approx(-0.1)
    assert mark("redundancy", group[1], task) == 0


def test_otc_counts_the_fewest_calls_of_right_members():
    task = question()
    right_two = attempt(task, look(), look(), final("42"))
    right_four = attempt(task, look(), look(), look(), look(), final("42"))
    wrong_none = attempt(task, final("41"))
    marks = parts.get("otc").fn([right_two, right_four, wrong_none], task)
    assert marks == pytest.approx([1, 0.866, 0], abs=1e-3)
    assert parts.get("otc").fn([wrong_none], task) == [1]
    assert mark("otc_smooth", right_two, task) == pytest.approx(0.309, abs=1e-3)


def test_the_cheaper_of_two_right_ones_wins_where_money_counts():
    task = question()
    cheap, dear = attempt(task, look(), final("42")), attempt(task, look(), look(), final("42"))
    priced = parts.get("preference_cost").set(prices={"zoom": 2.0}, preference={"money": 1.0})
    assert priced.fn([cheap, dear], task) == [1.0, 0.0]
    assert priced.fn([cheap, cheap], task) == [0.0, 0.0]
    many = parts.get("preference_cost").set(preference={"zoom": 0.5, "money": 1.0})
    assert many.fn([cheap, dear], task) == [1.0, 0.5]


def test_caps_and_economies():
    task = question()
    six = attempt(task, *[look()] * 6, final("42"), max_turns=9)
    assert mark("call_cap", six, task) == -1
    assert mark("call_cap", attempt(task, look(), final("42")), task) == 0
    assert mark("economy", six, task) == pytest.approx(1 / 6)
    assert mark("economy", attempt(task, look(), final("42")), task) == 1
    assert mark("economy_pixels", attempt(task, look(), final("42")), task) == 1
    wide = attempt(task, FULL, FULL, FULL, final("42"))
    assert mark("economy_pixels", wide, task) == pytest.approx(1 / 3)
    assert mark("economy_tokens", wide, task, free=10**6) == 1
    tokens = sum(int(c.mask().sum()) for c in wide.contexts)
    assert mark("economy_tokens", wide, task, free=tokens // 2) == pytest.approx(0.5, abs=0.01)
    assert mark("overlong", wide, task, limit=tokens, buffer=tokens) == pytest.approx(-1)
    assert mark("length_words", wide, task, target=10) == pytest.approx(0.5)


def test_goals_are_places_seen_each_once():
    places = tuple(Evidence(0, Box(x, 0.0, x + 0.2, 0.2)) for x in (0.0, 0.2, 0.4, 0.6))
    task = question(evidence=places)
    first, second = look(box=(0, 0, 200, 200)), look(box=(200, 0, 400, 200))
    episode = attempt(task, first, second, first, final("41"))
    assert mark("completion_f1", episode, task) == pytest.approx(4 / 7)
    assert mark("completion_ftrl", episode, task) == pytest.approx(1.0)
    assert mark("completion_ftrl_eval", episode, task) == pytest.approx(4 / 7)
    assert mark("completion_steps", episode, task) == pytest.approx([1, 1, 0, 0])
    told = attempt(task, first, final("42"))
    assert mark("completion_steps", told, task) == pytest.approx([1, 1 / 4])
    assert mark("completion_f1", attempt(question(evidence=()), final("42")), task) == 0
    told.verdicts.update(solved=3, goals=3)
    assert mark("completion_f1", told, task) == pytest.approx(2 * 3 / 4)


@pytest.mark.parametrize(
    ("part", "answer", "told", "want"),
    [
        ("calibration", "42", 0.8, 1.96),
        ("calibration", "41", 0.8, -0.64),
        ("calibration", "42", 0, 1.0),
        ("calibration", "41", 0, 0.0),
        ("calibration", "42", None, 1.0),
        ("calibration", "41", None, -1.0),
        ("rlcr", "42", 0, 0.0),
        ("rlcr", "41", 0, 0.0),
        ("rlcr", "42", 0.9, 0.99),
        ("brier", "42", 0.9, 0.99),
        ("brier", "41", None, 0.0),
        ("log_score", "42", 0.5, math.log(0.5)),
        ("log_score", "41", 1, math.log(0.01)),
    ],
)
def test_calibration(part, answer, told, want):
    words = "" if told is None else f"<confidence>{told}</confidence>"
    assert scores(part, question(), final(answer, words)) == pytest.approx(want)


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
        if parts.get(name).fn.__module__.startswith("vtool.rl.rewards"):
            assert "Source:" in doc or name in ("training_step",), name
