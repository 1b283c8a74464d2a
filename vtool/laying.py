"""Masks laid where a call needs them: a mask is a part of one picture, never of another.

A mask made on a crop and used with the whole picture is carried there by what the store knows of
both; without such a way the call is refused. Stretching it over the other picture would measure
and paint the wrong place in silence.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import astuple

from vtool.errors import FaultCode, ModelFault
from vtool.geometry import Mask
from vtool.store import Store
from vtool.transform import Affine, sample_cells

_SAME = 1e-6
"""Maps that differ by less in unit coordinates are one; far below a cell of any grid."""
LEAST_KEPT = 0.98
"""Share of a mask that must lie on a map that measures it: half a cup has no size."""


def lay_mask(mask: Mask, of: str, on: str, store: Store, field: str) -> Mask:
    """A mask on another entry's extent; the mask itself where both have one extent.

    Args:
        mask: The mask.
        of: Its handle.
        on: Handle of the picture, map or mask with which it is used.
        store: Says how both came to be.
        field: Argument to name in errors.

    Raises:
        ModelFault: `bad_args`, where no way leads from one to the other, where nothing of the
            mask lies there, or where a map or mask would hold only a part of it.
    """
    origin = store[of].origin
    if origin.parent is None or (origin.parent == on and origin.transform is None):
        return (
            mask  # nobody said how it lies on anything: its proportions are all there is to check
        )
    way = way_between(of, on, store)
    if way is None:
        raise _foreign(of, on, store, field)
    if is_identity(way):
        return mask
    size = store.size(on)
    assert size is not None
    laid = Mask(sample_cells(mask.cells, way.inverse(), *size))
    if not laid.cells.any():
        raise ModelFault(
            FaultCode.BAD_ARGS,
            f"nothing of ${of} lies on {on}",
            hint=f"use {store.source(of)}, or make a mask on {on}",
            field=field,
        )
    if store[on].kind != "image":
        _check_whole(mask, laid, way, of, on, field)
    return laid


def way_between(of: str, on: str, store: Store) -> Affine | None:
    """From the unit square of one entry to that of another that shares a source with it.

    Returns:
        None where they share nothing, or a step on the way has no map.
    """
    if of == on:
        return Affine.identity()
    up = dict(_ancestors(of, store))
    for handle, way in _ancestors(on, store):
        if handle in up:
            return up[handle].then(way.inverse())
    return None


def is_identity(way: Affine) -> bool:
    """Whether a map leaves every place where it is."""
    same = astuple(Affine.identity())
    return all(abs(a - b) < _SAME for a, b in zip(astuple(way), same, strict=True))


def _ancestors(handle: str, store: Store) -> Iterator[tuple[str, Affine]]:
    """An entry and what it was made from, nearest first, each with the map that leads there."""
    way = Affine.identity()
    while True:
        yield handle, way
        origin = store[handle].origin
        if origin.parent is None or origin.transform is None:
            return
        handle, way = origin.parent, way.then(origin.transform)


def _check_whole(mask: Mask, laid: Mask, way: Affine, of: str, on: str, field: str) -> None:
    scale = abs(way.a * way.e - way.b * way.d)
    kept = laid.area / (mask.area * scale) if mask.area else 1.0
    if kept < LEAST_KEPT:
        raise ModelFault(
            FaultCode.BAD_ARGS,
            f"only {kept:.0%} of ${of} lies on {on}: the rest would be left out of the measure",
            hint="make both on one picture",
            field=field,
        )


def _foreign(of: str, on: str, store: Store, field: str) -> ModelFault:
    return ModelFault(
        FaultCode.BAD_ARGS,
        f"${of} is a part of {store.source(of)}, and no way leads from there to {on}",
        hint=f"make the mask on the picture with which it is used ({store.source(on)})",
        field=field,
    )
