"""Several evaluations that differ in one thing: a budget, or the tools."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

from vtool.environment import Limits
from vtool.errors import DataError
from vtool.tool import tools
from vtool.toolbox import Toolbox

from .run import Settings


@dataclass(frozen=True, slots=True)
class Variant:
    """One of several evaluations.

    Args:
        name: What its folder is called.
        toolbox: Tools on offer.
        settings: How it is played.
    """

    name: str
    toolbox: Toolbox
    settings: Settings


def budgets(settings: Settings, toolbox: Toolbox, words: str) -> list[Variant]:
    """The same evaluation under several values of one limit.

    Args:
        settings: All else.
        toolbox: Tools on offer.
        words: A limit and its values, such as ``max_turns=1,2,4``.

    Raises:
        DataError: No such limit, or values that are none.
    """
    name, _, values = words.partition("=")
    known = {f.name: float if f.name == "seconds" else int for f in fields(Limits)}
    if name not in known:
        raise DataError(f"expected a limit, one of {', '.join(known)}, got {name!r}")
    try:
        numbers = [known[name](v) for v in values.split(",")]
    except ValueError as err:
        raise DataError(f"expected {name}=NUMBER,NUMBER,..., got {words!r}") from err
    if not all(n > 0 for n in numbers):  # NaN is none either
        raise DataError(f"expected limits above zero, got {words!r}")
    return [_under(settings, toolbox, name, n) for n in dict.fromkeys(numbers)]


def _under(settings: Settings, toolbox: Toolbox, limit: str, number: float) -> Variant:
    limits = replace(settings.limits, **{limit: number})
    label = f"{limit}={number}"
    named = replace(settings, limits=limits, name=f"{settings.name} {label}")
    return Variant(label, toolbox, named)


def ablation(settings: Settings, toolbox: Toolbox) -> list[Variant]:
    """No tool, the chosen ones, all that can run here, and the chosen ones at random places."""

    def named(name: str, box: Toolbox, control: str | None = None) -> Variant:
        changed = replace(settings, name=f"{settings.name} {name}", control=control)
        return Variant(name, box, changed)

    return [
        named("none", toolbox, "off"),
        named("chosen", toolbox),
        named("all", everything()),
        named("random_box", toolbox, "random_box"),
    ]


def everything() -> Toolbox:
    """Every registered tool that can run on this machine."""
    return Toolbox([name for name in tools.names() if not tools.get(name).lacks()])


def controlled(settings: Settings, toolbox: Toolbox, names: Sequence[str]) -> list[Variant]:
    """The evaluation itself, and one under each control."""
    return [
        Variant(name or "main", toolbox, replace(settings, control=name))
        for name in (None, *dict.fromkeys(names))
    ]
