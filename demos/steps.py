"""An episode as somebody reads it: turns with thought, calls, boxes and what came back.

Pure: a record goes in, plain data come out. The page only lays them out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from vtool.credit_note import read_note
from vtool.geometry import Box, Size
from vtool.media import Clip, Image
from vtool.message import Message, Outcome, Role, Show, Text
from vtool.metrics import exact_match
from vtool.record import Context, Episode, Fold, Fork, Segment, Spawn
from vtool.reward import Unscored
from vtool.trace import TraceRecord

from .credit import CreditView, StepCredit, credit_view, step_credits


@dataclass(frozen=True, slots=True)
class Mark:
    """A numbered box on a picture."""

    number: int
    box: Box
    used: bool = False
    """Whether it is what was really used, where that differs from what was asked."""


@dataclass(frozen=True, slots=True)
class Sight:
    """A picture with what is drawn on it."""

    handle: str
    image: Image
    shown: Size | None
    """Size at which the model saw it."""
    marks: tuple[Mark, ...] = ()
    caption: str = ""


@dataclass(frozen=True, slots=True)
class CallView:
    """A call and what became of it."""

    number: int
    name: str
    arguments: str
    note: str = ""
    fault: str = ""
    cached: bool = False
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Step:
    """One turn of policy, environment or user."""

    who: str
    """user, policy, tool, system, and so on."""
    words: str = ""
    thought: str = ""
    answer: str | None = None
    calls: tuple[CallView, ...] = ()
    faults: tuple[str, ...] = ()
    sights: tuple[Sight, ...] = ()
    tokens: int = 0
    mean_logprob: float | None = None
    version: int | None = None
    credit: StepCredit | None = None


@dataclass(frozen=True, slots=True)
class Strand:
    """The steps of one context, less what it shares with its parent."""

    title: str
    steps: tuple[Step, ...]
    tokens: int
    own_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeView:
    """One episode."""

    task_id: str
    attempt: int | None
    question: str
    answer: str | None
    accepted: tuple[str, ...]
    right: bool | None
    stop: str
    error: str | None
    seconds: float
    parts: tuple[tuple[str, str], ...]
    total: str | None
    terms: tuple[tuple[str, float], ...] = ()
    """What each part adds to the total, where that is known."""
    credit: CreditView | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    strands: tuple[Strand, ...] = ()
    calls: int = 0


def view_record(record: TraceRecord) -> EpisodeView:
    """Read a record."""
    episode, meta = record.episode, record.meta
    accepted = _accepted(meta.get("reference"))
    attempt = meta.get("attempt")
    tags = meta.get("tags")
    note = read_note(episode, meta)
    credits = step_credits(episode, note)
    strands = tuple(_strand(c, credits) for c in episode.contexts)
    return EpisodeView(
        task_id=episode.task_id,
        attempt=attempt if isinstance(attempt, int) else None,
        question=_question(episode),
        answer=episode.answer,
        accepted=accepted,
        right=_right(record, accepted),
        stop=str(episode.stop),
        error=episode.error,
        seconds=episode.seconds,
        parts=_parts(record),
        total=_total(record),
        terms=tuple(record.score.terms.items()) if record.score else (),
        credit=credit_view(record.score, note),
        tags={k: _brief(v) for k, v in tags.items()} if isinstance(tags, dict) else {},
        strands=strands,
        calls=sum(len(s.calls) for strand in strands for s in strand.steps),
    )


def _strand(context: Context, credits: Mapping[int, StepCredit]) -> Strand:
    own = context.segments[context.shared :]
    steps: list[Step] = []
    number = 0
    messages = [(segment, m) for segment in own for m in segment.messages]
    for at, (segment, message) in enumerate(messages):
        if message.role is Role.ASSISTANT and message.action is not None:
            replies = _replies(messages[at + 1 :])
            turn = _turn(context, segment, message, replies, number)
            steps.append(replace(turn, credit=credits.get(id(segment))))
            number += len(message.action.calls)
        else:
            steps.append(_said(context, segment, message))
    return Strand(_title(context), tuple(steps), len(context), sum(len(s) for s in own))


def _replies(rest: Sequence[tuple[Segment, Message]]) -> list[Outcome]:
    """What became of a turn's calls: the tool messages up to the next turn."""
    found: list[Outcome] = []
    for _, message in rest:
        if message.role is not Role.TOOL:
            break
        found += message.outcomes
    return found


def _turn(
    context: Context,
    segment: Segment,
    message: Message,
    outcomes: Sequence[Outcome],
    before: int,
) -> Step:
    action = message.action
    assert action is not None
    by_call = [o for o in outcomes if o.call is not None]
    calls, marks = [], []
    for i, call in enumerate(action.calls):
        outcome = by_call[i] if i < len(by_call) else None
        calls.append(_call(before + i + 1, call.name, call.arguments, outcome))
        marks += _marks(before + i + 1, outcome)
    return Step(
        who=str(message.author),
        words="" if action.thought or calls or action.answer is not None else action.text,
        thought=action.thought,
        answer=action.answer,
        calls=tuple(calls),
        faults=tuple(f"{f.code}: {f.message}" for f in action.faults),
        sights=_marked(context, marks),
        tokens=len(segment),
        mean_logprob=_mean(segment.logprobs),
        version=segment.version,
    )


def _call(
    number: int, name: str, arguments: Mapping[str, object], outcome: Outcome | None
) -> CallView:
    told = ", ".join(f"{k}={json.dumps(v, ensure_ascii=False)}" for k, v in arguments.items())
    if outcome is None:
        return CallView(number, name, told, "not run: the episode ended here")
    fault = f"{outcome.fault.code}: {outcome.fault.message}" if outcome.fault else ""
    note = "the place used differs from the one asked for" if outcome.effective else ""
    return CallView(number, name, told, note, fault, outcome.cached, outcome.seconds)


def _marks(number: int, outcome: Outcome | None) -> list[tuple[str, Mark]]:
    """(handle, mark) of each box that a call asked for or really used."""
    if outcome is None:
        return []
    asked = [r for rs in (outcome.bound.regions if outcome.bound else {}).values() for r in rs]
    pairs = [(r, False) for r in asked] + [(r, True) for r in outcome.effective if r not in asked]
    return [(r.media, Mark(number, r.shape, used)) for r, used in pairs if isinstance(r.shape, Box)]


def _marked(context: Context, marks: Sequence[tuple[str, Mark]]) -> tuple[Sight, ...]:
    handles = dict.fromkeys(handle for handle, _ in marks)
    return tuple(
        _sight(context, h, tuple(m for handle, m in marks if handle == h), "looks at ")
        for h in handles
    )


def _said(context: Context, segment: Segment, message: Message) -> Step:
    faults = tuple(
        f"{o.fault.code}: {o.fault.message}" for o in message.outcomes if o.fault is not None
    )
    sights: list[Sight] = []
    for show in message.shows:
        sights += _shown(context, show)
    return Step(
        who=str(message.role),
        words="" if faults else _words(message),
        faults=faults,
        sights=tuple(sights),
        tokens=len(segment),
    )


def _shown(context: Context, show: Show) -> list[Sight]:
    if show.handle not in context.store:
        return []
    value = context.store[show.handle].value
    if isinstance(value, Clip):
        return [
            Sight(show.handle, frame, None, (), f"{show.handle} at {t:.2f} s")
            for frame, t in zip(value.frames, value.times_s, strict=True)
        ]
    return [_sight(context, show.handle)] if isinstance(value, Image) else []


def _sight(context: Context, handle: str, marks: tuple[Mark, ...] = (), before: str = "") -> Sight:
    image = context.store.image(handle)
    width, height = image.size
    return Sight(handle, image, context.shown(handle), marks, f"{before}{handle}, {width}×{height}")


def _title(context: Context) -> str:
    edge = context.edge
    if isinstance(edge, Fork):
        return f"fork of {edge.parent} after {edge.at} segments"
    if isinstance(edge, Fold):
        return f"folds {edge.parent}" + (f" ({edge.reason})" if edge.reason else "")
    if isinstance(edge, Spawn):
        return f"{context.seat}, called from {edge.parent}, turn {edge.turn}"
    return context.seat


def _question(episode: Episode) -> str:
    for context in episode.contexts:
        for message in context.messages():
            if message.role is Role.USER:
                return _words(message)
    return ""


def _words(message: Message) -> str:
    return "".join(p.text for p in message.parts if isinstance(p, Text)).strip()


def _accepted(reference: object) -> tuple[str, ...]:
    texts = reference.get("texts") if isinstance(reference, dict) else None
    return tuple(str(t) for t in texts) if isinstance(texts, list | tuple) else ()


def _right(record: TraceRecord, accepted: Sequence[str]) -> bool | None:
    if record.episode.stop.ours:
        return None
    if accepted:
        return exact_match(record.episode.answer, accepted) >= 1.0
    marks = record.score.parts.get("answer") if record.score else None
    return marks >= 1.0 if isinstance(marks, int | float) else None


def _parts(record: TraceRecord) -> tuple[tuple[str, str], ...]:
    if record.score is None:
        return ()
    return tuple((name, _mark(value)) for name, value in record.score.parts.items())


def _total(record: TraceRecord) -> str | None:
    return None if record.score is None else _mark(record.score.total)


def _mark(value: object) -> str:
    if isinstance(value, Unscored):
        return f"unscored ({value.reason})"
    if isinstance(value, int | float):
        return f"{value:.3g}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return " ".join(_mark(v) for v in value)
    return "-" if value is None else str(value)


def _mean(logprobs: np.ndarray[tuple[int, ...], np.dtype[np.float32]] | None) -> float | None:
    return float(logprobs.mean()) if logprobs is not None and logprobs.size else None


def _brief(value: object) -> str:
    told = value if isinstance(value, str) else json.dumps(value)
    return told if len(told) <= 40 else told[:37] + "..."
