"""From a picture of the store to placeholder tokens and patches, within a pixel bound."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from vtool.engines.base import Picture
from vtool.errors import RecordError
from vtool.families.base import Family, Patches
from vtool.geometry import Size
from vtool.media import Clip, Image
from vtool.message import Show
from vtool.patch_cache import PatchCache
from vtool.record import Run, Segment
from vtool.store import Store


@dataclass(frozen=True, slots=True)
class Frame:
    """A picture to be shown: all of an image, or one frame of a clip."""

    image: Image
    time_s: float | None
    max_pixels: int | None


class Showing:
    """Sizes, token counts and patches of pictures as one family sees them.

    Args:
        family: Says how pictures are cut.
        cache: Holds patches; shared by all renderers of a process if it is given.
    """

    def __init__(self, family: Family, cache: PatchCache | None = None) -> None:
        self.family = family
        self.cache = cache if cache is not None else PatchCache()
        self._bounded: dict[int | None, Family] = {None: family}

    def bounded(self, max_pixels: int | None) -> Family:
        """The family under a narrower bound, never below its own minimum."""
        if max_pixels not in self._bounded:
            spec = self.family.spec
            bound = min(spec.max_pixels, max(spec.min_pixels, max_pixels or 0))
            narrow = dataclasses.replace(spec, max_pixels=bound)
            self._bounded[max_pixels] = self.family.with_spec(narrow)
        return self._bounded[max_pixels]

    def frames(self, show: Show, store: Store) -> tuple[Frame, ...]:
        """What a showing lays before the model, in order.

        Raises:
            RecordError: The handle names neither picture nor clip.
            StoreError: It names nothing.
        """
        value = store[show.handle].value
        if isinstance(value, Image):
            return (Frame(value, None, show.max_pixels),)
        if isinstance(value, Clip):
            pairs = zip(value.frames, value.times_s, strict=True)
            return tuple(Frame(f, t, show.max_pixels) for f, t in pairs)
        raise RecordError(f"{show.handle} is a {store[show.handle].kind}: it cannot be shown")

    def size(self, frame: Frame) -> Size:
        """Size at which it is shown.

        Raises:
            GeometryError: No family shows pictures of that shape.
        """
        return self.bounded(frame.max_pixels).shown_size(frame.image.size)

    def run(self, frame: Frame, start: int) -> Run:
        """Its placeholder tokens, beginning at `start`."""
        width, height = self.size(frame)
        spec = self.family.spec
        count = width * height // spec.factor**2
        return Run(start, count, (1, height // spec.patch, width // spec.patch))

    def patches(self, frame: Frame) -> Patches:
        """Its patches."""
        family = self.bounded(frame.max_pixels)
        key = (frame.image.digest, family.name, family.spec)
        return self.cache.get(key, lambda: family.patches(frame.image.pixels))

    def digest(self, frame: Frame) -> str:
        """Identifies its pixels and how they are cut."""
        family = self.bounded(frame.max_pixels)
        text = f"{frame.image.digest}|{family.name}|{family.spec}"
        return hashlib.sha256(text.encode()).hexdigest()

    def pictures(self, segment: Segment, at: int, store: Store) -> Iterator[Picture]:
        """What a segment that begins at token `at` shows, as an engine reads it.

        Raises:
            RecordError: What it says it shows is not what it places.
        """
        shows = [s for m in segment.messages for s in m.shows] if len(segment) else []
        if [s.handle for s in shows] != [p.handle for p in segment.placements]:
            raise RecordError(
                f"a segment shows {[s.handle for s in shows]} and places "
                f"{[p.handle for p in segment.placements]}"
            )
        for show, placement in zip(shows, segment.placements, strict=True):
            frames = self.frames(show, store)
            if len(frames) != len(placement.runs):
                raise RecordError(f"{show.handle} has {len(frames)} frames, not all placed")
            for frame, run in zip(frames, placement.runs, strict=True):
                patches = self.patches(frame)
                check_rows(run, patches, self.family.spec.merge)
                moved = Run(run.start + at, run.length, run.grid)
                yield Picture(moved, self.digest(frame), patches)


def check_rows(run: Run, patches: Patches, merge: int) -> None:
    """Placeholder tokens, grid and pixel rows must agree.

    Raises:
        RecordError: They do not.
    """
    t, h, w = patches.grid
    fits = (patches.grid, patches.tokens(merge), t * h * w) == (
        run.grid,
        run.length,
        len(patches.data),
    )
    if not fits:
        raise RecordError(
            f"a picture has {run.length} placeholder tokens for grid {run.grid}, but its patches "
            f"have grid {patches.grid}, {len(patches.data)} rows, {patches.tokens(merge)} tokens"
        )
