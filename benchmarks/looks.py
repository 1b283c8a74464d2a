"""What is a look worth to a policy that begins to learn? Sampled, by ground and kind of question.

    OMP_NUM_THREADS=1 python benchmarks/looks.py [--grounds restless,idle,two]

Plays a ground's training questions from its first weights as training does (temperature 1, groups
of eight) and tells, by how many looks a question needs: how often an attempt looks, how often it is
right after a look and without one, and what the rewards of the claims on bonuses then give to a
look. That is the mean advantage (reward less the group's mean, over its deviation) of attempts that
looked, less that of attempts that did not, over groups with both: above 0, learning makes looks
more frequent. Intervals are bootstraps over questions.

Writes `results/looks.json` and `.md`; the rows of grounds that are not played again are kept.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import _timing
from vtool.rl.advantage import ESTIMATORS
from vtool.rl.assembly import make_judges, open_tasks, quiet_libraries, seed_everything
from vtool.rl.collect import Collected
from vtool.rl.methods.play import laid_out
from vtool.rl.methods.trial import START, Trial, recipe_of
from vtool.rl.trainer import Trainer

from vtool.intervals import bootstrap, mean, resampled
from vtool.record import Episode
from vtool.scoring import score_group
from vtool.task import Task
from vtool.worlds.world import worlds

METHODS = (
    "answer_only",
    "bonus_gated",
    "bonus_ungated",
    "deepeyes",
    "deepeyes_ungated",
    "priced",
    "priced_gated",
    "priced_ungated",
)
QUESTIONS = {"restless": 260, "idle": 130, "two": 200}
"""By ground; eight attempts at each."""
FEWEST = 10
"""Groups that must have attempts of both sorts."""
RESULT = Path(__file__).parent / "results" / "looks.json"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt at a question.

    Args:
        question: Its number.
        looked: Whether it called a tool.
        right: Whether the answer is right.
        advantage: By method; None where the whole group looked, or nobody did.
    """

    question: int
    looked: bool
    right: bool
    advantage: dict[str, float] | None


def sampled(ground: str, count: int, seed: int, out: Path) -> Collected:
    """Groups of attempts at the first questions of a ground, from its first weights."""
    quiet_libraries()
    recipe = laid_out(recipe_of(Trial(ground, START, seed, 0)), out)
    seed_everything(seed, recipe.threads)
    trainer = Trainer(recipe, out / "run")
    tasks = open_tasks(recipe.data, trainer.out)
    chosen = [tasks[i] for i in range(min(count, len(tasks)))]
    plain = dataclasses.replace(trainer.collector, learn=None)
    try:
        return asyncio.run(plain.collect(lambda n: chosen, len(chosen), key=(seed, 0)))
    finally:
        asyncio.run(trainer.close())


def advantages(ground: str, task: Task, episodes: Sequence[Episode]) -> dict[str, list[float]]:
    """What each method's reward gives the attempts of a group."""
    found = {}
    for method in METHODS:
        judges = make_judges(recipe_of(Trial(ground, method, 0, 1)))
        scores = score_group(episodes, task, judges.parts, judges.combine)
        totals = [float(s.total) for s in scores]  # nothing here is unscored: no judge is asked
        found[method] = ESTIMATORS[judges.estimator](totals).tolist()
    return found


def attempts(ground: str, found: Collected) -> dict[str, list[Attempt]]:
    """All attempts by what their questions need."""
    world = worlds.get(recipe_of(Trial(ground, START, 0, 0)).data.world)
    kinds: dict[str, list[Attempt]] = {}
    for number, (task, group) in enumerate(zip(found.tasks, found.groups, strict=True)):
        looked = [any(a.calls for a in e.actions()) for e in group.episodes]
        given = advantages(ground, task, group.episodes) if len(set(looked)) == 2 else None
        for i, episode in enumerate(group.episodes):
            mine = {m: a[i] for m, a in given.items()} if given else None
            attempt = Attempt(number, looked[i], world.right(task, episode), mine)
            kinds.setdefault(str(task.tags.get("zooms", "all")), []).append(attempt)
    return kinds


def share(rows: Sequence[Attempt], of: Callable[[Attempt], bool]) -> dict[str, Any]:
    """A share with its interval."""
    values = [float(of(r)) for r in rows]
    low, high = resampled(values, [r.question for r in rows]) if rows else (0.0, 1.0)
    return {"n": len(rows), "mean": mean(values), "low": low, "high": high}


def worth(rows: Sequence[Attempt], method: str) -> dict[str, Any]:
    """Advantage of a look less that of none, by question; nothing where few groups have both."""
    groups: dict[int, list[Attempt]] = {}
    for row in rows:
        if row.advantage is not None:
            groups.setdefault(row.question, []).append(row)
    gaps = [
        mean([r.advantage[method] for r in g if r.advantage and r.looked])
        - mean([r.advantage[method] for r in g if r.advantage and not r.looked])
        for g in groups.values()
    ]
    if len(gaps) < FEWEST:
        return {"n": 0}
    low, high = bootstrap(gaps, range(len(gaps)))
    return {"n": len(gaps), "mean": mean(gaps), "low": low, "high": high}


def measured(ground: str, count: int, seed: int) -> dict[str, Any]:
    """Everything that is told of a ground, by what its questions need."""
    with tempfile.TemporaryDirectory() as out:
        kinds = attempts(ground, sampled(ground, count, seed, Path(out)))
    return {
        kind: {
            "looks": share(rows, lambda r: r.looked),
            "right after a look": share([r for r in rows if r.looked], lambda r: r.right),
            "right without": share([r for r in rows if not r.looked], lambda r: r.right),
            "worth": {method: worth(rows, method) for method in METHODS},
        }
        for kind, rows in sorted(kinds.items())
    }


def told(cell: dict[str, Any], sign: str = "") -> str:
    """A mean with its interval; nothing where nothing was counted."""
    if not cell["n"]:
        return ""
    return f"{cell['mean']:{sign}.2f} ({cell['low']:{sign}.2f} to {cell['high']:{sign}.2f})"


def table(found: dict[str, Any]) -> str:
    """Markdown: what looks come to, and what they are worth."""
    counts = ["looks", "right after a look", "right without"]
    heads = ["ground", "looks needed"]
    first, second = [[*heads, "attempts", "that look", *counts[1:]]], [[*heads, *METHODS]]
    for ground, kinds in found.items():
        for kind, row in kinds.items():
            mine = [ground, kind]
            first.append([*mine, str(row["looks"]["n"]), *(told(row[k]) for k in counts)])
            second.append([*mine, *(told(row["worth"][m], "+") for m in METHODS)])
    title = "Advantage of a look less that of none, by reward:"
    return f"{markdown(first)}\n\n{title}\n\n{markdown(second)}"


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """A table, its heads first."""
    lines = [f"| {' | '.join(cells)} |" for cells in rows]
    return "\n".join([lines[0], "|---" * len(rows[0]) + "|", *lines[1:]])


def main() -> int:
    """Sample, tell, write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--grounds", default=",".join(QUESTIONS))
    parser.add_argument("--questions", type=int, help="of a ground")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    found = json.loads(RESULT.read_text())["found"] if RESULT.is_file() else {}
    for ground in args.grounds.split(","):
        count = args.questions or QUESTIONS.get(ground, 200)
        found[ground] = measured(ground, count, args.seed)
        print(table({ground: found[ground]}), flush=True)
    _timing.write("looks", {"benchmark": "looks", "found": found})
    head = "# What a look is worth to a start\n\nWritten by `python benchmarks/looks.py`; see "
    head += "`docs/worlds/methods.md`.\n\n"
    RESULT.with_suffix(".md").write_text(f"{head}{table(found)}\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
