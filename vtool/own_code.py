"""Code of one's own, imported before a command runs: what it registers is there by name.

A published package is found by its entry points; a file that somebody is still writing is named on
the command line. It runs with the rights of whoever names it, as `python FILE` does.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterable
from pathlib import Path

from vtool.errors import DataError

_named: dict[str, None] = {}


def named() -> tuple[str, ...]:
    """What was imported, for processes that must import the same."""
    return tuple(_named)


def import_own(names: Iterable[str]) -> None:
    """Import files and modules.

    Args:
        names: A `.py` file each, or the dotted name of a module that can be imported from here.

    Raises:
        DataError: It is not there, would hide another module, or breaks while it is imported.
    """
    for name in names:
        module = _of_file(Path(name)) if name.endswith(".py") else _reachable(name, Path.cwd())
        try:
            importlib.import_module(module)
        except SystemExit as err:  # the command would end with its status, having done nothing
            raise DataError(
                f"--import {name}: it ends the program (SystemExit: {err}) while it is imported: "
                "let it do so only under `if __name__ == '__main__':`"
            ) from err
        except Exception as err:  # whatever a stranger's code raises
            raise DataError(f"--import {name}: {type(err).__name__}: {err}") from err
        # By absolute path: who imports it again may stand elsewhere.
        _named[str(Path(name).resolve()) if name.endswith(".py") else name] = None


def _of_file(path: Path) -> str:
    """The name under which a file can be imported, its folder on the path."""
    if not path.is_file():
        raise DataError(f"--import expects a Python file or a module; there is no file {path}")
    # A link is imported as the file it means: beside that file is what it may import itself.
    place = path.resolve()
    module = place.stem
    if not module.isidentifier():
        raise DataError(f"--import {path}: rename it: no module can be called {module!r}")
    _reachable(module, place.parent)
    found = _origin(module)
    if found is None:
        raise DataError(f"--import {path}: {place} cannot be found as module {module}")
    if not found or Path(found).resolve() != place:
        raise DataError(
            f"--import {path}: another module is called {module} ({found or 'built in'}): "
            "rename the file"
        )
    return module


def _origin(module: str) -> str | None:
    """The file of the module of that name; empty where it has none, None where it is not there."""
    try:
        spec = importlib.util.find_spec(module)
    except ValueError:  # it runs already and does not say whence, as `__main__`
        return ""
    return None if spec is None else spec.origin or ""


def _reachable(module: str, folder: Path) -> str:
    # Last, so that no file beside it takes the place of a library.
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
    importlib.invalidate_caches()
    return module
