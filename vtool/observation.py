"""What a tool may know of its surroundings, and what it gives back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from vtool.geometry import Box, Point, Region, Shape, Span
from vtool.message import Json
from vtool.store import Value
from vtool.transform import Affine


@dataclass(frozen=True, slots=True)
class Way:
    """How a result lies on a value that the call was given.

    Args:
        of: That value, as the tool got it.
        transform: From the result's unit square (or the cell's) to that value's; the identity
            for drawings, masks and maps of equal extent.
        cell: The part of the result for which this holds; all of it where left out. A result
            with several cells (a contact sheet) has a way for each.
    """

    of: Value
    transform: Affine = field(default_factory=Affine.identity)
    cell: Box | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """Something found in a picture; a tool never writes coordinates itself.

    Args:
        shape: Where, in unit coordinates.
        label: What it is, in a word or a line.
        score: How sure the tool is, 0 to 1, where it has such a number.
        of: The picture it lies in: one that the call was given, or one of the results; the
            first that the call was given where left out.
        facts: What else is known of it, such as `{"distance_m": 1.52}`.
    """

    shape: Shape
    label: str = ""
    score: float | None = None
    of: Value | None = None
    facts: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Observation:
    """What a tool gives back.

    Args:
        values: New things for the store, in order.
        text: Words for the model.
        show: Whether pictures and clips among the values are laid before the model; values that
            are not pictures never become tokens.
        effective: The places really used, where they differ from those asked for, as regions of
            the arguments' pictures; told to the model.
        found: What was found where; told to the model in its own coordinates.
        ways: For each value, how it lies on what it was made from: nothing where there is no
            such map (places on it are then `Unmappable`). Crops, resizes and turns carry their
            own lineage and need none.
    """

    values: tuple[Value, ...] = ()
    text: str = ""
    show: bool = True
    effective: tuple[Box | Point | Span, ...] = ()
    found: tuple[Finding, ...] = ()
    ways: tuple[tuple[Way, ...], ...] = ()


ToolReturn: TypeAlias = Value | str | Observation


@dataclass(frozen=True, slots=True)
class Call:
    """What a tool may know of its surroundings, if its function asks for a `Call` argument."""

    seed: int
    """For tools that draw: a function of episode and call, never of the clock."""
    places: Mapping[str, tuple[Region, ...]]
    """Places as bound, with the picture they lie in."""


class Settings:
    """Base of a tool's settings: a frozen dataclass that people fill in and models never see."""
