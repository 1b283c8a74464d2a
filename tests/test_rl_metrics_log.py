"""The metrics log and the live table."""

import io
import json
import math
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from vtool.rl.live_table import LiveTable, curve, number, order, plain_line
from vtool.rl.metrics_log import MetricsLog, read_metrics
from vtool.rl.stages import Stage

METRICS = {
    "reward/total": 0.52,
    "reward/part/format": 1.0,
    "reward/part/answer": 0.4,
    "accuracy": 0.61,
    "accuracy/zooms=1": 0.55,
    "tool_rate": 0.92,
    "valid_call_rate": 1.0,
    "turns": 1.9,
    "entropy": 0.41,
    "dead_groups": 0.25,
    "stop/answered": 30,
    "time/generate": 0.8,
    "time/train": 0.3,
    "time/other": 0.1,
    "step_distance": 1.5e-4,
    "grad_norm": 0.7,
    "lr": 3e-4,
    "mismatch_max": 2e-5,
}


def lines(folder):
    return (folder / "metrics.jsonl").read_text().splitlines()


def test_one_line_a_step_flushed(tmp_path):
    log = MetricsLog(tmp_path, tensorboard=False)
    log.write(1, METRICS)
    assert json.loads(lines(tmp_path)[0]) == {"step": 1, **METRICS}
    log.write(2, {"a": np.float32(0.5), "b": torch.tensor(2), "c": None, "d": "x", "e": True})
    assert lines(tmp_path)[1] == '{"step": 2, "a": 0.5, "b": 2, "c": null, "d": "x", "e": true}'
    log.close()


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, torch.tensor(math.nan)])
def test_what_is_not_finite_is_null_and_named(tmp_path, value):
    with MetricsLog(tmp_path, tensorboard=False) as log:
        log.write(1, {"a": value, "b": 1.0, "c": value})
    assert read_metrics(tmp_path) == [
        {"step": 1, "a": None, "b": 1.0, "c": None, "nonfinite": ["a", "c"]}
    ]


@pytest.mark.parametrize(
    ("metrics", "error", "said"),
    [
        ({"step": 3}, ValueError, "may be named step"),
        ({"nonfinite": 3}, ValueError, "may be named nonfinite"),
        ({"a": [1]}, TypeError, "metric 'a' is a list"),
        ({"a": torch.zeros(2)}, TypeError, "metric 'a' is a Tensor"),
    ],
)
def test_what_is_no_metric_is_refused_and_leaves_no_line(tmp_path, metrics, error, said):
    with MetricsLog(tmp_path, tensorboard=False) as log, pytest.raises(error, match=said):
        log.write(1, metrics)
    assert lines(tmp_path) == []


def write_steps(log, steps):
    for step in steps:
        log.write(step, {"loss": 1 / (step + 1), "text": "é\n"})


@settings(max_examples=30)
@given(
    total=st.integers(1, 12),
    crash=st.integers(0, 12),
    back=st.integers(0, 12),
    torn=st.integers(0, 40),
)
def test_a_resumed_log_equals_an_unbroken_one(tmp_path_factory, total, crash, back, torn):
    """The process dies `torn` bytes into the line after `crash`, and resumes after `back`."""
    whole, broken = (tmp_path_factory.mktemp(n) for n in ("whole", "broken"))
    crash, back = min(crash, total), min(back, crash, total)
    with MetricsLog(whole, tensorboard=False) as log:
        write_steps(log, range(1, total + 1))
    with MetricsLog(broken, tensorboard=False) as log:
        write_steps(log, range(1, crash + 1))
    part = (whole / "metrics.jsonl").read_bytes().splitlines(keepends=True)[crash : crash + 1]
    with (broken / "metrics.jsonl").open("ab") as file:
        file.write(b"".join(part)[:torn])
    with MetricsLog(broken, tensorboard=False) as log:
        log.resume(back)
        write_steps(log, range(back + 1, total + 1))
    assert (broken / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes()


def test_opening_again_keeps_what_is_there(tmp_path):
    for step in (1, 2):
        with MetricsLog(tmp_path, tensorboard=False) as log:
            write_steps(log, [step])
    assert [line["step"] for line in read_metrics(tmp_path)] == [1, 2]


def scalars(folder, name):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    return [(e.step, round(e.value, 5)) for e in events.Scalars(name)]


def test_tensorboard_holds_the_same_and_forgets_the_same(tmp_path):
    with MetricsLog(tmp_path) as log:
        write_steps(log, [1, 2, 3])
        log.write(4, {"loss": math.nan})
    with MetricsLog(tmp_path) as log:
        log.resume(2)
        log.write(3, {"loss": 7.0})
    assert scalars(tmp_path, "loss") == [(1, 0.5), (2, 0.33333), (3, 7.0)]


def test_no_tensorboard_is_said_once_and_the_run_goes_on(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with MetricsLog(tmp_path) as log:
        with pytest.warns(UserWarning, match="no TensorBoard curves from step 1") as told:
            write_steps(log, [1, 2, 3])
        assert len(told) == 1
    assert len(lines(tmp_path)) == 3


def test_a_tracker_that_breaks_does_not_stop_the_run(tmp_path, monkeypatch):
    with MetricsLog(tmp_path) as log:
        write_steps(log, [1])

        def broken(*args):
            raise OSError("no route to host")

        monkeypatch.setattr(log._curves._writer, "add_scalar", broken)
        with pytest.warns(UserWarning, match=r"from step 2 on \(no route to host\)"):
            write_steps(log, [2, 3])
    assert len(lines(tmp_path)) == 3


# --- the screen ---------------------------------------------------------------------------------


def test_a_plain_line_a_step_where_there_is_no_terminal():
    out = io.StringIO()
    with LiveTable(Console(file=out, width=40), steps=60) as live:
        live.update(12, METRICS)
        live.say("[alarm] nan")
        live.update(13, METRICS)
    first, said, second = out.getvalue().splitlines()
    assert first == (
        "step 12/60 reward 0.520 accuracy 0.610 tools 0.920 valid 1 turns 1.900 entropy 0.410 "
        "dead 0.250 grad 0.700 | parts answer 0.400 format 1 | accuracy by tag zooms=1 0.550 | "
        "stops answered 30 | seconds generate 0.800 other 0.100 train 0.300"
    )
    assert said == "[alarm] nan"
    assert second.startswith("step 13/60")


def test_a_line_of_few_metrics_says_only_those():
    assert plain_line(1, {"loss": 1.0}) == "step 1"
    assert plain_line(1, {"accuracy": None}) == "step 1 accuracy -"


def test_the_table_shows_every_metric_and_its_course():
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=100, height=60)
    with LiveTable(console, steps=60) as live:
        live.update(1, METRICS)
        live.update(2, {**METRICS, "accuracy": 0.9})
        live.say("an alarm")
    text = out.getvalue()
    for name in METRICS:
        assert name in text
    assert "step 2 of 60" in text
    assert "▁█" in text
    assert "an alarm" in text


@pytest.mark.parametrize("terminal", [True, False])
def test_the_step_of_a_stage_is_said_with_its_stage(terminal):
    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, width=100, height=60, highlight=False)
    with LiveTable(console) as live:
        live.begin(Stage(1, 2, "grpo", 20))
        live.update(20, {"accuracy": 0.5})
        live.begin(Stage(2, 2, "dgrpo", 60))
        live.say("an alarm")
        live.update(5, {"accuracy": 0.6})
    text = out.getvalue()
    assert "stage 2/2 (dgrpo), an alarm" in text
    wanted = ["stage 1 of 2 (grpo), step 20 of 20", "stage 2 of 2 (dgrpo), step 5 of 60"]
    if not terminal:
        wanted = [w.replace(" of ", "/") + " accuracy" for w in wanted]
    assert all(w in text for w in wanted)


def test_names_with_brackets_are_shown_as_they_are():
    out = io.StringIO()
    with LiveTable(Console(file=out, force_terminal=True, width=100)) as live:
        live.update(1, {"accuracy/[red]": 1.0})
    assert "accuracy/[red]" in out.getvalue()


def test_rows_keep_their_order():
    assert order({"time/b": 1, "time/a": 1, "accuracy": 1, "reward/total": 1, "else": 1}) == [
        "reward/total",
        "accuracy",
        "time/a",
        "time/b",
    ]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.12345, "0.123"),
        (3e-4, "0.0003"),
        (1234567.0, "1.2e+06"),
        (4.0, "4"),
        (0.0, "0"),
        (None, "-"),
        (math.nan, "nan"),
        (math.inf, "inf"),
        ("up", "up"),
        (True, "True"),
    ],
)
def test_numbers_in_few_characters(value, text):
    assert number(value) == text


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ([], ""),
        ([1], ""),
        ([1, 1], "▁▁"),
        ([0, 1], "▁█"),
        ([0, math.nan, 1], "▁ █"),
        ([0, math.inf, 1], "▁ █"),
    ],
)
def test_curves(values, text):
    assert curve(values) == text
