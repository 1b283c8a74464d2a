"""May this run be continued with that recipe? Differences are shown key by key."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

from vtool.errors import CheckpointError

HARMLESS = frozenset({"about", "checkpoint_every", "keep", "tensorboard", "trace_every"})
"""Keys that decide what a run tells and keeps, not what it learns."""

ABSENT = "(absent)"


@dataclass(frozen=True, slots=True)
class Difference:
    """One key at which two recipes differ; `old` and `new` are JSON, or `(absent)`."""

    key: str
    old: str
    new: str

    def __str__(self) -> str:
        return f"{self.key}: {self.old} -> {self.new}"


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[Difference, ...]:
    """Where two recipes differ, by dotted key; tuples equal lists, 1 equals 1.0 but not True."""
    before, after = dict(_flat(old)), dict(_flat(new))
    keys = sorted(before.keys() | after.keys())
    return tuple(
        Difference(key, before.get(key, ABSENT), after.get(key, ABSENT))
        for key in keys
        if not _same(before.get(key), after.get(key))
    )


def harmless_keys(recipe: Mapping[str, Any]) -> frozenset[str]:
    """Keys that cannot change what is learnt; `steps` only where no schedule counts them."""
    schedule = recipe.get("learner", {}).get("schedule", "constant")
    return HARMLESS | {"steps"} if schedule == "constant" else HARMLESS


def unforced(
    found: Sequence[Difference], force: Sequence[str], harmless: Set[str] = HARMLESS
) -> tuple[Difference, ...]:
    """The differences that are neither harmless nor allowed by name (or by a parent's name)."""
    return tuple(
        d
        for d in found
        if d.key not in harmless
        and d.key.partition(".")[0] not in harmless
        and not any(d.key == f or d.key.startswith(f"{f}.") for f in force)
    )


def check_resume(
    old_recipe: Mapping[str, Any], new_recipe: Mapping[str, Any], force: Sequence[str] = ()
) -> tuple[Difference, ...]:
    """Allow or refuse a resume under another recipe.

    Args:
        old_recipe: As saved in the checkpoint.
        new_recipe: As resolved now. Put a fingerprint of the data in both to have it compared.
        force: Dotted keys that may differ; a key allows everything below it.

    Returns:
        Every difference, to be shown before the run goes on.

    Raises:
        CheckpointError: A key differs that is neither harmless nor forced.
    """
    found = differences(old_recipe, new_recipe)
    bad = unforced(found, force, harmless_keys(new_recipe))
    if bad:
        lines = "\n".join(f"  {d}" for d in found)
        flags = " ".join(f"--force {d.key}" for d in bad)
        raise CheckpointError(
            f"this run was started with another recipe (saved -> now):\n{lines}\n"
            f"Resume with the saved recipe, or allow each key: {flags}"
        )
    return found


def _flat(value: object, path: str = "") -> Iterator[tuple[str, str]]:
    """Leaves as (dotted key, JSON); lists are leaves unless they hold mappings."""
    children: list[tuple[str, object]] = []
    if isinstance(value, Mapping):
        children = [(str(k), v) for k, v in value.items()]
    elif isinstance(value, list | tuple) and any(isinstance(v, Mapping) for v in value):
        children = [(str(i), v) for i, v in enumerate(value)]
    for key, child in children:
        yield from _flat(child, f"{path}.{key}" if path else key)
    if not children and path:
        yield path, json.dumps(value, sort_keys=True)


def _same(one: str | None, other: str | None) -> bool:
    if one is None or other is None or one == other:
        return one == other
    a, b = json.loads(one), json.loads(other)
    numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in (a, b))
    return numbers and bool(a == b)
