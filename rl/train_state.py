"""What a training run is besides its weights, as plain JSON and tensors."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any

from torch import Tensor

from vtool.errors import CheckpointError

LIBRARIES = ("vtool-agent", "torch", "transformers", "safetensors", "numpy")


def versions_here() -> dict[str, str]:
    """Versions of what can change a run's numbers."""
    found = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "absent"
    return found


def recipe_hash(recipe: Mapping[str, Any]) -> str:
    """SHA-256 of a recipe's canonical JSON; key order does not count."""
    text = json.dumps(recipe, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class TrainState:
    """Everything that a resumed run needs besides `model/`; all but the tensors is plain JSON.

    Attributes:
        step: Optimiser steps done.
        tensors: Of the optimiser, by name; see `optimizer_state.optimizer_tensors`.
        optimizer: The layout that belongs to `tensors`.
        rng: Of `rng.capture`.
        cursor: Where the data stream stands.
        adaptive: Coefficients that the run itself moves (KL or entropy weight, alarm windows).
        schedule: State of the learning-rate schedule.
        recipe: The resolved recipe, as plain values.
        weight_version: Version of the weights that the engines know these as.
        versions: Of the libraries that wrote it.
    """

    step: int
    tensors: Mapping[str, Tensor] = field(default_factory=dict)
    optimizer: Mapping[str, Any] = field(default_factory=dict)
    rng: Mapping[str, Any] = field(default_factory=dict)
    cursor: Mapping[str, Any] = field(default_factory=dict)
    adaptive: Mapping[str, Any] = field(default_factory=dict)
    schedule: Mapping[str, Any] = field(default_factory=dict)
    recipe: Mapping[str, Any] = field(default_factory=dict)
    weight_version: int = 0
    versions: Mapping[str, str] = field(default_factory=versions_here)

    def __post_init__(self) -> None:
        if not isinstance(self.step, int) or self.step < 0:
            raise CheckpointError(f"a step is a whole number from 0, got {self.step!r}")

    def to_json(self) -> dict[str, Any]:
        """`state.json`: all but the tensors, and the recipe's hash."""
        body = {name: _plain(getattr(self, name)) for name in JSON_FIELDS}
        return {"format": 1, **body, "recipe_hash": recipe_hash(self.recipe)}

    @classmethod
    def from_json(cls, body: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> TrainState:
        """Back from `state.json` and the tensors.

        Raises:
            CheckpointError: Another format, missing keys, or a recipe unlike its hash.
        """
        missing = [n for n in ("format", "recipe_hash", *JSON_FIELDS) if n not in body]
        if missing or body["format"] != 1:
            raise CheckpointError(
                f"state.json is not of format 1 or lacks {', '.join(missing) or 'nothing'}: it "
                "was written by another version; resume with that version, or start a new run"
            )
        if recipe_hash(body["recipe"]) != body["recipe_hash"]:
            raise CheckpointError(
                "state.json holds a recipe that does not match its hash: it was edited. Change "
                "the recipe on the command line instead, where the difference is shown"
            )
        return cls(tensors=tensors, **{name: body[name] for name in JSON_FIELDS})


JSON_FIELDS = (
    "step",
    "optimizer",
    "rng",
    "cursor",
    "adaptive",
    "schedule",
    "recipe",
    "weight_version",
    "versions",
)


def _plain(value: object) -> object:
    return dict(value) if isinstance(value, Mapping) else value
