"""The places that an answer names, on the picture that the task asks about."""

from __future__ import annotations

from dataclasses import dataclass

from vtool.geometry import Box, Mask, Point, Region, Shape
from vtool.record import Episode
from vtool.task import Boxes, Masks, Points, Task


@dataclass(frozen=True, slots=True)
class Named:
    """What an answer named.

    Args:
        shapes: On the picture asked about, in its unit coordinates.
        astray: Places on another picture, or without a counterpart on the source.
    """

    shapes: tuple[Shape, ...] = ()
    astray: int = 0

    @property
    def boxes(self) -> tuple[Box, ...]:
        """Those that are boxes."""
        return tuple(s for s in self.shapes if isinstance(s, Box))

    @property
    def points(self) -> tuple[Point, ...]:
        """Those that are points."""
        return tuple(s for s in self.shapes if isinstance(s, Point))

    @property
    def masks(self) -> tuple[Mask, ...]:
        """Those that are masks."""
        return tuple(s for s in self.shapes if isinstance(s, Mask))

    @property
    def count(self) -> int:
        """All places, those that went astray among them."""
        return len(self.shapes) + self.astray


def named(episode: Episode, task: Task) -> Named | None:
    """The places of the final answer; None where it could not be read as places."""
    if episode.reading is None or episode.reading.fault is not None:
        return None
    return on_asked(episode, task, episode.reading.regions)


def last_mask(episode: Episode, task: Task) -> Named:
    """The mask that a tool made last, wherever the answer is; nothing where none was made."""
    store = episode.final.store
    for outcome in reversed(episode.outcomes()):
        for handle in reversed(outcome.handles):
            value = store[handle].value
            if isinstance(value, Mask):
                return on_asked(episode, task, (Region(handle, value),))
    return Named()


def on_asked(episode: Episode, task: Task, regions: tuple[Region, ...]) -> Named:
    """Regions followed back to the picture that the reference lies on."""
    assert isinstance(task.reference, Boxes | Points | Masks)
    store = episode.final.store
    roots = [e.handle for e in store.images() if e.origin.parent is None]
    asked = roots[task.reference.image]
    found = [store.to_source(region) for region in regions]
    shapes = [r.shape for r in found if isinstance(r, Region) and r.media == asked]
    return Named(tuple(shapes), len(found) - len(shapes))
