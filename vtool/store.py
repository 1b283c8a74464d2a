"""The episode's append-only store: every picture, clip and value, with its way back.

A store may be forked: both sides share what was there before and see only their own path
afterwards. Handles (`image_2`, `mask_1`) are stable names along a path; how a model spells
them is the dialect's business.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from vtool.camera import Camera
from vtool.errors import MediaError, StoreError, nearest
from vtool.geometry import Box, Mask, Region, Shape, Size, Unmappable, coverage
from vtool.media import Clip, Image, Op
from vtool.message import Json
from vtool.transform import Affine
from vtool.video.source import Video


@dataclass(frozen=True, slots=True, eq=False)
class DepthMap:
    """Distance per pixel along the optical axis: float32 (H, W); larger is farther.

    Args:
        values: Metres where metric, without a unit where relative.
        metric: Whether the values are metres.
        camera: What took the picture, in pixels of this map, where that is known.
    """

    values: NDArray[np.float32]
    metric: bool = False
    camera: Camera | None = None

    def __post_init__(self) -> None:
        if self.values.ndim != 2 or self.values.dtype != np.float32:
            raise MediaError(
                f"depth needs float32 (H, W), got {self.values.dtype} {self.values.shape}"
            )

    @property
    def valid(self) -> NDArray[np.bool_]:
        """Where there is a depth, bool (H, W): finite, and for metres above zero."""
        known: NDArray[np.bool_] = np.isfinite(self.values)
        return known & (self.values > 0) if self.metric else known


@dataclass(frozen=True, slots=True, eq=False)
class Cloud:
    """Points in space: float32 (N, 3), metres, x right, y down, z forward."""

    points: NDArray[np.float32]

    def __post_init__(self) -> None:
        if self.points.ndim != 2 or self.points.shape[1] != 3 or self.points.dtype != np.float32:
            raise MediaError(
                f"cloud needs float32 (N, 3), got {self.points.dtype} {self.points.shape}"
            )


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of plain values."""

    rows: tuple[Mapping[str, Json], ...]


Value: TypeAlias = Image | Clip | Video | Mask | DepthMap | Cloud | Table

_PREFIX: Mapping[type, str] = {
    Image: "image",
    Clip: "clip",
    Video: "video",
    Mask: "mask",
    DepthMap: "depth",
    Cloud: "cloud",
    Table: "table",
}


@dataclass(frozen=True, slots=True)
class Tile:
    """A part of a sheet, and the entry that it shows."""

    cell: Box
    """Where it lies on the sheet."""
    parent: str
    transform: Affine
    """From the cell's own unit square to the parent's."""

    def lift(self, shape: Shape) -> Shape | Unmappable:
        """A shape on the sheet, on the parent; `Unmappable` where it leaves the cell."""
        inside = Affine.crop(self.cell).inverse()
        if isinstance(shape, Box | Mask) and coverage(_extent(shape), self.cell) < 1 - 1e-9:
            return Unmappable("the place reaches over several pictures of the sheet")
        local = inside.apply(shape)
        return local if isinstance(local, Unmappable) else self.transform.apply(local)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where an entry came from."""

    parent: str | None = None
    """Handle of what it was made from."""
    tool: str | None = None
    transform: Affine | None = None
    """From the entry's unit square to the parent's; None where there is no such map."""
    ops: tuple[Op, ...] | None = None
    """Steps that make it again from the parent, where it is a deterministic view."""
    times_s: tuple[float, ...] | None = None
    """Source times, for frames and clips."""
    tiles: tuple[Tile, ...] = ()
    """For sheets: which part shows which entry."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing in the store."""

    handle: str
    value: Value
    digest: str
    origin: Origin
    serial: int
    """Unique in the episode, in order of arrival over all branches."""

    @property
    def kind(self) -> str:
        """image, clip, video, mask, depth, cloud or table."""
        return self.handle.rsplit("_", 1)[0]

    @property
    def number(self) -> int:
        """Which one of its kind; 0 where the handle tells none."""
        last = self.handle.rsplit("_", 1)[-1]
        return int(last) if last.isdecimal() else 0


class Store:
    """Append-only entries along one path of an episode."""

    def __init__(self, parent: Store | None = None) -> None:
        self._entries: dict[str, Entry] = dict(parent._entries) if parent is not None else {}
        self._clock: list[int] = parent._clock if parent is not None else [0]

    @classmethod
    def restore(cls, entries: Sequence[Entry]) -> Store:
        """A store that holds recorded entries, in their order.

        Raises:
            StoreError: Two of them bear one handle.
        """
        store = cls()
        store._entries = {e.handle: e for e in entries}
        if len(store._entries) < len(entries):
            twice = {h for h, n in Counter(e.handle for e in entries).items() if n > 1}
            raise StoreError(
                f"expected a handle for each entry, got {', '.join(sorted(twice))} more than once: "
                "the record is damaged"
            )
        store._clock = [1 + max((e.serial for e in entries), default=-1)]
        return store

    def fork(self) -> Store:
        """A branch that sees all of this path up to now, and then only itself."""
        return Store(self)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries.values())

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, handle: object) -> bool:
        return isinstance(handle, str) and handle in self._entries

    def __getitem__(self, handle: str) -> Entry:
        check_visible(handle, self)
        return self._entries[handle]

    def add(self, value: Value, origin: Origin | None = None) -> Entry:
        """Append a value.

        Args:
            value: Picture, clip, video, mask, depth map, cloud or table.
            origin: Where it came from; for a picture cut out of one that is here, the lineage
                says it and this may be left out.

        Raises:
            StoreError: The origin names a parent that is not visible from here.
        """
        origin = origin or Origin()
        if isinstance(value, Image) and value.lineage and origin.transform is None:
            origin = self._from_lineage(value, origin)
            # From here on the origin tells the way back, one step at a time.
            value = value.rooted()
        if isinstance(value, Clip) and origin.parent is not None and origin.times_s is None:
            origin = replace(origin, times_s=value.times_s)
        for parent in {origin.parent, *(t.parent for t in origin.tiles)} - {None}:
            self[str(parent)]
        prefix = _PREFIX[type(value)]
        # Not by count: what was restored may have gaps, and the next name would be one in use.
        number = 1 + max((e.number for e in self if e.kind == prefix), default=0)
        entry = Entry(f"{prefix}_{number}", value, value_digest(value), origin, self._clock[0])
        self._clock[0] += 1
        self._entries[entry.handle] = entry
        return entry

    def image(self, handle: str) -> Image:
        """The picture behind a handle.

        Raises:
            StoreError: No such handle, or it is no picture.
        """
        value = self[handle].value
        if not isinstance(value, Image):
            raise StoreError(f"{handle!r} is no picture")
        return value

    def images(self) -> list[Entry]:
        """All pictures, in order of arrival."""
        return [e for e in self if isinstance(e.value, Image)]

    def size(self, handle: str) -> Size | None:
        """Width and height in pixels, where the entry has them."""
        value = self[handle].value
        if isinstance(value, Image | Clip | Video):
            return value.size
        if isinstance(value, Mask):
            return (value.cells.shape[1], value.cells.shape[0])
        if isinstance(value, DepthMap):
            return (value.values.shape[1], value.values.shape[0])
        return None

    def to_source(self, region: Region) -> Region | Unmappable:
        """Follow a region through every crop, resize and turn back to the source.

        Returns:
            The region on the picture at the root, or `Unmappable` where a step has no map.
        """
        while True:
            origin = self[region.media].origin
            step = _through_tiles(region, origin) if origin.tiles else _through(region, origin)
            if step is None or isinstance(step, Unmappable):
                return region if step is None else step
            region = step

    def to_picture(self, region: Region) -> Region:
        """A place on a mask or map, on the picture that it was made from.

        Models see pictures, and are told and name places on these. The region stays where it is
        where no picture lies under it.
        """
        found = region
        while not isinstance(self[found.media].value, Image | Clip):
            step = _through(found, self[found.media].origin)
            if step is None or isinstance(step, Unmappable):
                return region
            found = step
        return found

    def source(self, handle: str) -> str:
        """Handle of the entry at the root of this one."""
        parent = self[handle].origin.parent
        return handle if parent is None else self.source(parent)

    def _from_lineage(self, image: Image, origin: Origin) -> Origin:
        assert image.lineage is not None
        for entry in self:
            named = origin.parent in (None, entry.handle)
            if named and entry.digest == image.lineage.root:
                line = image.lineage
                return Origin(entry.handle, origin.tool, line.transform, line.ops, origin.times_s)
        return origin


def _extent(shape: Box | Mask) -> Box:
    return shape if isinstance(shape, Box) else shape.box()


def _through(region: Region, origin: Origin) -> Region | Unmappable | None:
    if origin.parent is None:
        return None
    if origin.transform is None:
        return Unmappable(f"{region.media} has no map back to {origin.parent}")
    shape = origin.transform.apply(region.shape)
    return shape if isinstance(shape, Unmappable) else Region(origin.parent, shape)


def _through_tiles(region: Region, origin: Origin) -> Region | Unmappable:
    for tile in origin.tiles:
        shape = tile.lift(region.shape)
        if not isinstance(shape, Unmappable):
            return Region(tile.parent, shape)
    return Unmappable(f"the place does not lie in one picture of {region.media}")


def check_visible(handle: str, store: Store) -> None:
    """Refuse handles of other episodes, other branches, and those never given.

    Raises:
        StoreError: Names what is there.
    """
    if handle not in store:
        names = [e.handle for e in store]
        raise StoreError(
            f"no {handle!r} in this episode{nearest(handle, names)}; it holds {', '.join(names)}"
        )


def value_digest(value: Value) -> str:
    """SHA-256 of a value's content, hexadecimal."""
    if isinstance(value, Image | Clip | Video):
        return value.digest
    if isinstance(value, Table):
        return hashlib.sha256(json.dumps(value.rows, sort_keys=True).encode()).hexdigest()
    array = {Mask: "cells", DepthMap: "values", Cloud: "points"}[type(value)]
    data: NDArray[np.generic] = np.ascontiguousarray(getattr(value, array))
    unit = camera = ""
    if isinstance(value, DepthMap):
        unit = "metric" if value.metric else ""
        camera = "" if value.camera is None else repr(value.camera)
    head = f"{data.dtype}{data.shape}{unit}{camera}".encode()
    return hashlib.sha256(head + data.tobytes()).hexdigest()
