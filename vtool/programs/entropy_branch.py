"""Branching where a tool's result made the policy unsure: an agent's forks go where they pay.

A few attempts begin. After each result of a tool the policy writes a turn; the entropy of that
turn's first tokens is compared with the entropy of the attempt's very first ones. Where it rose,
another path is likely to fork off from the result, until as many attempts as were asked for are
under way. If all have ended before, fresh ones begin.

Source: Agentic Reinforced Policy Optimization (ARPO), with the constants of its released code:
16 attempts, 8 at first, beam 2, base probability 0.5, weight 0.2, 20 tokens, top 10. The code
adds the terms of all tokens up (`Measure.SUM`), the paper takes their mean; the code draws
(`Rule.DRAW`), the paper compares with a threshold (`Rule.THRESHOLD`). The code is the default.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TypeAlias

from vtool.engines.base import Completion, Request, TokenEngine
from vtool.errors import EngineError, ForkRefused, RecipeError
from vtool.message import Author
from vtool.programs.chance import chance
from vtool.programs.rounds import Maker, Path, Rounds, rollouts
from vtool.record import Episode, Fork
from vtool.seat import Seat

Row: TypeAlias = tuple[tuple[int, float], ...]
"""Alternatives of one token, (id, log-prob)."""


class Measure(StrEnum):
    """How the entropies of a turn's first tokens become one number."""

    SUM = "sum"
    """Added up, as the released code does: a change may exceed 1."""
    MEAN = "mean"
    """Their mean, as the paper says: it lies in [0, 1]."""


class Rule(StrEnum):
    """When a path branches."""

    DRAW = "draw"
    """With the probability `base + weight * change`, clipped to [0, 1]."""
    THRESHOLD = "threshold"
    """Where `base + weight * change` exceeds the threshold."""


class Trigger(StrEnum):
    """After which results a path may branch."""

    TOOL = "tool"
    """Any."""
    IMAGE = "image"
    """Those that show a picture: unsure of what was just seen."""


@dataclass(frozen=True, slots=True)
class BranchSettings:
    """When to branch, and how often.

    Args:
        initial: Attempts that begin.
        beam: A path branches into at most so many at once, itself included.
        base: Probability of branching where the entropy did not change.
        weight: How much a change of 1 adds to it.
        tokens: First tokens of a turn that are measured.
        top: Alternatives a token that are measured.
        measure: How tokens become one number.
        rule: How a probability becomes a decision.
        threshold: Of the rule `threshold`.
        after: After which results.
    """

    initial: int = 8
    beam: int = 2
    base: float = 0.5
    weight: float = 0.2
    tokens: int = 20
    top: int = 10
    measure: Measure = Measure.SUM
    rule: Rule = Rule.DRAW
    threshold: float = 0.5
    after: Trigger = Trigger.TOOL

    def __post_init__(self) -> None:
        for name in ("initial", "beam", "tokens", "top"):
            if getattr(self, name) < 1:
                raise RecipeError(f"{name} must be at least 1, not {getattr(self, name)}")


def entropy(
    top: Sequence[Sequence[tuple[int, float]]], vocab: int, measure: Measure = Measure.SUM
) -> float:
    """Entropy of some tokens from their likeliest alternatives, in units of log(vocab).

    Args:
        top: For each token its alternatives as (id, log-prob).
        vocab: Size of the vocabulary.
        measure: Sum or mean over the tokens.
    """
    terms = [-math.exp(lp) * lp for row in top for _, lp in row]
    total = math.fsum(terms) / math.log(vocab)
    return total / max(1, len(top)) if measure is Measure.MEAN else total


def probability(change: float, base: float = 0.5, weight: float = 0.2) -> float:
    """Probability of branching at a change of entropy: ``clip(base + weight * change, 0, 1)``."""
    return min(1.0, max(0.0, base + weight * change))


async def entropy_branch(
    make: Maker,
    seats: Mapping[str, Seat],
    *,
    count: int,
    vocab: int,
    settings: BranchSettings | None = None,
    key: tuple[int, ...] = (0,),
    seat: str = "policy",
) -> tuple[Episode, ...]:
    """Play exactly `count` attempts at a task.

    Args:
        make: Makes environments.
        seats: Who plays, by name; the engine must tell alternatives (`Sampling.record_top`).
        count: Attempts, those that begin as branches included.
        vocab: Size of the policy's vocabulary.
        settings: When to branch.
        key: Seeds all draws.
        seat: The seat that plays.

    Returns:
        The attempts. Branches share a record with the attempt that they go on from: their
        `Fork` edges say from where. What was measured is in the record's verdicts under
        ``entropy_branch``.

    Raises:
        EngineError: The engine tells no alternatives.
    """
    told = settings or BranchSettings()
    engine = seats[seat].engine
    if not isinstance(engine, TokenEngine):
        raise EngineError("the sampler entropy_branch needs an engine of tokens, not of messages")
    ears = _Ears(engine, told.top, told.tokens)
    rounds = Rounds(make, seats, key, seat, ears)
    grower = _Grower(rounds, ears, told, count, vocab)
    try:
        await rounds.start(min(told.initial, count))
        while rounds.active or len(rounds.paths) < count:
            if not rounds.active:
                await rounds.start(1)
            await grower.round()
    finally:
        await rounds.close()
    return rollouts(rounds.episodes)


@dataclass(slots=True)
class _Ears:
    """Hears the alternatives of first tokens; the record stays as it would be without."""

    engine: TokenEngine
    top: int
    tokens: int
    heard: dict[tuple[int, ...], list[Row]] = field(default_factory=dict)

    @property
    def version(self) -> int:
        """The engine's."""
        return self.engine.version

    async def generate(self, request: Request) -> Completion:
        """Draw one completion, and remember how unsure its first tokens were."""
        asked = request.sampling.record_top
        sampling = replace(request.sampling, record_top=max(asked, self.top))
        found = await self.engine.generate(replace(request, sampling=sampling))
        if len(found.top) < len(found.ids):
            raise EngineError(
                "the sampler entropy_branch needs an engine that tells the likeliest "
                "alternatives of each token (Capabilities.top): use engine `hf`, or sampler flat"
            )
        rows = self.heard.setdefault(request.key[:-1], [])
        rows += [row[: self.top] for row in found.top[: self.tokens - len(rows)]]
        return replace(found, top=tuple(row[:asked] for row in found.top) if asked else ())

    def take(self, path: Path) -> list[Row]:
        """What was heard of a path's turn."""
        return self.heard.pop((*path.player.key, path.context.number), [])


@dataclass(slots=True)
class _Grower:
    rounds: Rounds
    ears: _Ears
    settings: BranchSettings
    count: int
    vocab: int
    number: int = 0

    async def round(self) -> None:
        """Everybody writes a turn; those that became unsure branch; the tools answer."""
        paths = self.rounds.active
        points = await self.rounds.speak(paths)
        for path, at in zip(paths, points, strict=True):
            rows = self.ears.take(path)
            if path.going and path.action is not None:
                await self._consider(path, at, rows)
        await self.rounds.answer(paths)
        self.number += 1

    async def _consider(self, path: Path, at: Fork, rows: Sequence[Row]) -> None:
        measured = entropy(rows, self.vocab, self.settings.measure)
        if path.note is None:
            path.note = measured
            return
        if not self._may(path, at):
            return
        change = measured - path.note
        likely = probability(change, self.settings.base, self.settings.weight)
        made = 0
        for beam in range(1, self.settings.beam):
            if len(self.rounds.paths) < self.count and self._decide(path, beam, likely):
                made += await self._branch(path, at)
        notes = path.player.episode.verdicts.setdefault("entropy_branch", [])
        assert isinstance(notes, list)
        notes.append([at.parent, at.at, change, likely, made])

    async def _branch(self, path: Path, at: Fork) -> int:
        try:
            await self.rounds.fork(path, at)
        except ForkRefused:  # a fresh attempt takes the place of the branch at the end
            return 0
        return 1

    def _decide(self, path: Path, beam: int, likely: float) -> bool:
        if self.settings.rule is Rule.THRESHOLD:
            return likely > self.settings.threshold
        where = (*path.player.key, path.context.number, self.number, beam)
        return float(chance("branch", where).random()) < likely

    def _may(self, path: Path, at: Fork) -> bool:
        """Whether the path stood after a result of the wanted kind."""
        last = path.context.segments[at.at - 1]
        seen = any(m.shows for m in last.messages)
        return last.author is Author.TOOL and (seen or self.settings.after is Trigger.TOOL)
