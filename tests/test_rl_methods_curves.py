"""The curves of a comparison: equal bytes, points where there are few steps, nothing stale."""

from __future__ import annotations

import json
import sys

import pytest
from typer.testing import CliRunner
from vtool.rl.methods import bench
from vtool.rl.methods.commands import app
from vtool.rl.methods.curves import SHORT, curves, points

from vtool.errors import MissingExtra


def row(method: str, steps: int, seed: int = 0, budget: int = 300, **more) -> dict:
    """A trial of some steps, as the results hold it."""
    curve = [{"tokens": 100 * (i + 1), "accuracy": (i + 1 + seed) / 40} for i in range(steps)]
    held_out = {"accuracy": 0.5, "calls": 1.0, "tokens": 30.0, "tools": {}, "kinds": {}}
    return {
        "key": f"zoom/{method}/{seed}/{budget}",
        "ground": "zoom",
        "method": method,
        "seed": seed,
        "budget": budget,
        "tokens": 100 * steps,
        "steps": steps,
        "episodes": 8 * steps,
        "turns": 9 * steps,
        "curve": curve,
        "held_out": held_out,
        "error": None,
        **more,
    }


def test_drawn_twice_is_equal_to_the_byte(tmp_path):
    rows = [row("otc", 20), row("gspo", 2)]
    one, two = (curves(rows, tmp_path / f"{n}.svg").read_bytes() for n in "ab")
    assert one == two
    assert b"<dc:date>" not in one
    assert b"clipPath id=" in one  # whose name is what would be drawn at random


@pytest.mark.parametrize(("steps", "marked"), [(1, 1), (2, 2), (SHORT, SHORT), (SHORT + 1, 0)])
def test_few_steps_are_points_and_many_a_line(tmp_path, steps, marked):
    from matplotlib import pyplot

    seen = []
    whole = pyplot.Figure.savefig

    def kept(figure, *args, **more):
        (line,) = figure.axes[0].lines
        seen.append((line.get_marker(), len(line.get_xdata()), figure.axes[0].get_xlim()[0]))
        whole(figure, *args, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pyplot.Figure, "savefig", kept)
        curves([row("otc", steps)], tmp_path / "c.svg")
    assert seen == [("o", marked, 0.0) if marked else ("None", 40, pytest.approx(-30))]


def test_points_are_means_over_seeds_of_steps_that_all_made():
    lines = [r["curve"] for r in (row("otc", 2), row("otc", 3, seed=2))]
    assert points(lines) == ([100.0, 200.0], [pytest.approx(2 / 40), pytest.approx(3 / 40)])


def test_what_no_longer_stands_for_these_rows_is_removed(tmp_path):
    def told(*rows):
        text = "".join(json.dumps(r) + "\n" for r in rows)
        (tmp_path / bench.RESULTS).write_text(text)
        return CliRunner().invoke(app, ["report", "--out", str(tmp_path)]).output

    def there():
        return sorted(p.name for p in tmp_path.glob("*.svg"))

    (tmp_path / "curves-of-mine.svg").touch()
    assert "curves.svg" in told(row("otc", 2))
    told(row("otc", 2), row("otc", 4, budget=600))
    assert there() == ["curves-300.svg", "curves-600.svg", "curves-of-mine.svg"]
    # Nothing was judged in training, or no step was made: nothing can be drawn, and nothing is.
    for curve in ([{"tokens": 9, "entropy": 1.0}], []):
        assert "curves" not in told(row("otc", 1, curve=curve))
        assert there() == ["curves-of-mine.svg"]


def written(out, *rows):
    (out / bench.RESULTS).write_text("".join(json.dumps(r) + "\n" for r in rows))


def test_curves_of_other_budgets_in_the_folder_stay(tmp_path, monkeypatch):
    old, new = row("otc", 2), row("gspo", 4, budget=600)

    def told(play):
        monkeypatch.setattr("vtool.rl.methods.commands.play", lambda *args, **more: play)
        found = CliRunner().invoke(app, ["methods", "--out", str(tmp_path)])
        assert found.exit_code == 0, found.output
        return found.output, {p.name: p.read_bytes() for p in tmp_path.glob("*.svg")}

    written(tmp_path, old)
    (first,) = told([old])[1].values()
    written(tmp_path, old, new)
    output, pictures = told([new])
    assert sorted(pictures) == ["curves-300.svg", "curves-600.svg"]
    assert pictures["curves-300.svg"] == first != pictures["curves-600.svg"]
    assert "curves-600.svg" in output
    assert "curves-300.svg" not in output
    # What is drawn already is not drawn again.
    (tmp_path / "curves-300.svg").write_bytes(b"kept")
    assert told([new])[1]["curves-300.svg"] == b"kept"


def test_tables_are_there_where_nothing_can_be_drawn(tmp_path, monkeypatch):
    written(tmp_path, row("otc", 2), row("otc", 4, budget=600))
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    found = CliRunner().invoke(app, ["report", "--out", str(tmp_path)])
    assert isinstance(found.exception, MissingExtra)
    assert found.output.count("| otc |") == 2
