"""From a picture of the store to placeholder tokens and patches, within a pixel bound."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from vtool.engines.base import Picture
from vtool.errors import RecordError
from vtool.families.base import Family, Patches
from vtool.geometry import Size
from vtool.media import Clip, Image
from vtool.message import Show
from vtool.patch_cache import PatchCache
from vtool.record import Run, Segment
from vtool.store import Store


class ClipForm(StrEnum):
    """What the frames of a clip become."""

    PICTURES = "pictures"
    """A picture each, its time before it in words."""
    VIDEO = "video"
    """Video tokens, as the family was trained with: two frames share theirs; times stand in words
    before each pair (Qwen3-VL) or in the positions (Qwen2.5-VL)."""


@dataclass(frozen=True, slots=True)
class Frame:
    """What one run of placeholders shows: an image, a frame of a clip, or several as video."""

    images: tuple[Image, ...]
    max_pixels: int | None
    time_s: float | None = None
    """Told in words before it."""
    times_s: tuple[float, ...] = ()
    """Of each frame."""
    video: bool = False

    @property
    def size(self) -> Size:
        """Width and height before it is shown."""
        return self.images[0].size


class Showing:
    """Sizes, token counts and patches of pictures as one family sees them.

    Args:
        family: Says how pictures are cut.
        cache: Holds patches; shared by all renderers of a process if it is given.
        clips: What the frames of clips become.
    """

    def __init__(
        self,
        family: Family,
        cache: PatchCache | None = None,
        clips: ClipForm = ClipForm.PICTURES,
    ) -> None:
        self.family, self.clips = family, clips
        self.cache = cache if cache is not None else PatchCache()
        self._bounded: dict[int | None, Family] = {None: family}
        self._spelt: dict[int | None, str] = {}

    def bounded(self, max_pixels: int | None) -> Family:
        """The family under a narrower bound, never below its own minimum."""
        if max_pixels not in self._bounded:
            spec = self.family.spec
            bound = min(spec.max_pixels, max(spec.min_pixels, max_pixels or 0))
            narrow = dataclasses.replace(spec, max_pixels=bound)
            self._bounded[max_pixels] = self.family.with_spec(narrow)
        return self._bounded[max_pixels]

    def rule(self, max_pixels: int | None) -> str:
        """Identifies how pictures are cut under a bound."""
        if max_pixels not in self._spelt:
            family = self.bounded(max_pixels)
            self._spelt[max_pixels] = f"{family.name}|{family.spec}"
        return self._spelt[max_pixels]

    def frames(self, show: Show, store: Store) -> tuple[Frame, ...]:
        """What a showing lays before the model, in order.

        Raises:
            RecordError: The handle names neither picture nor clip.
            StoreError: It names nothing.
        """
        value = store[show.handle].value
        if isinstance(value, Image):
            return (Frame((value,), show.max_pixels),)
        if isinstance(value, Clip) and self.clips is ClipForm.VIDEO:
            return tuple(self._video(value, show.max_pixels))
        if isinstance(value, Clip):
            pairs = zip(value.frames, value.times_s, strict=True)
            return tuple(Frame((f,), show.max_pixels, t, (t,)) for f, t in pairs)
        raise RecordError(f"{show.handle} is a {store[show.handle].kind}: it cannot be shown")

    def _video(self, clip: Clip, max_pixels: int | None) -> Iterator[Frame]:
        """A temporal unit each where text stands between them, else all of it.

        Source: `Qwen3VLProcessor` of transformers: a unit's time is the middle of its first and
        last frame; the last frame is repeated to fill a unit.
        """
        frames, times = clip.frames, clip.times_s
        if not self.family.frames_apart:
            yield Frame(frames, max_pixels, None, times, True)
            return
        most = self.family.spec.temporal
        for at in range(0, len(frames), most):
            of = times[at : at + most]
            middle = (of[0] + of[-1]) / 2
            yield Frame(frames[at : at + most], max_pixels, middle, of, True)

    def size(self, frame: Frame) -> Size:
        """Size at which it is shown.

        Raises:
            GeometryError: No family shows pictures of that shape.
        """
        return self.bounded(frame.max_pixels).shown_size(frame.size)

    def run(self, frame: Frame, start: int) -> Run:
        """Its placeholder tokens, beginning at `start`."""
        width, height = self.size(frame)
        spec = self.family.spec
        units = -(-len(frame.images) // spec.temporal) if frame.video else 1
        count = units * (width * height // spec.factor**2)
        return Run(start, count, (units, height // spec.patch, width // spec.patch))

    def patches(self, frame: Frame) -> Patches:
        """Its patches."""
        family = self.bounded(frame.max_pixels)
        key = (_identity(frame), self.rule(frame.max_pixels))
        if frame.video:
            pixels = [i.pixels for i in frame.images]
            return self.cache.get(key, lambda: family.clip_patches(pixels))
        return self.cache.get(key, lambda: family.patches(frame.images[0].pixels))

    def digest(self, frame: Frame) -> str:
        """Identifies its pixels, how they are cut, and where positions follow the clock, when."""
        text = f"{_identity(frame)}|{self.rule(frame.max_pixels)}"
        if clock := self.clock(frame):
            text += f"|{clock}"
        return hashlib.sha256(text.encode()).hexdigest()

    def clock(self, frame: Frame) -> tuple[float, ...]:
        """Time of each temporal unit of a run that holds several, else nothing."""
        temporal = self.family.spec.temporal
        return frame.times_s[::temporal] if len(frame.images) > temporal else ()

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
                clock = self.clock(frame)
                yield Picture(moved, self.digest(frame), patches, frame.video, clock)


def _identity(frame: Frame) -> str:
    if not frame.video:
        return frame.images[0].digest
    return "video:" + ",".join(i.digest for i in frame.images)


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
