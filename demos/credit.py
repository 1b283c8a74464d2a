"""What the page tells of credit: which tokens gained, what other weightings would have given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from vtool.credit_note import CreditNote, SegmentCredit
from vtool.record import Episode
from vtool.reward import Score


@dataclass(frozen=True, slots=True)
class StepCredit:
    """Credit of a turn's tokens."""

    mean: float
    tokens: tuple[tuple[str, float], ...] = ()
    """Text and advantage of each token; empty where all of the turn's tokens got the same."""


@dataclass(frozen=True, slots=True)
class Weighting:
    """A total, and the mean advantage of each turn that was learnt."""

    name: str
    total: str
    turns: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class CreditView:
    """How an attempt was scored and what it taught."""

    how: str
    rule: str
    weightings: tuple[Weighting, ...]
    """The recipe's own first."""
    lesson: str
    """Empty, or why nothing was learnt from this attempt."""


def step_credits(episode: Episode, note: CreditNote | None) -> Mapping[int, StepCredit]:
    """Credit by segment identity."""
    if note is None:
        return {}
    out = {}
    for context, row in zip(episode.contexts, note.given, strict=True):
        for segment, given in zip(context.segments[context.shared :], row, strict=True):
            if given is not None:
                out[id(segment)] = _step(given)
    return out


def credit_view(score: Score | None, note: CreditNote | None) -> CreditView | None:
    """The report of an attempt; None where its trace holds none."""
    if note is None:
        return None
    told = [_step(g).mean for row in note.given for g in row if g is not None]
    total = score.total if score is not None else None
    own = Weighting("as trained", number(total), tuple(told))
    others = tuple(
        Weighting(
            o.name, number(o.total), tuple(v for row in o.advantages for v in row if v is not None)
        )
        for o in note.others
    )
    named = ", ".join(f"{key} {_brief(value)}" for key, value in note.options.items())
    return CreditView(
        how=f"{note.combine}: {named}" if named else note.combine,
        rule=note.rule,
        weightings=(own, *others),
        lesson=_lesson(told),
    )


def number(value: object) -> str:
    """A total as it is told."""
    return f"{value:.3g}" if isinstance(value, int | float) else "unscored"


def _lesson(told: list[float]) -> str:
    if not told:
        return "nothing of it was learnt: it was masked, or could not be scored"
    if not any(told):
        return "it taught nothing: its tokens got 0, as where all attempts are worth the same"
    return ""


def _step(given: SegmentCredit) -> StepCredit:
    values = given.advantage
    if not isinstance(values, tuple):
        return StepCredit(values)
    mean = sum(values) / len(values) if values else 0.0
    pieces = given.pieces or tuple("·" for _ in values)
    return StepCredit(mean, tuple(zip(pieces, values, strict=True)))


def _brief(value: object) -> str:
    if isinstance(value, Mapping):
        return "(" + ", ".join(f"{k} {_brief(v)}" for k, v in value.items()) + ")"
    if isinstance(value, list | tuple):
        return "(" + ", ".join(_brief(v) for v in value) + ")"
    return f"{value:g}" if isinstance(value, float) else str(value)
