"""Write a world as files: pictures plus ``tasks.jsonl`` in the format that users bring."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from .drawing import Pixels
from .files import TASKS_FILE, check_seed, task_file
from .photos import divide, read_photos
from .zoom import FIXED, SIZES, Kind, Scene, Split, draw


def draw_many(
    *,
    seed: int,
    counts: Mapping[str, int],
    split: Split | str = Split.TRAIN,
    photos: Sequence[Pixels] = (),
    sizes: Sequence[tuple[int, int]] = (FIXED,),
) -> Iterator[Scene]:
    """Scenes of several kinds in a fixed, mixed order.

    Args:
        seed: Different seeds give different pictures; 0 to 2**20 - 1.
        counts: Scenes of each kind, by its name.
        split: Which of the disjoint sets.
        photos: Backgrounds of this split.
        sizes: Width and height, taken in turn.
    """
    wanted = {Kind(k): n for k, n in counts.items()}
    for i in range(max(wanted.values(), default=0)):
        for kind in Kind:
            if i < wanted.get(kind, 0):
                size = sizes[i % len(sizes)]
                yield draw((seed << 32) + i, kind=kind, split=split, size=size, photos=photos)


def record(
    scene: Scene, number: int, image: str, split: Split | str, ask: str = "digit"
) -> dict[str, Any]:
    """One line of ``tasks.jsonl``."""
    line: dict[str, Any] = {
        "id": f"zoom-{Split(split).value}-{number:06d}",
        "images": [image],
        "messages": [{"role": "user", "content": f"<image>{scene.question}"}],
        "answer": scene.answer,
        "evidence": [{"image": 0, "bbox": list(box)} for box in scene.path],
        "tags": {
            "kind": scene.kind.value,
            "zooms": scene.kind.zooms,
            "split": Split(split).value,
            "layout": scene.layout,
            "background": scene.background,
            "size": [scene.pixels.shape[1], scene.pixels.shape[0]],
        },
    }
    return line if ask == "digit" else line | ASKS[ask](scene, line)


def _calls(scene: Scene, line: Mapping[str, Any]) -> dict[str, Any]:
    """The calls that lead to the answer, for rewards that compare calls."""
    height, width = scene.pixels.shape[:2]
    calls, left, top = [], 0.0, 0.0
    for number, (x1, y1, x2, y2) in enumerate(scene.path, 1):
        box = [(x1 - left) / width, (y1 - top) / height, (x2 - left) / width, (y2 - top) / height]
        calls.append(
            {"name": "zoom", "arguments": {"image": f"image_{number}", "bbox": box}},
        )
        left, top, width, height = x1, y1, x2 - x1, y2 - y1
    return {"calls": calls}


def _attributes(scene: Scene, line: Mapping[str, Any]) -> dict[str, Any]:
    """The digit, and whether it is even: several things in one answer, as JSON."""
    words = f'{scene.question} Answer with JSON: {{"digit": ..., "parity": ...}}'
    parity = "even" if int(scene.answer) % 2 == 0 else "odd"
    told = {"digit": [scene.answer], "parity": [parity]}
    return {"messages": [{"role": "user", "content": f"<image>{words}"}], "attributes": told}


def _levels(scene: Scene, line: Mapping[str, Any]) -> dict[str, Any]:
    """Accepted answers by level, finest first: the digit, those of its parity, any digit."""
    alike = [str(d) for d in range(10) if d % 2 == int(scene.answer) % 2]
    every = [str(d) for d in range(10)]
    levels = {"city": [scene.answer], "state": alike, "country": every}
    return {"tags": {**line["tags"], **levels}}


def _places(scene: Scene, line: Mapping[str, Any]) -> dict[str, Any]:
    """The box of the disc that is asked about."""
    words = f"Where is the {scene.target.color} disc? Answer with its box."
    told = {"boxes": [list(scene.target.box)]}
    return {"messages": [{"role": "user", "content": f"<image>{words}"}], **told}


ASKS: Mapping[str, Callable[[Scene, Mapping[str, Any]], dict[str, Any]]] = {
    "digit": lambda scene, line: {},
    "calls": _calls,
    "attributes": _attributes,
    "levels": _levels,
    "box": _places,
}
"""What a question wants, by name: `digit` in words; `calls` says the wanted calls too."""


def make(
    folder: str | Path,
    *,
    seed: int,
    none: int = 0,
    one: int = 0,
    two: int = 0,
    split: Split | str = Split.TRAIN,
    photos: str | Path | None = None,
    sizes: str = "fixed",
    suffix: str = "png",
    ask: str = "digit",
) -> Path:
    """Write a folder of pictures and its task file; the same arguments give the same bytes.

    Args:
        folder: Created if needed; it must hold no task file yet.
        seed: Of the pictures.
        none: Questions that the first look answers.
        one: Questions that need one zoom.
        two: Questions that need a zoom into a crop.
        split: ``train`` or ``held_out``; they share no layout and no background.
        photos: Folder of photographs to use as backgrounds.
        sizes: ``fixed`` (384x384) or ``varied``.
        suffix: ``png`` or ``jpg``.
        ask: What is wanted: ``digit``; ``calls`` (the digit, and the calls that lead to it);
            ``attributes`` (digit and parity as JSON); ``levels`` (accepted answers by level);
            ``box`` (the place of the disc).

    Returns:
        Path of the task file.

    Raises:
        FileExistsError: The folder holds a task file already.
        ValueError: An argument is outside what is offered.
    """
    if ask not in ASKS:
        raise ValueError(f"expected ask to be one of {', '.join(ASKS)}, got {ask!r}")
    if ask in ("attributes", "levels") and none:
        raise ValueError(f"questions that the first look answers have no digit; ask is {ask!r}")
    if sizes not in ("fixed", "varied") or suffix not in ("png", "jpg"):
        raise ValueError(
            "expected sizes 'fixed' or 'varied' and suffix 'png' or 'jpg', "
            f"got {sizes!r} and {suffix!r}"
        )
    check_seed(seed)
    out = Path(folder)
    backgrounds = divide(read_photos(photos), split) if photos is not None else []
    scenes = draw_many(
        seed=seed,
        counts={"none": none, "one": one, "two": two},
        split=split,
        photos=backgrounds,
        sizes=SIZES if sizes == "varied" else (FIXED,),
    )
    with task_file(out, "images") as lines:
        for number, scene in enumerate(scenes):
            image = f"images/{number:06d}.{suffix}"
            options: dict[str, Any] = {"quality": 92} if suffix == "jpg" else {"compress_level": 1}
            Image.fromarray(scene.pixels).save(out / image, **options)
            lines.write(json.dumps(record(scene, number, image, split, ask)) + "\n")
    return out / TASKS_FILE
