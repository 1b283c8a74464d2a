"""Curves and the page of a run."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PILImage
from sample_episode import zoom_episode, zoom_task
from vtool.demos.curves import draw_curves, read_metrics
from vtool.demos.run_report import choose, run_page
from vtool.demos.studio.plot import lines_of, plot

from vtool.errors import TraceError
from vtool.trace import TraceRecord, write_trace


def records(right: dict[int, bool]) -> dict[str, TraceRecord]:
    out = {}
    for seed, good in right.items():
        task = zoom_task(seed)
        episode = zoom_episode(task, answer=None if good else "no")
        meta = {"attempt": 0, "tags": {}, "reference": {"texts": list(task.reference.texts)}}
        out[task.id] = TraceRecord(episode, None, meta)
    return out


def test_what_was_learnt_is_shown_first_and_every_fate_once():
    old = records({1: False, 2: False, 3: False, 4: True, 5: True, 6: True})
    new = records({1: True, 2: True, 3: False, 4: True, 5: False, 6: True})
    assert choose(old, new, 5)[:2] == ["zoom-1", "zoom-2"]
    assert sorted(choose(old, new, 5)) == ["zoom-1", "zoom-2", "zoom-3", "zoom-4", "zoom-5"]
    assert len(choose(old, new, 3)) == 3


def test_page_holds_figures_curves_and_both_times(tmp_path: Path):
    write_trace(tmp_path / "a", records({1: False}).values())
    write_trace(tmp_path / "b", records({1: True}).values())
    curves = draw_curves(
        [{"step": 1, "accuracy": 0.2}, {"step": 2, "accuracy": 0.4}], tmp_path / "c.png"
    )
    rows = [("", "accuracy"), ("before", "0.2"), ("after", "0.4")]
    page = run_page("t", "l", rows, curves=curves, before=tmp_path / "a", after=tmp_path / "b")
    assert page.index("Before training") < page.index("After training")
    assert page.count('class="ep wrong tool"') == page.count('class="ep right tool"') == 1
    assert '<img src="data:image/png;base64,' in page
    assert "<td>0.4</td>" in page


def test_curves_are_drawn_from_what_there_is(tmp_path):
    metrics = [{"step": i, "accuracy": i / 5, "entropy": None, "tool_rate": True} for i in range(5)]
    path = draw_curves(metrics, tmp_path / "c.png", marks={"held out": (0.2, 0.9)})
    assert PILImage.open(path).size[0] > 1000
    draw_curves([], tmp_path / "empty.png")


@pytest.mark.parametrize("steps", [1, 2, 20])
def test_a_run_of_one_step_shows_its_point(tmp_path, steps):
    """More ink than axes alone have, in the colour of the first line."""
    metrics = [{"step": i + 1, "entropy": 0.5} for i in range(steps)]
    shown = np.asarray(PILImage.open(draw_curves(metrics, tmp_path / "c.png")).convert("RGB"))
    ink = np.abs(shown.astype(int) - [0x35, 0x57, 0xC4]).sum(2) < 30
    assert ink.sum() > 20
    words = plot("entropy", lines_of(metrics, [("entropy", "entropy")]))
    assert str(words).count("<circle") == (steps if steps < 3 else 0)


def test_metrics_that_were_cut_off_are_read_up_to_there(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text(json.dumps({"step": 1}) + "\n" + '{"step": 2')
    assert read_metrics(path) == [{"step": 1}]
    with pytest.raises(TraceError, match="cannot read"):
        read_metrics(tmp_path / "none")
