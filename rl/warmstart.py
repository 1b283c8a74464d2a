"""Warm start: learn a teacher's turns by plain likelihood, on the same batches as RL.

Transcripts come from a trace: a stronger model's, a script's, a person's edits, or the policy's
own best attempts. They are encoded by the renderer of the policy that learns, so the teacher may
have written in another dialect, with other tokens, or with none at all.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from vtool.errors import DataError
from vtool.families.base import Family
from vtool.message import Author
from vtool.record import Context, Episode
from vtool.render import Renderer
from vtool.reward import Unscored
from vtool.task import Task
from vtool.toolbox import Toolbox
from vtool.toolspec import ToolSpec
from vtool.trace import TraceRecord, read_trace
from vtool.workspace import check_runtime

from .assembly import model_folder, seed_everything
from .batch import Sample, make_sample
from .collect import Collected
from .learner import Learner
from .memory import Memory
from .policy import Policy
from .recipe import Recipe
from .sampler import Sampler
from .weights import open_renderer, open_vlm

SPEAKERS = (Author.POLICY, Author.TEACHER)


def encode_context(context: Context, renderer: Renderer, specs: Sequence[ToolSpec] = ()) -> Context:
    """A transcript as tokens of the policy that shall learn it; its turns become a teacher's.

    Segments that a fork shares with its parent stay shared: they are learnt from there.
    """
    segments = renderer.encode(context.messages(), specs, context.store)
    own = [s.turn for s in context.segments[context.shared :] if s.author in SPEAKERS]
    first = min(own, default=0)
    # The opening of the first own turn belongs to the parent as well: all before its words.
    taught = [i for i, s in enumerate(segments) if s.author is Author.TEACHER]
    begin = next((i for i in taught if segments[i].turn >= first), len(segments))
    prefix = segments[:begin] if context.shared else ()
    out = Context(context.number, context.seat, context.store, context.edge, prefix)
    for segment in segments[len(prefix) :]:
        out.append(segment)
    return out


def teacher_samples(
    episodes: Iterable[Episode],
    renderer: Renderer,
    family: Family,
    specs: Sequence[ToolSpec] = (),
    seat: str = "policy",
) -> list[Sample]:
    """Samples whose targets are the assistant turns of a seat.

    Contexts in which nobody speaks are left out.
    """
    contexts = [
        encode_context(c, renderer, specs) for e in episodes for c in e.contexts if c.seat == seat
    ]
    samples = [make_sample(c, renderer, family, authors=(Author.TEACHER,)) for c in contexts]
    return [s for s in samples if s.target.any()]


def good_episodes(records: Iterable[TraceRecord], least: float | None) -> list[Episode]:
    """Episodes that ended by the policy's doing and, where asked, scored at least so much."""
    return [
        r.episode
        for r in records
        if not r.episode.stop.ours and (least is None or _total(r) >= least)
    ]


def _total(record: TraceRecord) -> float:
    total = None if record.score is None else record.score.total
    return float("-inf") if total is None or isinstance(total, Unscored) else float(total)


class Imitator:
    """A policy that learns from the episodes of a trace.

    Args:
        recipe: The run; `trace` names the episodes, `prompts` how many contexts make a step.
        out: Where its files go.
        model: Folder of the first weights; the recipe's by default.

    Raises:
        DataError: The recipe names no trace, or nothing in it can be learnt from.
    """

    def __init__(self, recipe: Recipe, out: Path, model: Path | None = None) -> None:
        if recipe.trace is None:
            raise DataError("kind 'imitate' needs trace=FOLDER: the episodes to learn from")
        seed_everything(recipe.seed, recipe.threads)
        self.recipe, self.out = recipe, out
        self.folder = model or model_folder(recipe.model)
        self.vlm = open_vlm(recipe, self.folder)
        self.renderer = open_renderer(recipe, self.folder)
        policy = Policy(self.vlm, recipe.learner.freeze, checkpointing=recipe.learner.checkpointing)
        self.learner = Learner(policy, recipe.learner, recipe.steps)
        self.samples = self._read(Path(recipe.trace))
        self.sampler = Sampler(len(self.samples), recipe.seed)
        self.memories: tuple[Memory, ...] = ()

    def _read(self, folder: Path) -> list[Sample]:
        episodes = good_episodes(read_trace(folder), self.recipe.trace_least)
        toolbox = Toolbox(self.recipe.tools)
        for episode in episodes:
            check_runtime(episode.runtime, toolbox.runtime)
        samples = teacher_samples(episodes, self.renderer, self.vlm.family, toolbox.specs)
        if not samples:
            raise DataError(f"{folder}: no episode in it can be learnt from")
        return samples

    def task_of(self, task_id: str, step: int) -> Task:
        """Nothing is asked here.

        Raises:
            DataError: Always.
        """
        raise DataError(f"an imitation run has no task {task_id!r}: it reads episodes")

    @property
    def data_file(self) -> Path:
        """What the examples are read from."""
        return Path(self.recipe.trace or "") / "episodes.jsonl"

    async def step(self) -> tuple[dict[str, float], Collected | None]:
        """Learn from the next contexts."""
        began = time.monotonic()
        chosen = [self.samples[i] for i in self.sampler.draw(self.recipe.prompts)]
        metrics = self.learner.imitate(chosen)
        metrics["time/train"] = metrics["time/step"] = time.monotonic() - began
        return metrics, None

    async def close(self) -> None:
        """No tool runs while it is taught."""

    def publish(self) -> None:
        """Nobody draws from these weights while they are taught."""
