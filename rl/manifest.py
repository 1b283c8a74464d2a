"""`manifest.json`: size and SHA-256 of every file of a checkpoint, written last."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from . import durable

NAME = "manifest.json"

NEEDED = ("state.json", "optimizer.safetensors", "model/config.json")
"""What a manifest must list, or it describes no checkpoint of ours."""


def write_manifest(folder: Path) -> None:
    """Record every file below `folder`; the files must be complete and on the disk."""
    files = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and p != folder / NAME):
        name = path.relative_to(folder).as_posix()
        files[name] = {"size": path.stat().st_size, "sha256": durable.sha256(path)}
    durable.write_json(folder / NAME, {"format": 1, "files": files})


def find_damage(folder: Path) -> str | None:
    """What is wrong with a checkpoint in a few words, or None if every checksum holds.

    Files that the manifest does not list are no damage: somebody may have put a note there.
    """
    try:
        files = durable.read_object(folder / NAME)["files"]
        found = list(_faults(folder, files))
    except FileNotFoundError:
        return f"{NAME} is missing"
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as err:
        return f"{NAME} cannot be read ({type(err).__name__}: {err})"
    more = f" and {len(found) - 3} more" if len(found) > 3 else ""
    return "; ".join(found[:3]) + more if found else None


def _faults(folder: Path, files: dict[str, dict[str, Any]]) -> Iterator[str]:
    for name in NEEDED:
        if name not in files:
            yield f"{NAME} does not list {name}"
    for name, entry in sorted(files.items()):
        fault = _fault(folder / name, entry["size"], entry["sha256"])
        if fault:
            yield f"{name} {fault}"


def _fault(path: Path, size: int, digest: str) -> str | None:
    if not path.is_file():
        return "is missing"
    if path.stat().st_size != size:
        return f"has {path.stat().st_size} bytes, not {size}"
    return None if durable.sha256(path) == digest else "does not match its checksum"
