"""From drawn samples to files: pictures plus ``tasks.jsonl`` in the format that users bring."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, TypeAlias

import numpy as np
from PIL import Image

from .drawing import Pixels
from .zoom import Split, split_of

TASKS_FILE = "tasks.jsonl"
MOST_SEED = 1 << 20
TRIES = 100_000
"""Plans after which a split is held to own none; one in ten is held out."""


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One question with its pictures, as drawn."""

    pictures: tuple[Pixels, ...]
    question: str
    wanted: Mapping[str, Any]
    """The row's reference: ``{"answer": ...}`` or ``{"boxes": [...]}``."""
    layout: str
    """Hash of what could be learnt by heart."""
    evidence: tuple[tuple[int, int, int, int], ...] = ()
    """Boxes in pixels of the first picture that hold the answer."""
    kind: str = "one"
    tags: Mapping[str, Any] = field(default_factory=dict)


Drawer: TypeAlias = Callable[[np.random.Generator, Split], Sample]
"""Draws one sample of a split: its layout's hash must belong to that split (`split_of`)."""


def maker(name: str, draw: Drawer) -> Callable[..., Path]:
    """A world's `make` from a function that draws one sample.

    Args:
        name: Of the world.
        draw: Draws a sample.
    """

    def make(
        folder: str | Path, *, seed: int, count: int = 100, split: Split | str = Split.TRAIN
    ) -> Path:
        return write(name, draw, folder, seed=seed, count=count, split=Split(split))

    return make


def write(
    name: str, draw: Drawer, folder: str | Path, *, seed: int, count: int, split: Split
) -> Path:
    """Write `count` samples; the same arguments give the same bytes.

    Raises:
        FileExistsError: The folder holds a task file already.
        ValueError: A count or a seed outside what is offered, or a sample of another split.
    """
    if count < 1:
        raise ValueError(f"expected at least one question, got {count}")
    check_seed(seed)
    with task_file(folder, "images") as lines:
        for number in range(count):
            sample = draw(generator(name, seed, number, split), split)
            if split_of(sample.layout) is not split:
                raise ValueError(f"world {name} drew a layout of the other split than {split}")
            lines.write(json.dumps(_record(name, sample, number, split, Path(folder))) + "\n")
    return Path(folder) / TASKS_FILE


def check_seed(seed: int) -> None:
    """Refuse a seed that no world offers.

    Raises:
        ValueError: It lies outside.
    """
    if not 0 <= seed < MOST_SEED:
        raise ValueError(f"expected a seed from 0 to {MOST_SEED - 1}, got {seed}")


@contextmanager
def task_file(folder: str | Path, media: str) -> Iterator[IO[str]]:
    """A folder's task file to be written: it is there when all of it is, and not before.

    Half of a world passes every check; who was stopped while writing it must not learn from it.

    Args:
        folder: Created if needed.
        media: Folder in it for pictures or videos.

    Raises:
        FileExistsError: It holds a task file already.
    """
    tasks = Path(folder) / TASKS_FILE
    if tasks.exists():
        raise FileExistsError(f"{tasks} exists; choose an empty folder")
    (tasks.parent / media).mkdir(parents=True, exist_ok=True)
    staging = tasks.with_name(TASKS_FILE + ".incomplete")
    with staging.open("w", encoding="utf-8") as lines:
        yield lines
    os.replace(staging, tasks)


def generator(name: str, seed: int, number: int, split: Split) -> np.random.Generator:
    """The generator of one sample: a function of the world's name, seed, number and split."""
    return np.random.default_rng([*name.encode(), list(Split).index(split), seed, number])


def redraw(draw: Callable[[], tuple[str, Any]], split: Split) -> Any:
    """Draw (hash, plan) again and again until the hash belongs to the split; gives both.

    Raises:
        ValueError: The split owns none of very many.
    """
    for _ in range(TRIES):
        key, plan = draw()
        if split_of(key) is split:
            return key, plan
    raise ValueError(
        f"none of {TRIES} plans belongs to the split {split}: a world needs more than a few layouts"
    )


def _record(name: str, sample: Sample, number: int, split: Split, folder: Path) -> dict[str, Any]:
    paths = []
    for at, pixels in enumerate(sample.pictures):
        suffix = f"_{at + 1}" if len(sample.pictures) > 1 else ""
        paths.append(f"images/{number:06d}{suffix}.png")
        Image.fromarray(pixels).save(folder / paths[-1], compress_level=1)
    return {
        "id": f"{name}-{split.value}-{number:06d}",
        "images": paths,
        "messages": [{"role": "user", "content": "<image>" * len(paths) + sample.question}],
        **sample.wanted,
        "evidence": [{"image": 0, "bbox": list(box)} for box in sample.evidence],
        "tags": {
            "world": name,
            "kind": sample.kind,
            "split": split.value,
            "layout": sample.layout,
            **sample.tags,
        },
    }
