"""Metrics of words, numbers and choices: worked cases, and what the strict rules refuse."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from vtool.eval.metrics.choice import ChoiceRule, read_choice

from vtool.metrics_number import (
    administrative_levels,
    first_number,
    haversine_km,
    mean_relative_accuracy,
    place_levels,
)
from vtool.metrics_text import (
    Rule,
    anls,
    edit_distance,
    macro_f1,
    plain_match,
    relaxed_accuracy,
    vqa_accuracy,
    vqa_words,
)


@pytest.mark.parametrize(
    ("answer", "golds", "score"),
    [
        ("paris france", ["Paris, France"], 1 - 1 / 13),  # one comma of thirteen characters
        ("1234", ["12"], 0.5),  # exactly at the threshold: kept
        ("12345", ["12"], 0.0),
        ("", [""], 1.0),
        ("cat", ["dog", "cut"], 1 - 1 / 3),
        ("x", [], 0.0),
    ],
)
def test_anls(answer, golds, score):
    assert anls(answer, golds) == pytest.approx(score)


def test_spaces_do_not_buy_similarity():
    assert anls("ab" + " " * 20, ["wxyz"]) == 0.0
    assert anls("ab" + " " * 20, ["wxyz"], rule=Rule.LMMS_EVAL) > 0.8


@given(st.text(max_size=8), st.text(max_size=8), st.text(max_size=8))
def test_edit_distance_is_a_distance(a, b, c):
    assert edit_distance(a, a) == 0
    assert edit_distance(a, b) == edit_distance(b, a)
    assert edit_distance(a, c) <= edit_distance(a, b) + edit_distance(b, c)
    assert abs(len(a) - len(b)) <= edit_distance(a, b) <= max(len(a), len(b))


@pytest.mark.parametrize(
    ("answer", "wanted", "strict", "published"),
    [
        ("10.4", "10", 1, 1),
        ("10.5", "10", 1, 1),
        ("10.6", "10", 0, 0),
        ("50%", "0.5", 1, 1),
        ("0.0", "0", 1, 0),
        ("1,000", "1000", 1, 0),
        (" 7 ", "7", 1, 1),
        ("1_0", "10", 0, 1),
        ("Yes", "yes", 1, 1),
        ("yes ", "yes", 1, 0),
        ("1,00", "100", 0, 0),
        ("nan", "nan", 1, 0),
        ("１０", "10", 0, 1),  # full-width digits are no digits in numbers
    ],
)
def test_relaxed_accuracy(answer, wanted, strict, published):
    assert relaxed_accuracy(answer, wanted) == strict
    assert relaxed_accuracy(answer, wanted, rule=Rule.LMMS_EVAL) == published


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("The Red, car.", "red car"),
        ("two", "2"),
        ("1,000", "1000"),
        ("dont", "don't"),
        ("couldntve", "couldntve"),
        ("couldn'tve", "couldn't've"),
        ("yall'd've", "y'all'd've"),
        ("ow's'at", "ow 's'at"),
        ("a an the", ""),
        ("left/right", "left right"),
        ("3.5", "3.5"),
        ("3. ", "3"),
    ],
)
def test_vqa_words(text, words):
    assert vqa_words(text) == words


@pytest.mark.parametrize(
    ("same", "score"),
    # With m of ten the same: m/10 * min(1, (m-1)/3) + (10-m)/10 * min(1, m/3).
    [(0, 0.0), (1, 0.3), (2, 0.6), (3, 0.9), (4, 1.0), (10, 1.0)],
)
def test_vqa_accuracy(same, score):
    assert vqa_accuracy("cat", ["cat"] * same + ["dog"] * (10 - same)) == pytest.approx(score)


def test_plain_match_and_macro_f1():
    assert plain_match("Blue!", "blue") == 1
    assert plain_match(" blue", "blue") == 1
    assert plain_match(" blue", "blue", rule=Rule.LMMS_EVAL) == 0
    # a: 1 of 1 found and 1 of 2 wanted: 2/3; b: 1 of 2 found and 1 of 1 wanted: 2/3.
    assert macro_f1(["a", "b", "b"], ["a", "a", "b"]) == pytest.approx(2 / 3)
    assert macro_f1([None, "z"], ["a", "a"]) == 0
    assert macro_f1([], []) == 0
    with pytest.raises(ValueError, match="zip"):
        macro_f1(["a"], [])


@pytest.mark.parametrize(
    ("answer", "wanted", "score"),
    [(10, 10, 1.0), (9.5, 10, 1.0), (9, 10, 0.9), (11, 10, 0.9), (6, 10, 0.3), (4, 10, 0.0)],
)
def test_mean_relative_accuracy(answer, wanted, score):
    assert mean_relative_accuracy(answer, wanted) == pytest.approx(score)


@pytest.mark.parametrize(("answer", "wanted"), [(None, 3), (math.nan, 3), (math.inf, 3), (1, 0)])
def test_what_is_no_quantity_scores_nothing(answer, wanted):
    assert mean_relative_accuracy(answer, wanted) == 0
    assert mean_relative_accuracy(0, 0) == 1


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("three hundred and twenty-one", 321),
        ("two thousand and five", 2005),
        ("one apple, room 2", 1),
        ("room 2, one apple", 2),
        ("-4.5 m", -4.5),
        ("none", None),
        ("a hundred", 100),
    ],
)
def test_first_number(text, value):
    assert first_number(text) == value


def test_places_on_the_earth():
    assert haversine_km((0, 0), (0, 180)) == pytest.approx(math.pi * 6371.0)
    assert haversine_km((48.8566, 2.3522), (51.5074, -0.1278)) == pytest.approx(343.6, abs=0.5)
    assert haversine_km((10, 20), (10, 20)) == 0
    wanted = {"street": 0, "city": 0, "region": 1, "country": 1, "continent": 1}
    assert place_levels(200.0) == wanted
    assert administrative_levels({"city": True}) == {"city": 1, "state": 1, "country": 1}
    assert administrative_levels({"state": True}) == {"city": 0, "state": 1, "country": 1}


OPTIONS = ("cat", "dog", "hot dog", "a red car")


@pytest.mark.parametrize(
    ("answer", "letter"),
    [
        ("A", "A"),
        ("(c)", "C"),
        ("B.", "B"),
        ("**B**", "B"),
        ("The answer is (D).", "D"),
        ("Answer: B. dog", "B"),
        ("B) dog", "B"),
        ("A cat is at D", "D"),
        ("So the answer is A cat", "A"),
        ("I think A or B", None),
        ("I think A because it purrs", "A"),
        ("First I took A. The correct answer is C", "C"),
        ("it is a hot dog", "C"),
        ("it is a dog", "B"),
        ("cat and dog", None),
        ("Because it is red", None),
        ("E", None),
        ("I", None),
        ("", None),
        ("I do not know", None),
    ],
)
def test_the_strict_rule_reads_letters_that_stand_as_such(answer, letter):
    assert read_choice(answer, OPTIONS) == letter


@pytest.mark.parametrize(
    ("rule", "answer", "letter"),
    [
        (ChoiceRule.RANKED, "A cat is on B", "A"),
        (ChoiceRule.RANKED, "I think A or B", "B"),
        (ChoiceRule.RANKED, "(c)", None),
        (ChoiceRule.VSTAR, "Because it is red", "B"),
        (ChoiceRule.VSTAR, "A cat is at D", "A"),
        (ChoiceRule.FIRST, "The best answer is: D", "D"),
        (ChoiceRule.VLMEVALKIT, "it is a hot dog", None),
        (ChoiceRule.VLMEVALKIT, "A or B", None),
        (ChoiceRule.VLMEVALKIT, "I can't process this file.", None),
        (ChoiceRule.VLMEVALKIT, "B is what I say after a long look", None),
        (ChoiceRule.HRBENCH, "B is what I say after a long look", "B"),
    ],
)
def test_published_rules_keep_their_quirks(rule, answer, letter):
    assert read_choice(answer, OPTIONS, rule) == letter


@pytest.mark.parametrize("rule", ChoiceRule)
@pytest.mark.parametrize("letter", "ABCD")
def test_every_rule_reads_a_bare_letter(rule, letter):
    assert read_choice(letter, OPTIONS, rule) == letter


@given(st.text(max_size=40), st.sampled_from(list(ChoiceRule)))
def test_no_rule_breaks_on_any_text(text, rule):
    got = read_choice(text, OPTIONS, rule)
    assert got is None or got in "ABCDE"
