"""Wire syntax: how models write calls and answers. Dialects are made by name, with options.

A published package adds its own through the entry point group `vtool.dialects`; what it names
is a callable that takes options and answers a `Dialect`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from vtool.dialects.base import Dialect
from vtool.dialects.hermes import Hermes
from vtool.dialects.inline import Inline
from vtool.errors import RecipeError, nearest
from vtool.geometry import Convention, Units
from vtool.registry import Registry

DialectMaker = Callable[..., Dialect]

dialects: Registry[DialectMaker] = Registry("dialect", "vtool.dialects")
"""Makers of dialects, by name."""
dialects.add("hermes", Hermes)
dialects.add("inline", Inline)


def make_dialect(name: str, options: Mapping[str, Any] | None = None) -> Dialect:
    """Make a dialect by name.

    Args:
        name: Such as `hermes`.
        options: Its settings; `coordinates` may be a mapping such as
            `{"units": "shown", "order": "xyxy"}`.

    Raises:
        UnknownName: No dialect of that name.
        RecipeError: An option that it does not have.
    """
    maker = dialects.get(name)
    given = dict(options or {})
    if dataclasses.is_dataclass(maker):
        known = [f.name for f in dataclasses.fields(maker)]
        for key in given:
            if key not in known:
                raise RecipeError(
                    f"dialect {name} has no option {key!r}{nearest(key, known)}; "
                    f"it has {', '.join(known)}"
                )
    if isinstance(given.get("coordinates"), Mapping):
        given["coordinates"] = _convention(name, given["coordinates"])
    return maker(**given)


def _convention(name: str, told: Mapping[str, Any]) -> Convention:
    known = ("units", "order", "canvas", "digits")
    if set(told) - set(known) or told.get("units") not in list(Units):
        raise RecipeError(
            f"coordinates of dialect {name}: expected {', '.join(known)} with units one of "
            f"{', '.join(Units)}, got {dict(told)}"
        )
    canvas = tuple(told["canvas"]) if told.get("canvas") else None
    order = told.get("order", "xyxy")
    return Convention(Units(told["units"]), order, canvas, told.get("digits"))
