"""The moment world: what its files hold, what a glance does not tell, and what can be reached."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from vtool.answer_spans import read_spans
from vtool.commands.data import app
from vtool.data import load_tasks
from vtool.data_check import check_data
from vtool.errors import DataError
from vtool.geometry import Span
from vtool.media import Clip, Image
from vtool.metrics import exact_match
from vtool.task import Answer, Grounded, Spans
from vtool.temporal import spans_iou
from vtool.video.budget import middles
from vtool.video.source import Video
from vtool.worlds.moments import GLANCE, Ask, Moment, draw
from vtool.worlds.moments_files import make, write_video
from vtool.worlds.moments_play import at_random, best, blind, resampler
from vtool.worlds.moments_world import FOUND, WORDS_CHANCE
from vtool.worlds.score import HALF
from vtool.worlds.world import worlds
from vtool.worlds.zoom import Split, split_of


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Path:
    return make(tmp_path_factory.mktemp("moments"), seed=5, videos=24, split="held_out").parent


def moments(files: Path, count: int = 24) -> list[tuple[Video, Moment]]:
    drawn = [draw((5 << 32) + i, split="held_out") for i in range(count)]
    return [(Video.open(files / f"videos/{i:06d}.mp4"), m) for i, m in enumerate(drawn)]


def test_a_file_has_the_frames_and_times_that_were_drawn(files):
    for video, moment in moments(files):
        assert video.duration_s == pytest.approx(moment.seconds, abs=1e-6)
        assert 20 <= moment.seconds <= 120
        assert [round(t * 10) for t in video.times_s] == moment.ticks.tolist()
        rows = np.linspace(0, len(moment.ticks) - 1, 9).astype(int)
        rows = sorted({*rows.tolist(), *moment.flash, moment.cue[0]})
        clip = video.clip([moment.ticks[r] / 10 for r in rows])
        for row, frame in zip(rows, clip.frames, strict=True):
            off = np.abs(frame.pixels.astype(int) - moment.frame(row)).mean()
            assert off < 4, (row, off)
    rates = {m.variable for _, m in moments(files)}
    assert rates == {True, False}


def test_the_glance_shows_the_cue_twice_and_never_the_flash(files):
    for task in list(load_tasks(files / "tasks.jsonl"))[::4]:
        clip, video = task.media
        assert isinstance(clip, Clip)
        assert len(clip.frames) == GLANCE
        moment = next(m for v, m in moments(files) if v == video)
        rows = [moment.row_at(t) for t in clip.times_s]
        cued = [i for i, r in enumerate(rows) if moment.cue[0] <= r < moment.cue[1]]
        assert cued == [moment.gap, moment.gap + 1]
        assert not any(moment.flash[0] <= r < moment.flash[1] for r in rows)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**50), st.sampled_from(list(Split)), st.sampled_from([0.0, 1.0]))
def test_every_drawing_keeps_its_promises(seed: int, split: Split, variable: float):
    moment = draw(seed, split=split, variable=variable)
    gap_s = moment.seconds / GLANCE
    start, end = moment.flash
    assert moment.cue[0] < start < end < moment.cue[1]
    assert moment.span.end_s - moment.span.start_s <= 0.4 * gap_s + 0.5
    assert (np.diff(moment.ticks) > 0).all()
    assert split_of(moment.layout) is split
    assert split_of(moment.background) is split
    # A resample of the stretch between the cued frames cannot miss it.
    before, after = ((moment.gap + 0.5 + i) * gap_s for i in (0, 1))
    window = [moment.ticks[moment.row_at(t)] / 10 for t in (before, after)]
    step = (window[1] - window[0]) / 8
    rows = [moment.row_at(window[0] + (i + 0.5) * step) for i in range(8)]
    assert any(start <= r < end for r in rows)


def test_the_same_arguments_give_the_same_bytes(tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        make(tmp_path / name, seed=seed, videos=2, tenths=(200, 300))
    read = {n: {p.name: p.read_bytes() for p in (tmp_path / n).rglob("*.*")} for n in "abc"}
    assert read["a"] == read["b"] != read["c"]
    assert len(read["a"]) == 3


def test_splits_share_nothing():
    drawn = {s: [draw(i, split=s) for i in range(300)] for s in Split}
    for name in ("layout", "background"):
        train, held = ({getattr(m, name) for m in drawn[s]} for s in Split)
        assert len(held) > 8
        assert not train & held


def test_a_row_is_what_a_user_would_bring(files):
    rows = [json.loads(x) for x in (files / "tasks.jsonl").read_text().splitlines()[:4]]
    assert [r["tags"]["kind"] for r in rows] == [a.value for a in Ask]
    kinds = [type(t.reference) for t in load_tasks(files / "tasks.jsonl")[:4]]
    assert kinds == [Answer, Answer, Spans, Grounded]
    assert check_data(files / "tasks.jsonl").ok


def test_the_command_writes_and_checks_it(tmp_path):
    runner = CliRunner()
    out = str(tmp_path / "m")
    words = ["make", "moments", "--out", out, "--videos", "2", "--asks", "when,both"]
    assert "4 questions about 2 videos" in runner.invoke(app, words).stdout
    assert "4 rows, fine" in runner.invoke(app, ["check", f"{out}/tasks.jsonl"]).stdout
    wrong = runner.invoke(app, [*words[:3], str(tmp_path / "n"), "--asks", "why"])
    assert isinstance(wrong.exception, DataError)


def test_what_is_wrong_with_a_row_is_told(tmp_path):
    path = make(tmp_path / "m", seed=0, videos=1, asks=["both"], tenths=(200, 210))
    good = json.loads(path.read_text())
    changes = {
        "gone": {"videos": ["videos/none.mp4"]},
        "outside": {"spans": [[3.0, 300.0]]},
        "reversed": {"spans": [[5.0, 3.0]]},
        "elsewhere": {"evidence": [{"video": 1, "span": [1.0, 2.0]}]},
        "no_video": {"videos": [], "evidence": []},
        "no_file": {"videos": ["tasks.jsonl"]},
    }
    for number, (name, change) in enumerate(changes.items()):
        file = path.parent / f"{name}.jsonl"
        file.write_text(json.dumps({**good, "id": str(number), **change}))
        report = check_data(file)
        assert not report.ok, name
    with pytest.raises(DataError, match="files are not there"):
        load_tasks(path.parent / "gone.jsonl")


# ------------------------------------------------------------------------ controls


def score(answer: str, moment: Moment, ask: Ask) -> tuple[float | None, float | None]:
    """Accuracy of the words and overlap of the span, as far as they are asked for."""
    reading, wanted = read_spans(answer), moment.answer(ask)
    words = reading.words if ask.timed else answer
    return (
        None if wanted is None else exact_match(words, [wanted]),
        spans_iou(reading.spans or (), [moment.span]) if ask.timed else None,
    )


def test_the_best_policy_is_right_by_construction(files):
    for task, (video, moment) in zip(
        load_tasks(files / "tasks.jsonl")[::4], moments(files), strict=True
    ):
        seen = best(task.media[0], resampler(video))
        assert seen is not None
        assert seen.looks <= 9
        for ask in Ask:
            words, overlap = score(seen.answer(ask), moment, ask)
            assert words in (None, 1.0)
            assert overlap is None or overlap == pytest.approx(1.0, abs=1e-6)


def test_a_glance_alone_is_at_chance(files):
    rng = np.random.default_rng(0)
    rows = {ask: [] for ask in Ask}
    for task, (_, moment) in zip(
        load_tasks(files / "tasks.jsonl")[::4], moments(files), strict=True
    ):
        clip = task.media[0]
        for ask in Ask:
            rows[ask] += [score(blind(clip, rng, ask), moment, ask) for _ in range(40)]
    share = {a: np.mean([w for w, _ in rows[a]]) for a in (Ask.WHAT, Ask.WHERE)}
    assert share[Ask.WHAT] == pytest.approx(1 / 8, abs=0.04)
    assert share[Ask.WHERE] == pytest.approx(1 / 4, abs=0.05)
    assert np.mean([o for _, o in rows[Ask.WHEN]]) < 0.35


def test_the_chance_that_is_told_is_that_of_guessing():
    """By drawing alone, without files: the words by count, the span by the rule of the world."""
    rng, count, found = np.random.default_rng(0), 4000, 0
    for number in range(count):
        moment = draw((6 << 32) + number, split="held_out")
        rows = [moment.row_at(t) for t in middles(Span(0.0, moment.seconds), GLANCE)]
        times = tuple(int(moment.ticks[r]) / 10 for r in rows)
        glance = Clip(tuple(Image(moment.frame(r)) for r in rows), times)
        spans = read_spans(blind(glance, rng, Ask.WHEN)).spans
        found += spans_iou(spans or (), [moment.span]) >= HALF
    assert found / count == pytest.approx(FOUND, abs=0.02)
    share = found / count
    assert worlds.get("moments").chance == pytest.approx(
        (1 / 8 + 1 / 4 + share + share / 8) / 4, abs=0.006
    )
    assert pytest.approx((1 / 8 + 1 / 4 + 1 / 8) / 3) == WORDS_CHANCE


def test_pixels_of_a_glance_hold_nothing_of_colour_or_place():
    """Equal scenes but for the flash's colour have equal frames outside the flash."""
    moment = draw(3)
    other = Moment(**{**vars_of(moment), "color": "blue" if moment.color != "blue" else "red"})
    for row in (0, moment.cue[0], moment.flash[1]):
        assert (moment.frame(row) == other.frame(row)).all()
    assert (moment.frame(moment.flash[0]) != other.frame(moment.flash[0])).any()


def vars_of(moment: Moment) -> dict[str, object]:
    return {k: v for k, v in vars(moment).items() if k != "_looks"}


def test_a_random_policy_knows_nothing(files):
    rng = np.random.default_rng(0)
    scores = [
        score(at_random(m.seconds, rng, Ask.BOTH), m, Ask.BOTH)
        for _, m in moments(files)
        for _ in range(40)
    ]
    words, overlaps = zip(*scores, strict=True)
    assert np.mean(words) == pytest.approx(1 / 8, abs=0.04)
    assert np.mean(overlaps) < 0.05


def test_a_window_elsewhere_shows_no_flash(files):
    for video, moment in moments(files)[:6]:
        clip = resampler(video)(Span(0.0, max(0.5, moment.ticks[moment.flash[0]] / 10)))
        rows = [moment.row_at(t) for t in clip.times_s]
        assert not any(moment.flash[0] <= r < moment.flash[1] for r in rows)


def test_lengths_that_hold_no_flash_are_refused(tmp_path):
    with pytest.raises(ValueError, match="at least 200"):
        draw(0, tenths=(50, 100))
    write_video(tmp_path / "v.mp4", draw(0, tenths=(200, 200)))
    assert Video.open(tmp_path / "v.mp4").duration_s == pytest.approx(20, abs=0.5)
