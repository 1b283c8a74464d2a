"""The `prefer` stage: learn from pairs of answers to one past, found in the attempts of a trace.

Trees and groups that a run played are evidence of which turn led to success from one and the
same state; a direct preference needs no more than that.

Source: TP-LLaMA (pairs of steps from inference trees), Tool-Star (self-critic on ranked
samples of its own).
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from vtool.errors import DataError
from vtool.families.base import Family
from vtool.record import Context
from vtool.render import Renderer
from vtool.task import Task
from vtool.toolbox import Toolbox
from vtool.trace import TraceRecord, read_trace
from vtool.workspace import check_runtime

from .assembly import model_folder, seed_everything
from .batch import Sample, make_sample
from .collect import Collected
from .learner import Learner
from .memory import Memory
from .pair_spec import Pairing, PairSpec
from .policy import Policy
from .recipe import Recipe
from .regrow import Regrown, regrow
from .sampler import Sampler
from .tree_pairs import Answer, Pair, ranked_pairs, tree_pairs
from .warmstart import SPEAKERS
from .weights import open_renderer, open_vlm, reference_of


def find_pairs(group: Regrown, spec: PairSpec) -> list[Pair]:
    """Pairs of one group."""
    if spec.by is Pairing.RANKED:
        found = ranked_pairs(group.episodes, group.scores, margin=spec.margin)
    else:
        found = tree_pairs(group.episodes, group.scores, threshold=spec.threshold)
    return found[: spec.most] if spec.most else found


def answer_sample(answer: Answer, renderer: Renderer, family: Family) -> Sample:
    """A sample whose targets are the tokens of one answer, and nothing before it.

    The policy's own tokens, and those of a person or teacher who corrected it: what was corrected
    is what is preferred.
    """
    whole = answer.episode.contexts[answer.context]
    context = Context(whole.number, whole.seat, whole.store, None, whole.segments[: answer.start])
    for segment in whole.segments[answer.start : answer.end]:
        context.append(segment)
    return make_sample(context, renderer, family, authors=SPEAKERS)


def pair_samples(
    records: Iterable[TraceRecord], spec: PairSpec, renderer: Renderer, family: Family
) -> Iterator[tuple[Sample, Sample]]:
    """Samples of all pairs of a trace, chosen and rejected; those without targets are left out."""
    for group in regrow(records):
        for pair in find_pairs(group, spec):
            both = (pair.chosen, pair.rejected)
            if all(a.episode.contexts[a.context].has_tokens for a in both):
                one, other = (answer_sample(a, renderer, family) for a in both)
                if one.target.any() and other.target.any():
                    yield one, other


class Preferrer:
    """A policy that learns from pairs.

    Args:
        recipe: The run; `trace` names the attempts, `pairs` how they become pairs, `prompts` how
            many pairs make a step.
        out: Where its files go.
        model: Folder of the first weights, which are the reference too; the recipe's by default.

    Raises:
        DataError: The recipe names no trace, or there are no pairs in it.
    """

    def __init__(self, recipe: Recipe, out: Path, model: Path | None = None) -> None:
        if recipe.trace is None:
            raise DataError("kind 'prefer' needs trace=FOLDER: the attempts to make pairs of")
        seed_everything(recipe.seed, recipe.threads)
        self.recipe, self.out = recipe, out
        self.folder = model or model_folder(recipe.model)
        self.vlm = open_vlm(recipe, self.folder)
        self.renderer = open_renderer(recipe, self.folder)
        policy = Policy(self.vlm, recipe.learner.freeze, checkpointing=recipe.learner.checkpointing)
        free = recipe.learner.preference.reference_free
        reference = None if free else reference_of(recipe, self.folder, policy)
        self.learner = Learner(policy, recipe.learner, recipe.steps, reference)
        self.pairs = self._read(Path(recipe.trace))
        self.sampler = Sampler(len(self.pairs), recipe.seed)
        self.memories: tuple[Memory, ...] = ()

    def _read(self, folder: Path) -> list[tuple[Sample, Sample]]:
        records = list(read_trace(folder))
        here = Toolbox(self.recipe.tools).runtime
        for record in records:
            check_runtime(record.episode.runtime, here)
        found = list(pair_samples(records, self.recipe.pairs, self.renderer, self.vlm.family))
        if not found:
            raise DataError(
                f"{folder}: no pair by {self.recipe.pairs.by} in {len(records)} attempts: it needs "
                "groups in which some attempts succeed and others fail (pairs.threshold, margin)"
            )
        return found

    @property
    def data_file(self) -> Path:
        """What the pairs are read from."""
        return Path(self.recipe.trace or "") / "episodes.jsonl"

    def task_of(self, task_id: str, step: int) -> Task:
        """Nothing is asked here.

        Raises:
            DataError: Always.
        """
        raise DataError(f"a preference run has no task {task_id!r}: it reads attempts")

    async def step(self) -> tuple[dict[str, float], Collected | None]:
        """Learn from the next pairs."""
        began = time.monotonic()
        metrics = self.learner.prefer([self.pairs[i] for i in self.sampler.draw(self._count)])
        metrics["pairs"] = float(len(self.pairs))
        metrics["time/train"] = metrics["time/step"] = time.monotonic() - began
        return metrics, None

    @property
    def _count(self) -> int:
        return min(self.recipe.prompts, len(self.pairs))

    async def close(self) -> None:
        """No tool runs while it is taught."""

    def publish(self) -> None:
        """Nobody draws from these weights while they are taught."""
