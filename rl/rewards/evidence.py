"""Evidence: did the deciding look cover what holds the answer, in the source's coordinates?"""

from __future__ import annotations

from vtool.geometry import Box, Region, coverage, iou
from vtool.record import Episode
from vtool.reward import reward
from vtool.store import Store
from vtool.task import Task


def deciding_look(episode: Episode) -> Region | None:
    """Where the last picture that a tool made lies on the user's picture, or None."""
    store = episode.final.store
    for outcome in reversed(episode.outcomes()):
        for handle in reversed(outcome.handles):
            place = on_source(store, handle)
            if place is not None:
                return place
    return None


def on_source(store: Store, handle: str) -> Region | None:
    """The whole of a derived picture, as a box on the picture at its root."""
    if store[handle].origin.parent is None or store[handle].kind != "image":
        return None
    place = store.to_source(Region(handle, Box(0.0, 0.0, 1.0, 1.0)))
    return place if isinstance(place, Region) else None


def target(task: Task, store: Store) -> Region | None:
    """The innermost place that holds the answer, on its picture of the prompt."""
    if not task.evidence:
        return None
    last = task.evidence[-1]
    roots = [e for e in store.images() if e.origin.parent is None]
    return Region(roots[last.image].handle, last.shape)


@reward("evidence_iou")
def evidence_iou(episode: Episode, task: Task) -> float | None:
    """IoU of the deciding look with the target; None where the task has no target."""
    wanted, seen = _pair(episode, task)
    if wanted is None:
        return None
    return iou(seen, wanted) if seen is not None else 0.0


@reward("evidence_coverage")
def evidence_coverage(episode: Episode, task: Task) -> float | None:
    """Share of the target that the deciding look covers; None where there is no target."""
    wanted, seen = _pair(episode, task)
    if wanted is None:
        return None
    return coverage(wanted, seen) if seen is not None else 0.0


def _pair(episode: Episode, task: Task) -> tuple[Box | None, Box | None]:
    wanted = target(task, episode.final.store)
    if wanted is None or not isinstance(wanted.shape, Box):
        return None, None
    seen = deciding_look(episode)
    same = seen is not None and seen.media == wanted.media and isinstance(seen.shape, Box)
    return wanted.shape, seen.shape if same and seen and isinstance(seen.shape, Box) else None
