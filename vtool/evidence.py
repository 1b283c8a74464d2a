"""Where the agent looked, and where the answer was, on the user's own picture."""

from __future__ import annotations

from vtool.geometry import Box, Mask, Region, Span
from vtool.record import Episode
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
    """The innermost place that holds the answer, on its picture of the prompt; no time."""
    if not task.evidence:
        return None
    last = task.evidence[-1]
    if isinstance(last.shape, Span):
        return None
    roots = [e for e in store.images() if e.origin.parent is None]
    return Region(roots[last.image].handle, last.shape)


def look_and_target(episode: Episode, task: Task) -> tuple[Box | None, Box | None]:
    """The deciding look and the target as boxes on the same picture of the prompt.

    Returns:
        (look, target); the target is None where the task has none or it has no extent, the look is
        None where there was none or it was on another picture.
    """
    wanted = target(task, episode.final.store)
    if wanted is not None and isinstance(wanted.shape, Mask) and wanted.shape.cells.any():
        wanted = Region(wanted.media, wanted.shape.box())
    if wanted is None or not isinstance(wanted.shape, Box):
        return None, None
    seen = deciding_look(episode)
    if seen is None or seen.media != wanted.media or not isinstance(seen.shape, Box):
        return None, wanted.shape
    return seen.shape, wanted.shape
