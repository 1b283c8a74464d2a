"""The questions of a comparison: worlds as files that all trials share, and whether they still are.

A world is written once a folder. What makes it is code, which may change while the folder stays:
then it is made again beside, and compared. Where the code is as it was, that costs nothing.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
from collections.abc import Iterable, Iterator
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from types import CellType
from typing import Any, Final

import vtool.worlds
from vtool.errors import DataError, RecipeError
from vtool.worlds.dataset import TASKS_FILE
from vtool.worlds.world import World, worlds

from .. import durable
from ..recipe import DataSpec, Recipe
from ..world_files import WORLD_FILE, write_world

MADE: Final = "made.json"
"""Says of the world beside it which code is known to make it."""


def filed(spec: DataSpec, out: Path) -> DataSpec:
    """The same tasks, read from a folder that is named after how they were made.

    Raises:
        DataError: The world in that folder is not the one that is made today.
    """
    if spec.path is not None:
        return spec
    if spec.worlds:
        raise RecipeError(f"a ground is one world, not {', '.join(spec.worlds)}")
    told = [f"{k}-{v}" for k, v in sorted(spec.options.items())]
    folder = out / "worlds" / "_".join([str(spec.world), *told]).replace("/", "-")
    begun = not folder.is_dir()
    write_world(spec, folder)
    check_made(spec, folder, new=begun)
    return replace(spec, path=str(folder))


def check_made(spec: DataSpec, folder: Path, *, new: bool) -> None:
    """Refuse a world that is made otherwise today, and remember of what is not.

    Args:
        spec: How it is made.
        folder: Where it lies.
        new: Whether it was made just now.

    Raises:
        DataError: Its code changed, and its questions with it.
    """
    code, path = code_of(worlds.get(str(spec.world))), folder / MADE
    known = bool(code) and path.is_file() and durable.read_object(path).get("code") == code
    if known and not new:
        return
    if not new and made_anew(spec, folder) != digest_of(folder):
        raise DataError(
            f"{folder} holds other questions than world {spec.world} makes today: its code, or "
            "what writes its pictures, changed since. What was played on them is no result of "
            f"today's world: choose another --out, or remove {folder.parent.parent}"
        )
    durable.replace_json(path, {"code": code})


def made_anew(spec: DataSpec, folder: Path) -> str:
    """What the world comes to when it is made now."""
    beside = folder.with_name(folder.name + ".anew")
    durable.discard(beside)
    try:
        return digest_of(write_world(spec, beside))
    finally:
        durable.discard(beside)


def questions_of(recipe: Recipe) -> str:
    """Hash of what is asked in training and held out: rows and pictures.

    Of a file of yours, which may bring any amount of pictures, only the rows are read.

    Args:
        recipe: With its questions as files.
    """
    told = [identity(Path(str(spec.path))) for spec in (recipe.data, recipe.eval.data)]
    return hashlib.sha256(" ".join(told).encode()).hexdigest()[:16]


def identity(path: Path) -> str:
    """Hash of one set of questions."""
    if (path / MADE).is_file():
        return digest_of(path)
    return durable.sha256(path / TASKS_FILE if path.is_dir() else path)


def digest_of(folder: Path) -> str:
    """Hash of the names and bytes of a world's files."""
    found = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        name = path.relative_to(folder).as_posix()
        if name not in (MADE, WORLD_FILE):
            found.update(f"{name} {durable.sha256(path)}\n".encode())
    return found.hexdigest()


def code_of(world: World) -> str:
    """Hash of the sources that make a world: ours, and those of the package that brings it.

    Empty where no source of what makes it is found: then nobody knows whether that changed.
    """
    made_by = filter(inspect.isfunction, functions((world.make,), {}))
    if not any(map(home_of, made_by)):
        return ""
    files = {*packaged(Path(vtool.worlds.__file__))}
    for thing in functions((world.make, world.best, world.guess), {}):
        home, module = home_of(thing), inspect.getmodule(thing)
        if home is not None:
            files |= {*packaged(home)} if getattr(module, "__package__", "") else {home}
    sources = (durable.sha256(path) for path in sorted(files) if path.is_file())
    return hashlib.sha256(" ".join(sources).encode()).hexdigest()


def home_of(thing: Any) -> Path | None:
    """The file that a function or class is written in; None where there is none to read."""
    home = getattr(inspect.getmodule(thing), "__file__", None)
    return Path(home) if home is not None and Path(home).is_file() else None


def packaged(path: Path) -> Iterator[Path]:
    """The modules beside one in its package."""
    return path.parent.glob("*.py")


def functions(given: Iterable[Any], seen: dict[int, Any]) -> Iterator[Any]:
    """Functions and classes, and those that they were made of.

    Args:
        given: Functions, partials, objects that can be called; all else is passed over.
        seen: What was met, by its id: a helper that calls itself is in its own closure.
    """
    for thing in given:
        if id(thing) in seen or not callable(thing):
            continue
        seen[id(thing)] = thing
        if inspect.isroutine(thing) or inspect.isclass(thing):
            yield thing
        yield from functions(parts(thing), seen)


def parts(thing: Any) -> Iterator[Any]:
    """What a function or an object that can be called holds: there may be functions in it."""
    held = getattr(thing, "__dict__", {})
    yield held.get("__wrapped__")
    if isinstance(thing, functools.partial):
        yield from (thing.func, *thing.args, *thing.keywords.values())
    elif inspect.ismethod(thing):
        yield from (thing.__func__, thing.__self__, type(thing.__self__))
    elif inspect.isroutine(thing):
        # `maker` keeps the drawing in a closure; a cell is empty while its name is not bound.
        cells = getattr(thing, "__closure__", None) or ()
        yield from (c.cell_contents for c in cells if not is_empty(c))
    elif not inspect.isclass(thing):
        yield from (type(thing), type(thing).__call__, *held.values())
        if is_dataclass(thing):
            yield from (getattr(thing, f.name, None) for f in fields(thing))


def is_empty(cell: CellType) -> bool:
    """Whether a closure's variable holds nothing."""
    try:
        _ = cell.cell_contents
    except ValueError:
        return True
    return False
