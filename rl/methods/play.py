"""Play one trial: learn until the tokens are spent, then measure on held-out questions."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vtool.errors import VToolError
from vtool.record import Episode
from vtool.statistics import count_episode
from vtool.task import Task
from vtool.worlds.world import World, worlds

from ..assembly import open_tasks, quiet_libraries, seed_everything
from ..collect import Collected, TooManyFailures
from ..group_filter import FilterSpec
from ..learner import LearnerStopped
from ..recipe import Recipe
from ..rollout_sampler import Flat
from ..tool_names import in_evaluation
from ..trainer import Trainer
from .demonstrations import with_demonstrations
from .questions import filed, questions_of
from .setups import setup_of
from .trial import START, Trial, files_digest, name_of, recipe_of

CURVE = ("accuracy", "reward/total", "tool_rate", "calls", "entropy", "dead_groups", "replayed")
"""What is kept of a step."""


@dataclass(frozen=True, slots=True)
class Row:
    """What came of a trial; one line of the results.

    Args:
        key: Of the trial.
        ground: Where.
        method: What.
        seed: Of training.
        tokens: Sampled tokens that training took, refused groups and lost branches counted.
        budget: That it was to take.
        steps: Optimisation steps.
        episodes: Attempts that were learnt from: those of refused groups are left out.
        played: Attempts that were played, refused groups among them; stored ones are none.
        turns: Completions that were sampled; a turn that attempts share counts once.
        seconds: Of training, on whatever else the machine did.
        curve: For each step the tokens so far and the numbers in `CURVE`.
        held_out: See `measure`.
        error: Why there are no numbers: the method and the ground do not go together.
        files: Hash of what recipe files of yours said; empty where ground and method are shipped.
        questions: Hash of what was asked, in training and held out.
        setup: Hash of the recipe that ground and method came to, and of the start's weights.
    """

    key: str
    ground: str
    method: str
    seed: int
    budget: int
    tokens: int = 0
    steps: int = 0
    episodes: int = 0
    played: int = 0
    turns: int = 0
    seconds: float = 0.0
    curve: Sequence[Mapping[str, float]] = ()
    held_out: Mapping[str, Any] = field(default_factory=dict)
    error: str | None = None
    files: str = ""
    questions: str = ""
    setup: str = ""


def play_trial(trial: Trial, out: Path) -> Row:
    """Learn and measure.

    Args:
        trial: What to play.
        out: Folder of the comparison; worlds are written to `out/worlds` once.

    A method that cannot be played here, or whose learning breaks down, is a row with `error`; a
    fault of ours is raised.
    """
    quiet_libraries()
    row = Row(trial.key, name_of(trial.ground), name_of(trial.method), trial.seed, trial.tokens)
    try:
        row = dataclasses.replace(row, files=files_digest(trial))
        plain = recipe_of(trial)
        row = dataclasses.replace(row, setup=setup_of(plain))
        recipe = laid_out(plain, out)
        row = dataclasses.replace(row, questions=questions_of(recipe))
        seed_everything(recipe.seed, recipe.threads)
        trainer = Trainer(recipe, out / "worlds")
        try:
            return learnt(trainer, trial, row)
        finally:
            asyncio.run(trainer.close())
    except (VToolError, LearnerStopped) as err:
        return dataclasses.replace(row, error=f"{type(err).__name__}: {err}")


def learnt(trainer: Trainer, trial: Trial, row: Row) -> Row:
    """The row of a trial that can be played."""
    began, curve, episodes, played = time.monotonic(), [], 0, 0
    steps = 0 if trial.method == START else trainer.recipe.steps
    tokens = 0
    while trainer.step_number < steps and tokens < trial.tokens:
        metrics, collected = asyncio.run(trainer.step())
        tokens = trainer.engine.counters.decoded_tokens
        episodes += int(metrics["episodes"])
        played += len(collected.judged)
        told = {**metrics, **accuracy_of_all(collected)}
        kept = {k: round(float(told[k]), 5) for k in CURVE if k in told}
        curve.append({"tokens": tokens, **kept})
    spent, turns = time.monotonic() - began, trainer.engine.counters.rows
    return dataclasses.replace(
        row,
        tokens=tokens,
        steps=trainer.step_number,
        episodes=episodes,
        played=played,
        turns=turns,
        seconds=round(spent, 2),
        curve=curve,
        held_out=measure(trainer),
    )


def accuracy_of_all(collected: Collected) -> dict[str, float]:
    """Accuracy over every fresh attempt of a step, where answers are judged.

    A step's own number is that of the groups that are learnt from. Where a filter refuses groups
    that are all right or all wrong it lies near one half whatever the policy can do, and a stored
    success in the place of an attempt counts as the policy's.
    """
    outcome = collected.judges.outcome if collected.judges is not None else ""
    marks = [s.parts.get(outcome) for s in collected.judged]
    numbers = [float(m) for m in marks if isinstance(m, int | float)]
    return {"accuracy": sum(numbers) / len(numbers)} if numbers else {}


def laid_out(recipe: Recipe, out: Path) -> Recipe:
    """The recipe with its worlds as files that all trials share."""
    found = dataclasses.replace(
        recipe,
        data=filed(recipe.data, out),
        eval=dataclasses.replace(recipe.eval, data=filed(recipe.eval.data, out)),
    )
    return with_demonstrations(found, out)


def measure(trainer: Trainer) -> dict[str, Any]:
    """Greedy play of the ground's held-out questions, scored as the world scores.

    Returns:
        `right` (a string of 0 and 1, in the order of the questions), `kinds` (the share right and
        calls by what the questions need), means of calls and sampled tokens, and by tool how
        often it is called a question.
    """
    spec = trainer.recipe.eval
    world = worlds.get(spec.data.world)
    tasks = open_tasks(spec.data, trainer.out, "eval-data")
    rows = [tasks[i] for i in range(min(spec.count, len(tasks)))]
    chosen = in_evaluation(rows, spec.tool_names)
    collector = trainer.collector
    seat = collector.seats["policy"]
    greedy = dataclasses.replace(seat.sampling, temperature=0.0)
    alone = dataclasses.replace(
        collector,
        seats={"policy": dataclasses.replace(seat, sampling=greedy)},
        group_size=1,
        sampler=Flat(),
        filter=FilterSpec(),
        rescue=None,
        learn=None,
    )
    found = asyncio.run(alone.collect(lambda n: chosen, len(chosen), key=(0,)))
    return summary(world, rows_of(found))


def rows_of(found: Collected) -> list[tuple[Task, Episode]]:
    """Questions with their attempts."""
    return [(t, g.episodes[0]) for t, g in zip(found.tasks, found.groups, strict=True)]


def summary(world: World, rows: Sequence[tuple[Task, Episode]]) -> dict[str, Any]:
    """See `measure`.

    Raises:
        TooManyFailures: An attempt ended by our fault: that is no wrong answer.
    """
    failed = [e for _, e in rows if e.stop.ours]
    if failed:
        raise TooManyFailures(
            f"{len(failed)} of {len(rows)} held-out attempts failed by our fault; the first: "
            f"{failed[0].error or failed[0].stop}"
        )
    right = [world.right(task, episode) for task, episode in rows]
    counts = [count_episode(e) for _, e in rows]
    called = Counter(o.bound.tool for _, e in rows for o in e.outcomes() if o.bound is not None)
    calls = [c.calls for c in counts]
    return {
        "n": len(rows),
        "accuracy": sum(right) / len(rows),
        "net": sum(right) / len(rows) - world.price * sum(calls) / len(rows),
        "calls": sum(calls) / len(rows),
        "tokens": sum(c.policy_tokens for c in counts) / len(rows),
        "tools": {k: n / len(rows) for k, n in sorted(called.items())},
        "kinds": by_kind(rows, right, calls),
        "right": "".join("01"[r] for r in right),
        "asked": calls,
    }


def by_kind(
    rows: Sequence[tuple[Task, Episode]], right: Sequence[bool], calls: Sequence[int]
) -> dict[str, dict[str, float]]:
    """Share right and calls by how many looks a question needs."""
    kinds: dict[str, list[int]] = {}
    for i, (task, _) in enumerate(rows):
        kinds.setdefault(str(task.tags.get("zooms", "all")), []).append(i)
    return {
        kind: {
            "n": len(at),
            "accuracy": sum(right[i] for i in at) / len(at),
            "calls": sum(calls[i] for i in at) / len(at),
        }
        for kind, at in sorted(kinds.items())
    }
