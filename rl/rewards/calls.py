"""R4, calls: did the policy call what a good attempt calls, and did its calls run?

Wanted calls stand in `Task.calls` under the tools' own names. What was called is compared by the
names and places that the Toolbox bound, so that renaming tools for the model changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from vtool.errors import FaultCode
from vtool.geometry import Box, Point, Region, iou
from vtool.message import BoundCall, Outcome, Role, ToolCall
from vtool.record import Episode, StopReason
from vtool.reward import Site, reward
from vtool.shape_metrics import distance
from vtool.task import Answer, Task

from .answer import token_f1
from .call_kernels import PlainCall, equal, matched, sentinel_mean, similarity, toolrl, transported

PLACES_ALIKE = 0.5
"""IoU from which two boxes are the same place."""
POINTS_ALIKE = 0.05
"""Distance up to which two points are."""


@reward("call_match", site=Site.TURN)
def call_match(
    episode: Episode,
    task: Task,
    *,
    matching: str = "best",
    unmatched: float = 0.0,
) -> Sequence[float] | None:
    """Each turn's mean similarity of its calls with the wanted ones; the answer turn's token F1.

    Args:
        episode: The attempt.
        task: Its `calls` are wanted.
        matching: `best` (one to one over the whole episode), `greedy`, or `transport` (soft).
        unmatched: For a call without a partner.

    Source: MatchTIR. Trap: see `call_match_released` for what its code does.
    """
    if not task.calls:
        return None
    turns = calls_by_turn(episode)
    flat = [c for calls in turns for c in calls]
    scores = [[similarity(c, w, same_value) for w in map(wanted_call, task.calls)] for c in flat]
    marks = iter(
        transported(scores)
        if matching == "transport"
        else matched(scores, greedy=matching == "greedy", unmatched=unmatched)
    )
    out = [_mean([next(marks) for _ in calls]) for calls in turns]
    if episode.stop is StopReason.ANSWERED and out and isinstance(task.reference, Answer):
        out[-1] = max(token_f1(episode.answer or "", t) for t in task.reference.texts)
    return out


@reward("call_match_released", site=Site.TURN)
def call_match_released(episode: Episode, task: Task) -> Sequence[float] | None:
    """`call_match` as MatchTIR's released function computes it: greedy, -.5 for unmatched calls.

    Source: MatchTIR's code, by the defaults of its function (its training script sets 0).
    """
    marks: Sequence[float] | None = call_match(episode, task, matching="greedy", unmatched=-0.5)
    return marks


@reward("call_toolrl")
def call_toolrl(episode: Episode, task: Task) -> float:
    """Decomposed match of all calls with the wanted ones, in [-3, 3]; unreadable is -3.

    Source: ToolRL, R_corr = 6 s / S - 3, beside R_fmt in {0, 1}. Trap: no wanted call is 0.
    """
    if any(a.faults for a in episode.actions()):
        return -3.0
    given = [c for calls in calls_by_turn(episode) for c in calls]
    return toolrl(given, [wanted_call(c) for c in task.calls], same_value)


@reward("call_success")
def call_success(episode: Episode, task: Task, *, failed: float = 0.5) -> float | None:
    """(succeeded + `failed` * failed) / calls; None without calls.

    Source: ASTRA's call status, (succ + .5 fail) / total: three of four is .875. `failed: 0` is
    the plain share.
    """
    ran = [o for o in episode.outcomes() if o.call is not None]
    if not ran:
        return None
    good = sum(o.fault is None for o in ran)
    return (good + failed * (len(ran) - good)) / len(ran)


@reward("call_ladder")
def call_ladder(episode: Episode, task: Task) -> float:
    """Mean over calls of how far each came, 0 to 4: structure, tool, arguments, values.

    Source: AdaReasoner, the tool score of a wrong answer (see the combine `asymmetric`).
    Trap: the released mean stops at the first turn without a call and drops trailing zeros, so a
    last unreadable call costs nothing.
    """
    return sentinel_mean(ladder_scores(episode))


def ladder_scores(episode: Episode) -> list[float]:
    """One score a call or unreadable turn, in order; -1 for a turn that does neither."""
    out: list[float] = []
    for message in episode.path_messages():
        if message.role is Role.TOOL:
            out += [_rung(o) for o in message.outcomes]
        elif message.action is not None and not (message.action.calls or message.action.faults):
            out.append(-1.0)
    return out


def calls_by_turn(episode: Episode) -> list[list[PlainCall]]:
    """The calls of each assistant turn, by the tools' own names where the Toolbox read them."""
    turns: list[list[PlainCall]] = []
    told: list[int] = []
    for message in episode.path_messages():
        if message.action is not None:
            turns.append([PlainCall(c.name, c.arguments) for c in message.action.calls])
            told.append(0)
        for outcome in message.outcomes:
            if outcome.bound is not None and turns and told[-1] < len(turns[-1]):
                turns[-1][told[-1]] = bound_call(outcome.bound)
            if turns and outcome.call is not None:
                told[-1] += 1
    return turns


def bound_call(bound: BoundCall) -> PlainCall:
    """A call as the Toolbox read it."""
    arguments = {**bound.media, **bound.regions, **bound.values}
    return PlainCall(bound.tool, arguments)


def wanted_call(call: ToolCall) -> PlainCall:
    """A wanted call."""
    return PlainCall(call.name, call.arguments)


def same_value(given: object, wanted: object) -> bool:
    """Equal, or for places that the Toolbox read: boxes that overlap, points that are near."""
    if isinstance(given, tuple) and all(isinstance(r, Region) for r in given):
        rows = wanted if isinstance(wanted, list) and _rows(wanted) else [wanted]
        if not isinstance(rows, list) or len(rows) != len(given):
            return False
        return all(_same_place(r, w) for r, w in zip(given, rows, strict=True))
    return equal(given, wanted)


def _same_place(given: Region, wanted: object) -> bool:
    if not isinstance(wanted, list) or not all(isinstance(v, int | float) for v in wanted):
        return False
    if isinstance(given.shape, Box) and len(wanted) == 4:
        return iou(given.shape, Box(*map(float, wanted))) >= PLACES_ALIKE
    if isinstance(given.shape, Point) and len(wanted) == 2:
        return distance(given.shape, Point(*map(float, wanted))) <= POINTS_ALIKE
    return False


def _rows(value: list[object]) -> bool:
    return bool(value) and all(isinstance(v, list) for v in value)


_UNREAD = (FaultCode.BAD_JSON, FaultCode.UNCLOSED_CALL, FaultCode.TRUNCATED, FaultCode.TOO_LARGE)


def _rung(outcome: Outcome) -> float:
    """0 unreadable, 1 no such tool, 2 other arguments, 3 other values, 4 it ran."""
    if outcome.fault is None:
        return 4.0
    if outcome.call is None or outcome.fault.code in _UNREAD:
        return 0.0
    return {FaultCode.UNKNOWN_TOOL: 1.0, FaultCode.BAD_ARGS: 2.0}.get(outcome.fault.code, 3.0)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
