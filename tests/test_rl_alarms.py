"""Alarms: each goes off when it must, stays silent when it must, and outlives a resume."""

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vtool.rl.alarms import Alarms, AlarmSettings

SMALL = AlarmSettings(window=3, skips=3)

FINE = {
    "reward/part/format": 0.9,
    "accuracy": 0.5,
    "entropy": 0.4,
    "tool_rate": 0.9,
    "dead_groups": 0.2,
    "mismatch_max": 1e-5,
    "loss": 0.1,
    "grad_norm": 1.0,
    "skipped": 0,
}


def names(course, settings=SMALL):
    """(step, name) of every alarm over a course of metrics."""
    alarms = Alarms(settings)
    return [(i, a.name) for i, m in enumerate(course) for a in alarms.check(i, {**FINE, **m})]


def course(key, *values):
    return [{key: v} for v in values]


def collapse(form):
    right = [0.7] * 3 + [0.6, 0.5, 0.4, 0.3]
    return [{"reward/part/format": form, "accuracy": r} for r in right]


@pytest.mark.parametrize(
    ("metrics", "wanted"),
    [
        ([{}] * 20, []),
        (collapse(1.0), [(5, "format_collapse")]),
        (collapse(0.9), []),
        ([{"reward/part/format": 1.0, "accuracy": a / 10} for a in range(10)], []),
        (course("entropy", *[0.4] * 3, *[0.001] * 6), [(5, "entropy_collapse")]),
        (course("entropy", *[0.4] * 3, *[0.05] * 6), []),
        ([{"entropy": 0.001, "accuracy": 0.95}] * 9, []),
        (course("tool_rate", *[0.9] * 3, 0, 0, 0, 0), [(5, "tools_unused")]),
        (course("tool_rate", *[0.0] * 9), []),
        (course("tool_rate", *[0.9] * 3, 0, 0, 0.3, 0, 0, 0.3), []),
        (course("dead_groups", *[0.9] * 6), [(2, "dead_groups")]),
        (course("dead_groups", 0.9, 0.9, 0.1, 0.9, 0.9, 0.1), []),
        (course("mismatch_max", 1e-5, 1.5, 1.5, 1e-5, 1.5), [(1, "mismatch"), (4, "mismatch")]),
        (course("reward/total", 0.1, math.nan, 0.1), [(1, "nan")]),
        (course("skipped", 1, 1, 0, 1, 1, 0), []),
        (course("skipped", 0, 1, 1, 1), [(3, "skipped")]),
    ],
)
def test_which_alarms_when(metrics, wanted):
    assert names(metrics) == wanted


@pytest.mark.parametrize(
    ("metrics", "fatal"),
    [
        ({"loss": math.nan}, True),
        ({"grad_norm": math.inf}, True),
        ({"loss": math.nan, "skipped": 1}, False),
        ({"entropy": math.nan}, False),
    ],
)
def test_nan_is_fatal_where_it_reached_the_weights(metrics, fatal):
    (alarm,) = Alarms(SMALL).check(4, {**FINE, **metrics})
    assert alarm.name == "nan"
    assert alarm.fatal is fatal
    assert alarm.message.startswith(f"step 4: {min(metrics.keys() - {'skipped'})} not finite")


def test_skips_in_a_row_are_fatal_and_told_every_time():
    alarms = Alarms(SMALL)
    found = [alarms.check(i, {"skipped": 1}) for i in range(5)]
    assert [len(f) for f in found] == [0, 0, 1, 1, 1]
    assert found[2][0].fatal
    assert "3 steps skipped in a row" in found[2][0].message


def test_missing_metrics_are_not_judged():
    assert names([]) == []
    alarms = Alarms(SMALL)
    for step in range(10):
        assert alarms.check(step, {"accuracy": None, "note": "x"}) == []


def test_an_alarm_that_ends_may_come_again():
    dead = course("dead_groups", *[0.9] * 4, *[0.1] * 3, *[0.9] * 4)
    assert names(dead) == [(2, "dead_groups"), (9, "dead_groups")]


def test_every_message_says_what_to_do():
    alarms = Alarms(SMALL)
    bad = {
        "dead_groups": 1.0,
        "mismatch_max": 9.0,
        "skipped": 1,
        "tool_rate": 0.0,
        "reward/part/format": 1.0,
        "accuracy": 0.0,
        "entropy": 0.0,
        "loss": math.nan,
    }
    for step in range(3):
        alarms.check(step, {**FINE, "accuracy": 0.8})
    found = {a.name: a for step in range(3, 9) for a in alarms.check(step, {**FINE, **bad})}
    assert set(found) == {
        "nan",
        "skipped",
        "mismatch",
        "format_collapse",
        "entropy_collapse",
        "tools_unused",
        "dead_groups",
    }
    for alarm in found.values():
        assert len(alarm.message.split(". ")) >= 2


rate = st.floats(0, 1)
steps = st.lists(
    st.fixed_dictionaries(
        {
            "reward/part/format": st.sampled_from([0.5, 1.0]),
            "accuracy": rate,
            "entropy": st.sampled_from([0.0, 0.001, 0.5]),
            "tool_rate": st.sampled_from([0.0, 0.9]),
            "dead_groups": rate,
            "skipped": st.integers(0, 1),
        }
    ),
    max_size=15,
)


@settings(max_examples=60)
@given(metrics=steps, cut=st.integers(0, 15))
def test_a_resume_changes_no_alarm(metrics, cut):
    whole, first, second = Alarms(SMALL), Alarms(SMALL), Alarms(SMALL)
    want = [whole.check(i, m) for i, m in enumerate(metrics)]
    got = [first.check(i, m) for i, m in enumerate(metrics[:cut])]
    second.restore(json.loads(json.dumps(first.state())))
    got += [second.check(i, m) for i, m in enumerate(metrics[cut:], start=min(cut, len(metrics)))]
    assert got == want


@pytest.mark.parametrize("field", ["window", "skips"])
def test_settings_that_could_never_fire_are_refused(field):
    with pytest.raises(ValueError, match="at least 1"):
        AlarmSettings(**{field: 0})
