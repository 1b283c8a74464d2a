"""What a trial is set up with beside its questions: its recipe and the weights that it starts from.

A name that ships means what the package of the day makes of it. A row says by a hash what that
was, so that a folder never holds results of two meanings under one name.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from vtool.loading import weights_digest

from ..assembly import model_folder
from ..recipe import Recipe
from ..recipe_about import About


def setup_of(recipe: Recipe) -> str:
    """Hash of a recipe, and of the weights of the checkpoint that it starts from.

    Args:
        recipe: Of a trial, before its questions are files: no path of the folder may be in it.

    Raises:
        CheckpointError: There is no such checkpoint.
    """
    # Left out is what changes no result, or stands in the trial's name; the model is told by its
    # weights, wherever they lie.
    bare = replace(recipe, name="", about=About(), seed=0, model="")
    body = json.dumps(bare, sort_keys=True, default=chosen)
    told = f"{body} {weights_of(model_folder(recipe.model))}"
    return hashlib.sha256(told.encode()).hexdigest()[:16]


def chosen(thing: object) -> Any:
    """For JSON: of a dataclass what is not as by default, so that a new key changes no hash."""
    if isinstance(thing, Mapping):
        return dict(thing)
    if not is_dataclass(thing):
        return str(thing)
    held = {f.name: (getattr(thing, f.name), default_of(f)) for f in fields(thing)}
    return {name: value for name, (value, plain) in held.items() if value != plain}


def default_of(field: Any) -> Any:
    """What a field of a dataclass holds where it is left out; MISSING where it may not be."""
    made = field.default_factory
    return field.default if made is MISSING else made()


def weights_of(folder: Path) -> str:
    """Hash of a checkpoint's weights; the bytes are read once a process, and when they change."""
    files = ((p, p.stat()) for p in sorted(folder.glob("*.safetensors")))
    return _digest(folder, tuple((p.name, s.st_size, s.st_mtime_ns) for p, s in files))


@cache
def _digest(folder: Path, state: tuple[tuple[str, int, int], ...]) -> str:
    """Remembered for as long as sizes and times of the files stay."""
    return weights_digest(folder)
