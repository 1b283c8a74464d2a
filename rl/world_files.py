"""Worlds as files of a run: one, or several under one task file; whole or not there at all."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from vtool.errors import DataError, RecipeError
from vtool.worlds.dataset import TASKS_FILE
from vtool.worlds.photos import write_bundled_photos
from vtool.worlds.world import worlds

from . import durable
from .recipe import DataSpec

WORLD_FILE: Final = "world.json"
"""Says how the world beside it was made."""
BUNDLED: Final = "bundled"
"""As `photos` of a world: the photographs that come inside scikit-image."""


def write_world(spec: DataSpec, folder: Path) -> Path:
    """Write a world's files once; a folder that is there already is used if it was made alike.

    Raises:
        UnknownName: No such world.
        RecipeError: Options that the world does not have.
        DataError: The folder holds a world made with other options.
    """
    made: dict[str, Any] = {"world": spec.world, "options": dict(spec.options)}
    if spec.worlds:
        made = {"worlds": to_json(spec), "options": dict(spec.options)}
    if folder.is_dir():
        check_world(folder, made)
        return folder
    # A run that is killed here must not train on half a world when it is resumed.
    staging = folder.with_name(folder.name + ".incomplete")
    durable.discard(staging)
    if spec.worlds:
        _write_several(spec, staging, folder.parent)
    else:
        _write_one(spec.world or "", spec.options, staging, folder.parent)
    durable.replace_json(staging / WORLD_FILE, made)
    staging.rename(folder)
    return folder


def to_json(spec: DataSpec) -> dict[str, dict[str, Any]]:
    """The worlds of a spec and their options, as they are written down."""
    return {name: dict(options) for name, options in spec.worlds.items()}


def _write_one(name: str, options: Any, folder: Path, out: Path) -> Path:
    given: dict[str, Any] = {"seed": 0, **options}
    if given.get("photos") == BUNDLED:
        write_bundled_photos(out / "photos")
        given["photos"] = out / "photos"
    try:
        return worlds.get(name).make(folder, **given)
    except (TypeError, ValueError, FileNotFoundError) as err:
        raise RecipeError(f"data.options: {name}: {err}") from err


def _write_several(spec: DataSpec, folder: Path, out: Path) -> None:
    """A folder a world, and the rows of all of them in one file."""
    folder.mkdir(parents=True)
    with (folder / TASKS_FILE).open("w", encoding="utf-8") as lines:
        for name, options in spec.worlds.items():
            path = _write_one(name, {**spec.options, **options}, folder / name, out)
            lines.writelines(_moved(path, name))


def _moved(path: Path, name: str) -> Iterator[str]:
    """A world's rows, their media found from one folder above; each says which world it is of."""
    for text in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(text)
        for key in ("images", "videos"):
            if key in row:
                row[key] = [f"{name}/{media}" for media in row[key]]
        row["tags"] = {"world": name, **row.get("tags", {})}
        yield json.dumps(row) + "\n"


def check_world(folder: Path, wanted: dict[str, Any]) -> None:
    """A world that lies in a folder is used only where it was made with the same options.

    Raises:
        DataError: It was made with others, or does not say.
    """
    path = folder / WORLD_FILE
    there = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
    if there != json.loads(json.dumps(wanted, default=str)):
        raise DataError(
            f"{folder} holds tasks made with {there}, but this run asks for {wanted}: choose "
            "another --out, or remove that folder"
        )
