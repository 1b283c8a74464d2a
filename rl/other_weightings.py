"""Other ways to weigh the same marks: what the credit report compares a recipe's reward with."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from vtool.combine import weighted
from vtool.errors import RecipeError
from vtool.reward import Combine, RewardPart, Site, combines


@dataclass(frozen=True)
class OtherSpec:
    """Another combine of the same parts.

    Args:
        combine: Registered combine.
        options: Of the combine.
    """

    combine: str = "weighted"
    options: Mapping[str, Any] = field(default_factory=dict)


def make_combine(name: str, options: Mapping[str, Any]) -> Combine:
    """A combine by name.

    Raises:
        UnknownName: Names the nearest.
        RecipeError: Options that it does not have.
    """
    try:
        return combines.get(name)(**options)
    except TypeError as err:
        known = ", ".join(inspect.signature(combines.get(name)).parameters)
        raise RecipeError(f"combine {name!r}: {err}; its options: {known}") from err


def all_options(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """What a combine is made with, its defaults included."""
    bound = inspect.signature(combines.get(name)).bind(**options)
    bound.apply_defaults()
    out = dict(bound.arguments)
    for given in bound.signature.parameters.values():
        if given.kind is given.VAR_KEYWORD:
            out |= out.pop(given.name)
    return out


def other_weightings(
    name: str,
    options: Mapping[str, Any],
    parts: Sequence[RewardPart],
    outcome: str,
    named: Mapping[str, OtherSpec],
) -> dict[str, Combine]:
    """The outcome alone, the reward without each part that it weighs, and what a recipe names.

    Args:
        name: Combine of the recipe.
        options: Of the combine.
        parts: That are judged.
        outcome: The part that says how right the answer is.
        named: Further combines, by the name under which they are told.

    Raises:
        UnknownName: No such combine.
        RecipeError: A combine that does not fit the parts; it is tried once.
    """
    judged = {p.name: p for p in parts}
    whole = all_options(name, options)
    found: dict[str, Combine] = {}
    if outcome in judged and judged[outcome].site is Site.EPISODE:
        found[f"{outcome} alone"] = weighted({outcome: 1.0})
    inside = [n for value in whole.values() for n in weighed(value, judged)]
    for part in dict.fromkeys(inside):
        rest = {key: without(value, part) for key, value in whole.items()}
        found[f"without {part}"] = make_combine(name, rest)
    for told, spec in named.items():
        made = make_combine(spec.combine, spec.options)
        try:
            made({n: [1.0] if p.site is Site.TURN else 1.0 for n, p in judged.items()})
        except RecipeError as err:
            raise RecipeError(f"reward.others.{told}: {err}") from err
        found[told] = made
    return found


def weighed(options: Any, parts: Mapping[str, Any]) -> Iterator[str]:
    """Parts that stand with a weight, or in a list, somewhere in a value of the options."""
    if isinstance(options, Mapping):
        for key, value in options.items():
            if key in parts and not isinstance(value, str | Mapping | None):
                yield key
            else:
                yield from weighed(value, parts)
    elif isinstance(options, list | tuple):
        yield from (v for v in options if isinstance(v, str) and v in parts)


def without(options: Any, part: str) -> Any:
    """A value of the options with a part taken out of all weights and lists."""
    if isinstance(options, Mapping):
        return {k: without(v, part) for k, v in options.items() if k != part}
    if isinstance(options, list | tuple):
        return [v for v in options if v != part]
    return options
