"""Entropy branches: the worked numbers of ARPO, exact counts, and where branches go off."""

import asyncio
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sampling import RENDERER, TASK, VOCAB, Unsure, looks, maker, own_ids, seats, two_ways
from scripts import answer_text, zoom_text

from vtool.engines.scripted import ScriptedEngine
from vtool.errors import EngineError, RecipeError
from vtool.message import Author
from vtool.programs.entropy_branch import (
    BranchSettings,
    Measure,
    Rule,
    Trigger,
    entropy,
    entropy_branch,
    probability,
)
from vtool.programs.solo import play
from vtool.record import Fork, StopReason

ALWAYS = {"rule": Rule.THRESHOLD, "threshold": -1.0}


def grow(engine, count=8, key=(5,), make=None, **options):
    chosen = BranchSettings(**{"initial": 4, **options})
    return asyncio.run(
        entropy_branch(
            make or maker(max_turns=5),
            seats(engine),
            count=count,
            vocab=VOCAB,
            settings=chosen,
            key=key,
        )
    )


@pytest.mark.parametrize(
    ("change", "wanted"), [(0, 0.5), (0.5, 0.6), (-1, 0.3), (3, 1.0), (-3, 0.0)]
)
def test_worked_probabilities(change, wanted):
    """ARPO: a change of 0 gives .5, +.5 gives .6, -1 gives .3; clipped to [0, 1]."""
    assert probability(change) == pytest.approx(wanted)


def test_the_constants_of_the_released_code_are_the_defaults():
    told = BranchSettings()
    assert (told.initial, told.beam, told.base, told.weight) == (8, 2, 0.5, 0.2)
    assert (told.tokens, told.top, told.measure, told.rule) == (20, 10, "sum", "draw")


def test_entropy_as_the_code_sums_it_and_as_the_paper_means_it():
    """Two tokens, each even between two ways: log 2 each, over log 4."""
    rows = [((0, math.log(0.5)), (1, math.log(0.5)))] * 2
    assert entropy(rows, 4) == pytest.approx(1.0)
    assert entropy(rows, 4, Measure.MEAN) == pytest.approx(0.5)
    # The sum over 20 tokens may exceed 1, the mean never does.
    assert entropy(rows * 10, 4) == pytest.approx(10.0)
    assert entropy(rows * 10, 4, Measure.MEAN) == pytest.approx(0.5)
    assert entropy([two_ways(0.0)], 4) == pytest.approx(0.0, abs=1e-9)


@settings(max_examples=12)
@given(
    count=st.integers(1, 7),
    initial=st.integers(1, 7),
    beam=st.integers(1, 4),
    threshold=st.sampled_from([-1.0, 2.0]),
    turns=st.integers(0, 2),
)
def test_exactly_as_many_attempts_as_were_asked_for(count, initial, beam, threshold, turns):
    found = grow(
        Unsure(looks(turns)),
        count,
        initial=initial,
        beam=beam,
        rule=Rule.THRESHOLD,
        threshold=threshold,
    )
    assert len(found) == count
    assert all(e.stop is StopReason.ANSWERED for e in found)
    for view in found:
        edge = view.final.edge
        if edge is not None:
            assert isinstance(edge, Fork)
            shared = view.contexts[edge.parent].segments[: edge.at]
            assert all(a is b for a, b in zip(view.final.segments, shared, strict=False))


def test_branches_go_off_right_after_a_tools_result():
    found = grow(Unsure(looks(1)), 8, **ALWAYS)
    branches = [e for e in found if e.final.edge is not None]
    assert len(branches) == 4
    for view in branches:
        last = view.final.segments[view.final.shared - 1]
        assert last.author is Author.TOOL
        assert view.final.segments[view.final.shared].author is Author.POLICY


def test_nobody_branches_before_a_tool_was_used():
    found = grow(Unsure(looks(0)), 6, **ALWAYS)
    assert all(e.final.edge is None for e in found)
    assert len({id(e.contexts) for e in found}) == 6


def test_branching_may_wait_for_a_picture():
    """A refused call shows none: only what was seen makes unsure."""
    bad = zoom_text(image=9)
    script = lambda key: bad if key[-1] == 0 and key[-2] == 0 else answer_text()  # noqa: E731
    assert not [e for e in grow(Unsure(script), after=Trigger.IMAGE, **ALWAYS) if e.final.edge]
    assert [e for e in grow(Unsure(script), after=Trigger.TOOL, **ALWAYS) if e.final.edge]
    assert [e for e in grow(Unsure(looks(1)), after=Trigger.IMAGE, **ALWAYS) if e.final.edge]


def test_a_path_adds_at_most_beam_less_one_at_a_time():
    found = grow(Unsure(looks(1)), 16, initial=2, beam=4, **ALWAYS)
    first = [e for e in found if e.contexts is found[0].contexts]
    at = [e.final.edge.at for e in first if e.final.edge]
    made = found[0].verdicts["entropy_branch"]
    assert max(n for *_, n in made) == 3
    assert len(at) >= 3


def test_who_becomes_unsure_branches_and_who_does_not_does_not():
    """Attempt 0 is as sure as at first, attempt 1 far less: change 0 gives .5, which is not above
    the threshold; the other's is."""
    nats = lambda key: 0.3 if key[1:] == (1, 0, 1) else 0.0  # noqa: E731
    found = grow(Unsure(looks(1), nats), 4, initial=2, rule=Rule.THRESHOLD, threshold=0.55)
    starts = {id(e.contexts): e for e in found}
    forked = [len(e.contexts) for e in starts.values()]
    assert forked == [1, 2, 1]
    ((change, likely),) = [n[2:4] for n in found[1].verdicts["entropy_branch"] if n[4]]
    turn = found[1].contexts[0].segments[-1]
    tokens = min(20, len(turn))
    assert change == pytest.approx(tokens * 0.3 / math.log(VOCAB), rel=1e-6)
    assert likely == pytest.approx(0.5 + 0.2 * change)


def test_the_record_is_as_it_would_be_without_measuring():
    """With nothing to branch for, attempts are bit for bit those of flat sampling."""
    engine = Unsure(looks(2))
    found = grow(engine, 4, initial=4)
    for attempt, episode in enumerate(found):
        env = maker(max_turns=5)(attempt)
        alone = asyncio.run(play(env, seats(Unsure(looks(2))), key=(5, attempt)))
        assert own_ids(episode) == own_ids(alone)
        assert [s.top for s in episode.final.segments] == [s.top for s in alone.final.segments]
        assert [s.sampling for s in episode.final.segments] == [
            s.sampling for s in alone.final.segments
        ]


def test_equal_keys_grow_equal_trees_and_others_do_not():
    def shape(key):
        found = grow(Unsure(looks(2)), 12, key=key)
        return [(e.seed, e.final.number, e.final.shared) for e in found]

    assert shape((5,)) == shape((5,))
    assert len({tuple(shape((k,))) for k in range(6)}) > 1


def test_an_engine_that_tells_no_alternatives_is_named():
    engine = ScriptedEngine([answer_text()], RENDERER.codec, RENDERER.stop_ids[:1])
    found = grow(engine, 2, initial=2)
    assert all(e.stop is StopReason.FAILED for e in found)
    assert "Capabilities.top" in found[0].error


def test_attempts_that_break_count_and_are_masked():
    script = lambda key: EngineError("gone") if key[1] == 1 else looks(1)(key)  # noqa: E731
    found = grow(Unsure(script), 5, **ALWAYS)
    assert len(found) == 5
    assert [e.stop for e in found].count(StopReason.FAILED) == 1


@pytest.mark.parametrize("bad", [{"initial": 0}, {"beam": 0}, {"tokens": 0}, {"top": 0}])
def test_settings_that_make_no_sampler_are_refused(bad):
    with pytest.raises(RecipeError, match="at least 1"):
        BranchSettings(**bad)


def test_the_task_is_the_same_for_all():
    assert {e.task_id for e in grow(Unsure(looks(1)))} == {TASK.id}
