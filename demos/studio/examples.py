"""Questions to begin with: pictures and videos of the small worlds, drawn when the studio opens."""

from __future__ import annotations

from pathlib import Path

from vtool.media import Image
from vtool.worlds.zoom import Kind, Split, draw

_SEEDS = ((11, Kind.ONE), (23, Kind.TWO), (7, Kind.NONE), (42, Kind.ONE))
FOREIGN = "what is the man holding?"
"""A question that no shipped policy can know the answer of."""


def picture_examples(root: Path) -> list[list[str]]:
    """Pictures as files, each with its question.

    Args:
        root: Where the files go.
    """
    folder = root / "examples"
    folder.mkdir(parents=True, exist_ok=True)
    rows = [_example(folder, seed, kind) for seed, kind in _SEEDS]
    return [*rows, [rows[0][0], FOREIGN]]


def _example(folder: Path, seed: int, kind: Kind) -> list[str]:
    scene = draw(seed, kind=kind, split=Split.HELD_OUT)
    path = folder / f"{kind.value}-{seed}.png"
    path.write_bytes(Image(scene.pixels).encode("PNG"))
    return [str(path), scene.question]
