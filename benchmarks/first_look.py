"""How much of an answer lies in the first look, for who learns nothing but to read it there?

    OMP_NUM_THREADS=1 python benchmarks/first_look.py

A world's `chance` is what the scripted policies reach without tools. This asks for more: what
could be read by a reader made for that one purpose, which is told where to look (the first look
shows that) and sees the 64x64 pixels there. A network of two hidden layers learns on pictures of
the training split and is measured on those of the other. Depth needs no learning: blocks of the
two pictures are compared; nor do moments: what the encoder of the video leaves behind a flash is
looked for in the glance. Writes `results/first_look.json` and `.md`.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import _timing
import numpy as np
import torch
from numpy.typing import NDArray

from vtool.data import load_tasks
from vtool.intervals import wilson
from vtool.media import Clip, Image
from vtool.worlds import depth, zoom
from vtool.worlds.drawing import PALETTE
from vtool.worlds.eyes import spots
from vtool.worlds.icons import KINDS
from vtool.worlds.program import as_shown
from vtool.worlds.world import worlds

Data = tuple[NDArray[np.float32], NDArray[np.int64]]
SPLITS = ("train", "held_out")


def seen(image: Image) -> NDArray[np.float32]:
    """A picture as it is first shown."""
    return as_shown(image).astype(np.float32)


def around(view: NDArray[np.float32], x: float, y: float, reach: int) -> NDArray[np.float32]:
    """The pixels about a place, and where in its pixel the place is; grey beyond the border."""
    wide = np.pad(view, ((reach, reach), (reach, reach), (0, 0)), mode="edge")
    part = wide[int(y) : int(y) + 2 * reach + 1, int(x) : int(x) + 2 * reach + 1]
    return np.concatenate([part.ravel() / 255, [x % 1, y % 1]])


def discs(kind: str, count: int, reach: int) -> Callable[[str], Data]:
    """Digits of the zoom world: each disc of each picture."""

    def draw(split: str) -> Data:
        rows, digits = [], []
        for seed in range(count if split == "train" else count // 4):
            scene = zoom.draw(seed, kind=kind, split=split)
            view = seen(Image(scene.pixels))
            scale = view.shape[0] / scene.pixels.shape[0]
            for disc in scene.discs:
                color = np.array(PALETTE[disc.color]) / 255
                near = around(view, disc.x * scale, disc.y * scale, reach)
                light = near[:-2].reshape(-1, 3) @ color / (color @ color)
                rows.append(np.concatenate([near, light, color, [disc.radius * scale / 5]]))
                digits.append(disc.digit)
        return np.array(rows, np.float32), np.array(digits)

    return draw


def made(name: str, count: int, split: str) -> tuple[list[dict[str, Any]], list[Any]]:
    """Rows and first looks of a world's questions."""
    with tempfile.TemporaryDirectory() as folder:
        path = worlds.get(name).make(Path(folder) / "w", seed=21, count=count, split=split)
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        return rows, [[seen(m) for m in t.media] for t in load_tasks(path, keep=4)]


def page(split: str) -> Data:
    """The digit on the coloured ground."""
    rows, views = made("page", 3000 if split == "train" else 600, split)
    out = []
    for row, (view,) in zip(rows, views, strict=True):
        x1, y1, x2, y2 = (v / 12 for v in row["evidence"][0]["bbox"])
        out.append(around(view, (x1 + x2) / 2, (y1 + y2) / 2, 3))
    return np.array(out, np.float32), np.array([int(r["answer"]) for r in rows])


def icons(split: str) -> Data:
    """Whether an icon is of the kind that is asked about."""
    rows, views = made("detect", 1200 if split == "train" else 400, split)
    out, mine = [], []
    for row, (view,) in zip(rows, views, strict=True):
        kind = KINDS.index(row["messages"][0]["content"].split()[2])
        wanted = {(b["bbox"][0] // 6, b["bbox"][1] // 6) for b in row["evidence"]}
        dark = view.mean(2) < np.median(view) - 40
        corners = dark & ~np.roll(dark, 1, 0) & ~np.roll(dark, 1, 1)
        for y, x in np.argwhere(corners):
            near = around(view - np.median(view), x, y, 3)[:-2]
            out.append(np.concatenate([near * 8, np.eye(4)[kind]]))
            mine.append(int((x, y) in wanted))
    return np.array(out, np.float32), np.array(mine)


def read(draw: Callable[[str], Data], epochs: int = 40) -> dict[str, Any]:
    """Train a reader on one split and measure it on the other."""
    (xs, ys), (asked, wanted) = (draw(s) for s in SPLITS)
    middle, spread = xs.mean(0), xs.std(0) + 1e-3
    x, test = (torch.from_numpy((v - middle) / spread) for v in (xs, asked))
    y = torch.from_numpy(ys)
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Linear(x.shape[1], 256),
        torch.nn.ReLU(),
        torch.nn.Linear(256, 128),
        torch.nn.ReLU(),
        torch.nn.Linear(128, int(ys.max()) + 1),
    )
    optimizer = torch.optim.AdamW(net.parameters(), 1e-3, weight_decay=0.1)
    for _ in range(epochs):
        for rows in torch.randperm(len(y)).split(128):
            loss = torch.nn.functional.cross_entropy(net(x[rows]), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    with torch.no_grad():
        right = net(test).argmax(1).numpy() == wanted
    often = float(np.bincount(wanted).max() / len(wanted))
    return share(int(right.sum()), len(right), often)


def match() -> dict[str, Any]:
    """Compare the blocks of both plates in the two first looks, at every step they may move."""
    rows, views = made("depth", 400, "held_out")
    right = 0.0
    for row, (left, other) in zip(rows, views, strict=True):
        names = re.findall(r"the (\w+)", row["messages"][0]["content"])[:2]
        steps = [moved(left, other, name) for name in names]
        if steps[0] == steps[1]:
            right += 0.5
        else:
            right += names[steps[0] < steps[1]] == row["answer"]
    return share(round(right), len(rows), 0.5)


def moved(left: NDArray[np.float32], other: NDArray[np.float32], color: str) -> int:
    """By how many blocks the plate in a ring has most likely moved."""
    found = spots(left.astype(np.uint8), color)
    if not found:
        return 0
    x, y = (int((found[0][i] + found[0][i + 2]) / 2 * left.shape[0]) for i in (0, 1))
    ys, xs = np.mgrid[y - 6 : y + 6, x - 6 : x + 6]
    grey = np.abs(left[ys, xs] - 128).max(2) <= 2  # the ring itself is left out
    gaps = {s: np.square(left[ys, xs] - other[ys, xs - s])[grey].mean() for s in depth.NEAR}
    return min(gaps, key=lambda s: gaps[s])


def after_flash() -> dict[str, Any]:
    """The quarter in which the two glanced frames about the flash differ most."""
    right, names = 0, [f"{v} {h}" for v in ("upper", "lower") for h in ("left", "right")]
    options = {"videos": 160, "asks": ["where"], "split": "held_out"}
    with tempfile.TemporaryDirectory() as folder:
        path = worlds.get("moments").make(Path(folder) / "w", seed=21, **options)
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        for row, task in zip(rows, load_tasks(path), strict=True):
            (glance,) = (m for m in task.media if isinstance(m, Clip))
            before, after = (
                glance.frames[row["tags"]["gap"] + i].pixels.astype(np.float32) for i in (0, 1)
            )
            gap = np.abs(after - before)[8:-8, 8:-8].sum(2)
            parts = [gap[y : y + 24, x : x + 24].sum() for y in (0, 24) for x in (0, 24)]
            right += names[int(np.argmax(parts))] == row["answer"]
    return share(right, len(rows), 0.25)


def share(right: int, count: int, guess: float) -> dict[str, Any]:
    """A share with its interval, and what one answer for all would reach."""
    low, high = wilson(right / count, count)
    return {"share": right / count, "low": low, "high": high, "count": count, "guess": guess}


CASES: dict[str, tuple[str, Callable[[], dict[str, Any]]]] = {
    "digit of a disc": (
        "zoom (one look), tools, costly, flaky, sparse, box",
        lambda: read(discs("one", 2500, 5)),
    ),
    "digit of a disc in a frame": ("zoom (two looks)", lambda: read(discs("two", 1500, 3))),
    "digit on a coloured ground": ("page", lambda: read(page)),
    "whether an icon is of the kind": ("detect", lambda: read(icons)),
    "nearer plate": ("depth", match),
    "quarter of the flash": ("moments", after_flash),
}


def table(found: dict[str, dict[str, Any]]) -> str:
    """Markdown."""
    lines = [
        "# What the first look holds",
        "",
        "`OMP_NUM_THREADS=1 python benchmarks/first_look.py`: a reader that is made for one "
        "question, is told where to look and sees 64x64 pixels; held-out pictures, Wilson "
        "intervals (95 %).",
        "",
        "| what | worlds | one answer for all | reader | of |",
        "|---|---|---|---|---|",
    ]
    for name, row in found.items():
        told = f"{row['share']:.3f} ({row['low']:.3f}-{row['high']:.3f})"
        lines.append(
            f"| {name} | {CASES[name][0]} | {row['guess']:.2f} | {told} | {row['count']} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure and write."""
    torch.set_num_threads(1)
    found = {}
    for name, (_, measured) in CASES.items():
        found[name] = measured()
        print(name, found[name], flush=True)
    _timing.write("first_look", {"found": found, "machine": _timing.machine()})
    (_timing.RESULTS / "first_look.md").write_text(table(found), encoding="utf-8")


if __name__ == "__main__":
    main()
