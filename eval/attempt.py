"""One attempt at one task, boiled down to what a report counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from numbers import Real

from vtool.benchmark import Metric
from vtool.evidence import look_and_target
from vtool.geometry import iou
from vtool.message import Json
from vtool.record import Episode, StopReason
from vtool.statistics import count_episode
from vtool.task import Task


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """What one episode came to."""

    task_id: str
    attempt: int
    tags: Mapping[str, Json]
    correct: float
    """The metric, in [0, 1]; 0 and without meaning where `unscored`."""
    stop: StopReason
    calls: int
    valid_calls: int
    turns: int
    tokens: int
    iou: float | None
    """Overlap of the deciding look with the evidence; None where the task names no evidence or
    the policy did not look."""
    looked: bool
    """Whether a tool made a picture that can be followed back to the user's."""
    error: str | None = None
    unscored: str | None = None
    """Why nobody could say whether it is right (a judge that is down, scoring put off): neither
    right nor wrong, and in no number."""
    scored_by: str = "rule"
    answer: str | None = None
    question: str = ""
    media: tuple[str, ...] = ()
    """Digests of the prompt's pictures and videos: tasks that share one are not independent."""
    tools: Mapping[str, int] = field(default_factory=dict)
    """Calls by tool."""
    key: str = ""
    """Hash of what was asked and how; see `vtool.eval.key`."""
    seconds: float = 0.0

    @property
    def broken(self) -> bool:
        """Whether something of ours failed, so that it says nothing about the policy."""
        return broken(self.stop)

    @property
    def counts(self) -> bool:
        """Whether it enters the accuracy: nothing broke, and it was scored."""
        return not self.broken and self.unscored is None


def broken(stop: StopReason) -> bool:
    """Whether something of ours failed. Who runs out of the time given is counted as wrong."""
    return stop.ours and stop is not StopReason.TIMEOUT


def judge(episode: Episode, task: Task, attempt: int, metric: Metric, key: str = "") -> Attempt:
    """Count and score a finished episode.

    Args:
        episode: What happened.
        task: What was asked.
        attempt: Number of the attempt.
        metric: Says how right the answer is.
        key: Of the sample.
    """
    if not episode.contexts or broken(episode.stop):
        return lost(task.id, attempt, episode.stop, episode.error, task.tags, key)
    counts = count_episode(episode)
    correct, unscored = scored(metric, episode.answer, task)
    look, wanted = look_and_target(episode, task)
    return Attempt(
        task_id=task.id,
        attempt=attempt,
        tags=task.tags,
        correct=correct,
        unscored=unscored,
        scored_by="rule" if unscored is None else "nobody",
        stop=episode.stop,
        calls=counts.calls,
        valid_calls=counts.valid_calls,
        turns=counts.turns,
        tokens=counts.tokens,
        iou=iou(look, wanted) if look is not None and wanted is not None else None,
        looked=look is not None,
        answer=episode.answer,
        question=question(task),
        media=tuple(m.digest for m in task.media),
        tools=dict(Counter(o.call.name for o in episode.outcomes() if o.call is not None)),
        key=key,
        seconds=episode.seconds,
    )


_ROUNDING = 1e-9


def scored(metric: Metric, answer: str | None, task: Task) -> tuple[float, str | None]:
    """What the metric says, or why it says nothing: no answer is wrong for a metric's bug."""
    try:
        score = metric(answer, task)
    except Exception as err:  # a metric is anybody's code, and answers were paid for
        return 0.0, f"the metric gave no score: {type(err).__name__}: {err}"
    if not isinstance(score, Real) or not -_ROUNDING <= score <= 1 + _ROUNDING:  # NaN fails both
        return 0.0, f"the metric gave no score in [0, 1] but {score!r}"
    return min(1.0, max(0.0, float(score))), None


def question(task: Task) -> str:
    """The words of a task."""
    return "\n".join(p for p in task.prompt if isinstance(p, str))


def lost(
    task_id: str,
    attempt: int,
    stop: StopReason,
    error: str | None,
    tags: Mapping[str, Json] | None = None,
    key: str = "",
) -> Attempt:
    """An attempt that says nothing about the policy."""
    return Attempt(
        task_id=task_id,
        attempt=attempt,
        tags=tags or {},
        correct=0.0,
        stop=stop,
        calls=0,
        valid_calls=0,
        turns=0,
        tokens=0,
        iou=None,
        looked=False,
        error=error,
        key=key,
    )
