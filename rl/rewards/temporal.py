"""Parts for questions about time: words, spans of seconds, both at once, and box tracks.

A part answers None where the task does not ask for what it judges. An answer that cannot be read
without a guess scores 0: that is the model's fault.
"""

from __future__ import annotations

from collections.abc import Callable

from vtool.answer_tracks import read_track
from vtool.geometry import Convention, Span
from vtool.media import Clip
from vtool.record import Episode, StopReason
from vtool.reward import reward
from vtool.store import Store
from vtool.task import Task, Tracks
from vtool.temporal import HIGH, LOW, STEPS, rescaled, stepped
from vtool.temporal_score import span_score, words_score
from vtool.track import track_viou
from vtool.video.source import Video

SCALE_TAG = "iou_scale"
"""Tag of a task that sets the bounds between which its overlap is rescaled: `[low, high]`."""


@reward("span_iou")
def span_iou(episode: Episode, task: Task) -> float | None:
    """Overlap of the spans answered with those wanted, all seconds of either counted once.

    Source: temporal IoU of video grounding; of several spans, that of their unions.
    """
    return span_score(_answer(episode), task)


@reward("span_iou_rescaled")
def span_iou_rescaled(episode: Episode, task: Task) -> float | None:
    """The overlap between .2 and .8 as 0 to 1, or between the bounds of the task's tag.

    Source: VITAL (DGRPO), task-level scaling.
    """
    overlap = span_iou(episode, task)
    return None if overlap is None else rescaled(overlap, *scale_of(task))


@reward("span_iou_steps")
def span_iou_steps(episode: Episode, task: Task) -> float | None:
    """One for an overlap above .8, two thirds above .7, one third above .5.

    Source: the steps 3, 2, 1 of Ophiuchus, divided by the highest.
    """
    overlap = span_iou(episode, task)
    return None if overlap is None else stepped(overlap) / STEPS[0][1]


@reward("grounded_answer")
def grounded_answer(episode: Episode, task: Task) -> float | None:
    """1 if the words of the answer, its spans taken out, are accepted.

    Source: exact match after normalising, on what is left of a grounded answer.
    """
    return words_score(_answer(episode), task)


@reward("temporal_accuracy")
def temporal_accuracy(episode: Episode, task: Task) -> float | None:
    """One accuracy for all kinds of questions about a video.

    Words count 0 or 1, spans their rescaled overlap. Where both are asked for, half each.

    Source: VITAL, one accuracy a task, rescaled for grounding alone. How it joins the two is not
    known to us: the halves are ours.
    """
    words = grounded_answer(episode, task)
    span = span_iou_rescaled(episode, task)
    marks = [m for m in (words, span) if m is not None]
    return sum(marks) / len(marks) if marks else None


@reward("tool_success")
def tool_success(episode: Episode, task: Task) -> float:
    """1 if at least one call was carried out.

    Source: R_tool of VITAL.
    """
    outcomes = episode.outcomes()
    return float(any(o.bound is not None and o.fault is None for o in outcomes))


@reward("evidence_span")
def evidence_span(episode: Episode, task: Task) -> float | None:
    """Whether any frame that was looked at shows the evidence: 1 or 0; None without evidence.

    The frames of the question do not count; looks do.

    Source: ours, the evidence half of the hierarchies, for time.
    """
    wanted = target_span(task)
    if wanted is None:
        return None
    times = looked_at(episode.final.store)
    return float(any(wanted.start_s - 1e-6 <= t < wanted.end_s for t in times))


def track_part(convention: Convention) -> Callable[[Episode, Task], float | None]:
    """A part that judges box tracks written in a convention.

    Args:
        convention: Units and order of the boxes of answers.
    """

    def judge(episode: Episode, task: Task) -> float | None:
        if not isinstance(task.reference, Tracks):
            return None
        clips = [m for m in task.media if isinstance(m, Clip | Video)]
        size = clips[task.reference.clip].size
        track = read_track(_answer(episode), convention, original=size).track
        return 0.0 if track is None else track_viou(track, task.reference.track)

    return judge


_in_thousandths = track_part(Convention())


@reward("track_viou")
def track_overlap(episode: Episode, task: Task) -> float | None:
    """Spatio-temporal overlap of a track whose boxes are written in thousandths.

    Source: vIoU of spatio-temporal video grounding (VidSTG, HC-STVG): the sum of box IoUs over
    the frames that both tracks have, by the frames that either has.
    """
    return _in_thousandths(episode, task)


def scale_of(task: Task) -> tuple[float, float]:
    """Bounds between which the overlap of a task is rescaled."""
    match task.tags.get(SCALE_TAG):
        case [int() | float() as low, int() | float() as high]:
            return float(low), float(high)
        case _:
            return LOW, HIGH


def target_span(task: Task) -> Span | None:
    """The innermost evidence, where it is a stretch of time."""
    last = task.evidence[-1].shape if task.evidence else None
    return last if isinstance(last, Span) else None


def looked_at(store: Store) -> list[float]:
    """Times of all frames that tools have shown."""
    made = [e for e in store if e.kind == "clip" and e.origin.parent is not None]
    return [t for e in made for t in (e.origin.times_s or ())]


def _answer(episode: Episode) -> str | None:
    """The final answer; nothing else that was said is ever read."""
    return episode.answer if episode.stop is StopReason.ANSWERED else None
