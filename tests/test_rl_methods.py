"""Methods side by side: what a trial is, that it costs what it may, what the seeds then say."""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from small_ground import GROUND
from typer.testing import CliRunner
from vtool.rl.collect import TooManyFailures
from vtool.rl.methods import bench
from vtool.rl.methods.claim import MARGIN, Expected, Verdict, Wish, accuracy, findings, found
from vtool.rl.methods.claims import CLAIMS
from vtool.rl.methods.commands import app
from vtool.rl.methods.curves import curves
from vtool.rl.methods.play import accuracy_of_all, laid_out, play_trial, summary
from vtool.rl.methods.report import (
    by_budget,
    claims_json,
    claims_table,
    pairs_table,
    table,
    tools_table,
)
from vtool.rl.methods.trial import (
    OF_LEARNER,
    OF_METHOD,
    Trial,
    ground_names,
    ground_of,
    method_names,
    method_of,
    recipe_of,
    trials,
)
from vtool.rl.tiny.joint_measure import summary as joint_summary
from vtool.rl.trainer import Trainer

from vtool.data import load_tasks
from vtool.errors import RecipeError
from vtool.record import StopReason
from vtool.trace import read_trace
from vtool.worlds.player import play_world
from vtool.worlds.world import worlds


@pytest.fixture
def small(tmp_path):
    path = tmp_path / "small.yaml"
    path.write_text(GROUND)
    return str(path)


def test_the_start_is_played_once_a_ground_and_seeds_come_one_after_the_other():
    found = trials(["zoom", "two"], ["start", "otc", "gspo"], [0, 1], 100)
    assert [t.key for t in found[:2]] == ["zoom/start/0/0", "two/start/0/0"]
    assert [t.seed for t in found[2:]] == [0] * 4 + [1] * 4
    assert len({t.key for t in found}) == len(found) == 10


@pytest.mark.parametrize("method", [m for m in method_names() if m != "start"])
def test_every_method_is_a_recipe_on_a_ground(method):
    found = recipe_of(Trial("zoom", method, 3, 10))
    ground, own = ground_of("zoom"), method_of(method)
    for key in OF_METHOD:
        assert getattr(found, key) == getattr(own, key)
    for key in OF_LEARNER:
        assert getattr(found.learner, key) == getattr(own.learner, key)
    for key in ("model", "data", "tools", "prompts", "group_size", "limits", "sampling", "steps"):
        assert getattr(found, key) == getattr(ground, key)
    assert (found.seed, found.learner.lr) == (3, ground.learner.lr)


def test_recipes_that_do_not_learn_by_reinforcement_are_no_methods():
    assert "tiny-warmstart" not in method_names()
    with pytest.raises(RecipeError, match="is of kind tiny"):
        method_of("tiny-warmstart")


@pytest.mark.parametrize("ground", ground_names())
def test_grounds_stand_on_worlds_and_measure_on_what_was_held_out(ground):
    recipe = ground_of(ground)
    assert recipe.eval.data.options["split"] == "held_out"
    assert recipe.data.world == recipe.eval.data.world
    assert worlds.get(recipe.data.world)
    assert recipe.prompts * recipe.group_size == 64


@pytest.mark.parametrize(
    ("ground", "method", "told"),
    [
        ("zom", "otc", "did you mean 'zoom'"),
        ("zoom", "otcc", "did you mean 'otc'"),
        ("zoom", "answer_only:ablated", "names no ablation"),
    ],
)
def test_names_that_nothing_has(ground, method, told):
    with pytest.raises(RecipeError, match=told):
        recipe_of(Trial(ground, method, 0, 1))


def test_ablated_is_the_method_without_what_it_is_named_after():
    whole, without = (recipe_of(Trial("two", m, 0, 1)) for m in ("matchtir", "matchtir:ablated"))
    assert whole.credit != without.credit
    assert replace(without, credit=whole.credit) == whole


def test_a_trial_ends_with_its_tokens(small, tmp_path):
    row = play_trial(Trial(small, "answer_only", 0, 700), tmp_path)
    assert row.error is None
    assert row.tokens >= 700 > row.curve[-2]["tokens"]
    assert row.curve[-1]["tokens"] == row.tokens
    assert len(row.curve) == row.steps
    assert row.episodes == 8 * row.steps
    assert row.turns >= row.episodes
    assert row.held_out["n"] == 8
    assert row.held_out["right"].count("1") == round(8 * row.held_out["accuracy"])
    assert sum(k["n"] for k in row.held_out["kinds"].values()) == 8


def test_equal_trials_give_equal_rows_and_the_start_learns_nothing(small, tmp_path):
    one, two = (play_trial(Trial(small, "rescue", 1, 300), tmp_path) for _ in range(2))
    assert replace(one, seconds=0) == replace(two, seconds=0)
    start = play_trial(Trial(small, "start", 0, 0), tmp_path)
    assert (start.steps, start.tokens, list(start.curve)) == (0, 0, [])


def test_turns_that_attempts_share_count_once(small, tmp_path):
    flat = play_trial(Trial(small, "tree:ablated", 0, 400), tmp_path)
    assert flat.turns >= flat.episodes
    path = tmp_path / "eight.yaml"
    path.write_text(GROUND.replace("group_size: 4", "group_size: 8").replace("small", "eight"))
    tree = play_trial(Trial(str(path), "tree", 0, 400), tmp_path)
    told = [c["calls"] * 16 + 16 for c in tree.curve]  # as if nobody shared anything
    assert tree.error is None
    assert tree.turns < sum(told)


def test_curves_count_attempts_that_a_filter_refuses(small, tmp_path):
    """Four attempts of a question, all right or all wrong, are what the filter leaves out."""
    path = tmp_path / "filtered.yaml"
    path.write_text("extends: dapo\nname: filtered\nrefill: 2\n")
    recipe = laid_out(recipe_of(Trial(small, str(path), 1, 8)), tmp_path)
    trainer = Trainer(recipe, tmp_path / "worlds")
    metrics, collected = asyncio.run(trainer.step())
    asyncio.run(trainer.close())
    marks = [s.parts["answer"] for s in collected.judged]
    assert collected.refused > 0
    assert len(marks) == 4 * collected.played > metrics["episodes"]
    assert accuracy_of_all(collected) == {"accuracy": sum(marks) / len(marks)}
    assert accuracy_of_all(collected)["accuracy"] != metrics["accuracy"]


def test_a_method_that_does_not_fit_is_a_row_that_says_why(small, tmp_path):
    row = play_trial(Trial(small, "matchtir", 0, 100), tmp_path)
    assert row.error is not None
    assert "call_match" in row.error
    assert not row.held_out


def test_demonstrations_are_the_best_policys_and_right(small, tmp_path):
    row = play_trial(Trial(small, "demonstrations", 0, 1), tmp_path)
    assert row.error is None
    (folder,) = (tmp_path / "worlds").glob("demonstrations-*")
    kept = list(read_trace(folder))
    assert len(kept) == 16
    assert all(r.episode.answer for r in kept)


def test_what_is_known_from_elsewhere_is_not_played(small, tmp_path):
    wanted, told = trials([small], ["answer_only"], [0], 200), []
    known = [{"key": t.key, "error": None, "mine": True} for t in wanted[1:]]
    rows = bench.run(
        wanted, tmp_path, known=known, processes=1, tell=lambda n, of, row: told.append(row["key"])
    )
    assert told == [wanted[0].key]
    assert rows[1] is known[0]
    # What lies in the folder is of now, and believed before what is known.
    newer = [{**known[0], "mine": False}, {"key": wanted[0].key, "error": None}]
    assert bench.run(wanted, tmp_path, known=newer, processes=1)[0] == rows[0]


def row(method: str, seed: int, right: float, ground: str = "zoom", **more: float) -> dict:
    held = {
        "accuracy": right,
        "calls": 1.0,
        "tokens": 30.0,
        "tools": {"zoom": 1.0},
        "kinds": {"0": {"calls": 0.0}, "1": {"calls": 1.0}},
    }
    curve = [{"tokens": t, "accuracy": right * t / 300} for t in (100, 200, 300)]
    body = {"key": f"{ground}/{method}/{seed}", "ground": ground, "method": method, "seed": seed}
    body |= {"budget": 300, "tokens": 300}
    return {
        **body,
        "error": None,
        "steps": 3,
        "episodes": 24,
        "turns": 40,
        "curve": curve,
        "held_out": {**held, **more},
    }


def claim():
    return next(c for c in CLAIMS if c.name == "difficulty weight")


@pytest.mark.parametrize(
    ("gaps", "verdict", "p"),
    [
        ([0.1] * 6, Verdict.SHOWN, 2 / 64),
        ([-0.1] * 6, Verdict.REFUTED, 2 / 64),
        ([0.1] * 5, Verdict.OPEN, 2 / 32),
        ([0.1, -0.1, 0.1, -0.1, 0.1, -0.1], Verdict.OPEN, 1.0),
    ],
)
def test_seeds_are_what_is_counted(gaps, verdict, p):
    rows = [row("answer_only", s, 0.5) for s in range(len(gaps))]
    rows += [row("dgrpo_after", s, 0.5 + g) for s, g in enumerate(gaps)]
    (found,) = findings(claim(), rows)
    assert (found.verdict, found.seeds) == (verdict, len(gaps))
    assert found.p == pytest.approx(p)
    assert found.first - found.second == pytest.approx(sum(gaps) / len(gaps))


def test_only_seeds_that_both_were_played_from_count():
    rows = [row("answer_only", s, 0.5) for s in (0, 1)] + [row("dgrpo_after", 1, 0.6)]
    rows.append({**row("dgrpo_after", 0, 0.9), "error": "did not fit"})
    (found,) = findings(claim(), rows)
    assert found.seeds == 1
    assert found.verdict is Verdict.OPEN


def test_a_claim_may_hold_two_starts_against_each_other():
    across = next(c for c in CLAIMS if c.beside)
    assert {(t.ground, t.method) for t in across.trials([0], 10)} == set(across.sides)
    (here, first), (there, second) = across.sides
    rows = [{**row(first, s, 0.9), "ground": here} for s in range(6)]
    rows += [{**row(second, s, 0.5), "ground": here} for s in range(6)]
    rows += [{**row(second, s, 0.89), "ground": there} for s in range(6)]
    (found,) = findings(across, rows)
    assert found.second == pytest.approx(0.89)
    assert found.verdict is Verdict.SHOWN
    assert f"| {here}, {there} |" in claims_table(rows, [across])


@pytest.mark.parametrize(
    ("gaps", "verdict"),
    [
        ([-0.02] * 6, Verdict.SHOWN),
        ([-0.02] * 5, Verdict.OPEN),  # two seeds are no proof either, however alike
        ([-0.035, -0.04, -0.01, -0.01, 0.08, -0.005], Verdict.OPEN),  # one lucky seed
        ([-0.03, -0.165, -0.145, -0.01, -0.06, -0.105], Verdict.OPEN),  # less, but by how much?
        ([-0.1] * 6, Verdict.REFUTED),
    ],
)
def test_no_less_is_tested_against_its_margin(gaps, verdict):
    pairs = [(row("a", s, 0.5 + g), row("b", s, 0.5)) for s, g in enumerate(gaps)]
    told = found(claim(), Wish(accuracy, Expected.NO_LESS), pairs)
    assert told.verdict is verdict
    # The interval says what the test says.
    outside = not told.low <= -MARGIN <= told.high
    assert outside is (verdict is not Verdict.OPEN)


def test_every_claim_names_what_can_be_played():
    for c in CLAIMS:
        for t in c.trials([0], 10):
            recipe_of(t)
        assert c.wishes
        assert all(isinstance(w, Wish) for w in c.wishes)
    assert accuracy(row("x", 0, 0.25)) == 0.25


def test_report_tells_tables_claims_and_curves(tmp_path):
    rows = [row("answer_only", s, 0.5) for s in range(3)]
    rows += [row("dgrpo_after", s, 0.7) for s in range(3)]
    rows.append({**row("matchtir", 0, 0.0), "error": "needs wanted calls", "curve": []})
    text = table(rows)
    assert text.index("dgrpo_after") < text.index("answer_only")
    assert "| dgrpo_after | 3 | 0.700 | 0.000 | 1.00 | 30 | 300 | 3 | 24 | 40 |" in text
    assert "* matchtir: needs wanted calls" in text
    assert "+0.200" in claims_table(rows)
    assert "| zoom | answer_only | 0.500 | 1.00 |" in tools_table(rows)
    drawn = curves(rows, tmp_path / "c.svg").read_text()
    assert drawn.count("<svg") == 1
    assert len(drawn) > 4000


def test_who_runs_out_of_steps_before_tokens_is_told():
    rows = [row("otc", 0, 0.5), row("otc", 1, 0.5) | {"tokens": 120}, row("gspo", 0, 0.5)]
    text = table(rows)
    assert "* otc: the ground's 3 steps ended at 120 of 300 tokens" in text
    assert "gspo: the ground" not in text


def test_attempts_that_failed_by_our_fault_are_no_wrong_answers(small, tmp_path):
    recipe = laid_out(recipe_of(Trial(small, "start", 0, 0)), tmp_path)
    world = worlds.get("zoom")
    tasks = list(load_tasks(Path(recipe.data.path) / "tasks.jsonl"))[:2]
    rows = [(p.task, p.episode) for p in play_world(world, tasks, world.best)]
    assert summary(world, rows)["n"] == 2
    rows[1] = (rows[1][0], replace(rows[1][1], stop=StopReason.FAILED, error="a broken tool"))
    with pytest.raises(TooManyFailures, match=r"1 of 2 .* a broken tool"):
        summary(world, rows)
    with pytest.raises(RuntimeError, match="a broken tool"):
        joint_summary("zoom", rows)


def test_other_budgets_are_no_further_seeds(tmp_path):
    rows = [row("start", 0, 0.4) | {"budget": 0, "curve": []}]
    rows += [row("otc", 0, 0.5), {**row("otc", 0, 0.9), "budget": 600, "key": "b"}]
    found = by_budget(rows)
    assert [[r["held_out"]["accuracy"] for r in mine] for mine in found.values()] == [
        [0.4, 0.5],
        [0.4, 0.9],
    ]
    (tmp_path / bench.RESULTS).write_text("".join(json.dumps(r) + "\n" for r in rows))
    told = CliRunner().invoke(app, ["report", "--out", str(tmp_path)]).output
    assert "## 300 sampled tokens" in told
    assert "| otc | 1 | 0.900 |" in told
    assert (tmp_path / "curves-600.svg").is_file()


def test_any_two_methods_are_tested_by_seed():
    rows = [row("mine", s, 0.5) for s in range(6)] + [row("start", 0, 0.1)]
    rows += [row("other", s, 0.6 + s / 100) for s in range(6)]
    rows += [row("alone", 7, 0.9)]
    text = pairs_table(rows)
    assert "| zoom | other | mine | +0.125 (" in text
    assert "| 0.031 | 6 |" in text
    assert "alone" not in text
    assert "start" not in text
    assert pairs_table(rows[:6]) == ""


def test_commands(tmp_path):
    run = CliRunner()
    (tmp_path / bench.RESULTS).write_text(json.dumps(row("answer_only", 0, 0.5)) + "\n")
    told = run.invoke(app, ["report", "--out", str(tmp_path)])
    assert told.exit_code == 0, told.output
    assert "| answer_only | 1 | 0.500 |" in told.output
    assert "claim" not in told.output  # of one side of a claim nothing can be said
    assert (tmp_path / "curves.svg").is_file()
    for words, said in (
        (["report", "--out", str(tmp_path / "none")], "holds no results"),
        (["methods", "--seeds", "a", "--out", str(tmp_path)], "expected seeds"),
        (["methods", "--seeds", "", "--out", str(tmp_path)], "expected seeds"),
        (["methods", "--grounds", ",", "--out", str(tmp_path)], "at least one ground"),
        (["methods", "--methods", " ", "--out", str(tmp_path)], "at least one method"),
        (["methods", "--grounds", "zom", "--out", str(tmp_path)], "did you mean 'zoom'"),
        (["claims", "nonsense", "--out", str(tmp_path)], "no claim 'nonsense'"),
    ):
        found = run.invoke(app, words)
        assert found.exit_code != 0
        assert said in str(found.exception)


def test_report_is_json_too(tmp_path):
    (tmp_path / bench.RESULTS).write_text(json.dumps(row("otc", 0, 0.5)) + "\n")
    told = CliRunner().invoke(app, ["report", "--out", str(tmp_path), "--json"])
    assert json.loads(told.output)["rows"][0]["method"] == "otc"
    assert Path(tmp_path / "curves.svg").is_file() is False


PAGE = Path(__file__).parent.parent / "docs" / "worlds" / "methods.md"


def test_what_the_page_shows_can_be_played(tmp_path):
    """The method and the ground of the page go together, and differ as it says."""
    shown = re.findall(r"```yaml\n# (\w+\.yaml).*?\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert [name for name, _ in shown] == ["patient.yaml", "pages.yaml"]
    for name, text in shown:
        (tmp_path / name).write_text(text)
    patient, pages = (str(tmp_path / name) for name, _ in shown)
    recipe = recipe_of(Trial(pages, patient, 0, 10))
    assert (recipe.estimator, recipe.data.world, recipe.model) == ("rloo", "page", "tiny/joint")
    assert recipe.learner.loss.clip_high == 0.4


def test_the_worth_of_a_look_is_told_where_groups_have_both(monkeypatch):
    monkeypatch.syspath_prepend(str(PAGE.parents[2] / "benchmarks"))
    import looks

    def group(question: int) -> list[looks.Attempt]:
        """Two looked, and got 1 and 0 above the mean; two did not, and got -1 and 0."""
        given = [(True, 1.0), (True, 0.0), (False, -1.0), (False, 0.0)]
        return [looks.Attempt(question, look, True, {"otc": a}) for look, a in given]

    alike = [looks.Attempt(99, True, False, None)] * 4  # all looked: nothing can be told
    rows = [row for question in range(looks.FEWEST) for row in group(question)] + alike
    assert looks.worth(rows, "otc") == {"n": looks.FEWEST, "mean": 1.0, "low": 1.0, "high": 1.0}
    assert looks.worth(rows[4:], "otc") == {"n": 0}
    assert looks.told({"n": 0}) == ""


def test_the_page_tells_what_was_measured(monkeypatch):
    """Tables of the page are those of the committed rows, and the rows are whole."""
    monkeypatch.syspath_prepend(str(PAGE.parents[2] / "benchmarks"))
    import methods

    rows = bench.read_results(methods.KEPT)
    assert {r["key"] for r in rows} == {t.key for t in methods.plan()}
    assert all(r["tokens"] >= r["budget"] for r in rows if r["error"] is None)
    assert methods.fill(PAGE.read_text(), methods.parts(rows)) == PAGE.read_text()


def test_what_calls_cost_is_told_where_the_world_has_a_price():
    rows = [row("answer_only", 0, 0.9, net=0.7), row("otc", 0, 0.8, net=0.75)]
    told = "* accuracy less what calls cost in this world: otc 0.750, answer_only 0.700"
    assert told in table(rows)
    assert "cost" not in table([row("otc", s, 0.8, net=0.8) for s in (0, 1)])


def test_findings_are_told_as_plain_values_too():
    c = claim()
    rows = [
        row(m, s, 0.9 - 0.1 * i, c.ground)
        for i, m in enumerate((c.first, c.second))
        for s in range(6)
    ]
    (found_one,) = (f for f in claims_json(rows) if f["claim"] == c.name)
    assert (found_one["verdict"], found_one["seeds"], found_one["p"]) == ("shown", 6, 2 / 64)
    assert found_one["interval"] == pytest.approx([0.1, 0.1])
    assert claims_json(rows[:1]) == []
    (two,) = claims_json([r for r in rows if r["seed"] < 2])
    assert two["interval"] is None
    json.dumps(claims_json(rows), allow_nan=False)
