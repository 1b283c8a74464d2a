"""Where the files that come with vtool lie: `assets/` in a checkout, `vtool.assets` installed."""

from __future__ import annotations

import importlib.resources
from pathlib import Path

from vtool.errors import DataError, nearest


def shipped(name: str) -> Path:
    """Path of a shipped file or folder, such as ``tiny/weak``.

    Raises:
        DataError: This installation does not hold it.
    """
    for root in _roots():
        if (root / name).exists():
            return root / name
    raise DataError(f"vtool ships no {name!r}{nearest(name, shipped_checkpoints())}")


def shipped_checkpoints() -> list[str]:
    """Names of the shipped policies, such as ``tiny/clean``; empty if there are none here."""
    found = {
        f"tiny/{config.parent.name}"
        for root in _roots()
        for config in sorted((root / "tiny").glob("*/config.json"))
    }
    return sorted(found)


def _roots() -> list[Path]:
    try:
        installed = Path(str(importlib.resources.files("vtool.assets")))
    except ModuleNotFoundError:
        return []
    return [installed] if installed.is_dir() else []
