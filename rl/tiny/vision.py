"""Stage A: teach the vision tower digits, colours and places with a throw-away probe."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as functional
from numpy.typing import NDArray

from vtool.families.pixels import resize
from vtool.families.vlm import VLM
from vtool.worlds import zoom as world
from vtool.worlds.drawing import COLORS, Pixels

from .spec import FAMILY, SPEC, VIEW
from .textures import textures
from .views import zoom

SIDE = VIEW // SPEC.factor
NOTHING = len(COLORS)
Log = Callable[[dict[str, object]], None]


@dataclass(frozen=True, slots=True, eq=False)
class Sheet:
    """A 64x64 view with a target for each of its 16 merged tokens."""

    view: Pixels
    color: NDArray[np.int64]
    """(16,) index of the colour nearest to the token, 8 for none."""
    digit: NDArray[np.int64]
    """(16,) digit, -1 where it cannot be read."""
    place: NDArray[np.float32]
    """(16, 2) centre of that disc, 0 to 1; NaN for none."""


def label(
    view: Pixels, marks: list[tuple[float, float, float, str, int]], *, legible: bool
) -> Sheet:
    """Targets of every token from the discs in a view.

    Args:
        view: (64, 64, 3).
        marks: x, y, radius (pixels of the view), colour, digit of each disc.
        legible: Whether the digits can be read at this size.
    """
    color = np.full(SIDE * SIDE, NOTHING)
    digit = np.full(SIDE * SIDE, -1)
    place = np.full((SIDE * SIDE, 2), np.nan, np.float32)
    centers = (np.stack(np.divmod(np.arange(SIDE * SIDE), SIDE), 1)[:, ::-1] + 0.5) * SPEC.factor
    for i, (cx, cy) in enumerate(centers):
        gaps = [max(abs(x - cx), abs(y - cy)) - r * 0.6 for x, y, r, _, _ in marks]
        nearest = int(np.argmin(gaps))
        if gaps[nearest] < SPEC.factor / 2:
            x, y, _, name, number = marks[nearest]
            color[i] = COLORS.index(name)
            digit[i] = number if legible else -1
            place[i] = x / VIEW, y / VIEW
    return Sheet(view, color, digit, place)


def crop_of(
    scene: world.Scene, disc: world.Disc, rng: np.random.Generator, spread: float
) -> tuple[Pixels, tuple[float, float, float]]:
    """A view of one disc with a jittered box, and where the disc is in it."""
    side = 2 * disc.radius * (1.18 + spread * rng.uniform(-0.18, 0.18))
    wide = 0.06 * spread * side
    x, y = disc.x + rng.normal(0, wide), disc.y + rng.normal(0, wide)
    aspect = float(np.exp(rng.normal(0, 0.04 * spread)))
    w, h = side * aspect, side / aspect
    pixels, (x1, y1, x2, y2) = zoom(scene.pixels, (x - w / 2, y - h / 2, x + w / 2, y + h / 2))
    sx, sy = VIEW / (x2 - x1), VIEW / (y2 - y1)
    return pixels, ((disc.x - x1) * sx, (disc.y - y1) * sy, disc.radius * (sx + sy) / 2)


def square_view(pixels: Pixels, side: int = VIEW) -> Pixels:
    """Resize to a square, whatever the aspect."""
    return resize(pixels, (side, side))


def overview(scene: world.Scene) -> Sheet:
    """The first look at a one-zoom picture."""
    scale = VIEW / scene.pixels.shape[1]
    marks = [(d.x * scale, d.y * scale, d.radius * scale, d.color, d.digit) for d in scene.discs]
    return label(square_view(scene.pixels), marks, legible=False)


def frames_overview(scene: world.Scene) -> Sheet:
    """The first look at a two-zoom picture: its frames are the things to place."""
    scale = VIEW / scene.pixels.shape[1]
    marks = []
    for frame in scene.frames:
        x1, y1, x2, y2 = (v * scale for v in frame.box)
        marks.append(((x1 + x2) / 2, (y1 + y2) / 2, (x2 - x1) / 2, frame.color, 0))
    return label(square_view(scene.pixels), marks, legible=False)


def frame_view(scene: world.Scene, rng: np.random.Generator) -> Sheet:
    """The second look: the inside of a frame."""
    frame = scene.frames[int(rng.integers(len(scene.frames)))]
    grow = rng.normal(4, 4, 4) * (-1, -1, 1, 1)
    pixels, (x1, y1, x2, y2) = zoom(scene.pixels, tuple(np.array(frame.box) + grow))
    sx, sy = VIEW / (x2 - x1), VIEW / (y2 - y1)
    marks = [
        ((d.x - x1) * sx, (d.y - y1) * sy, d.radius * sx, d.color, d.digit) for d in frame.discs
    ]
    return label(square_view(pixels), marks, legible=False)


def close_up(
    scene: world.Scene, disc: world.Disc, rng: np.random.Generator, spread: float
) -> Sheet:
    """The view in which a digit is to be read."""
    pixels, (x, y, r) = crop_of(scene, disc, rng, spread)
    return label(square_view(pixels), [(x, y, r, disc.color, disc.digit)], legible=True)


def collage(scenes: list[world.Scene], rng: np.random.Generator, spread: float) -> Sheet:
    """Four crops, 24 to 32 pixels each, pasted on a fresh background."""
    view = world.plain_background((VIEW, VIEW), world.light_color(rng))
    marks = []
    for i in range(4):
        scene = scenes[i % len(scenes)]
        disc = scene.discs[int(rng.integers(len(scene.discs)))]
        side = round(30 + spread * rng.uniform(-6, 2))
        pixels, (x, y, r) = crop_of(scene, disc, rng, 0.5 * spread)
        slack = spread * (32 - side)
        left, top = (
            round((i % 2, i // 2)[a] * 32 + (32 - side - slack) / 2 + rng.uniform(0, slack))
            for a in (0, 1)
        )
        view[top : top + side, left : left + side] = square_view(pixels, side)
        k = side / VIEW
        marks.append((left + x * k, top + y * k, r * k, disc.color, disc.digit))
    return label(view, marks, legible=True)


def sheets(rng: np.random.Generator, count: int, spread: float = 1.0) -> list[Sheet]:
    """A batch of views: overviews, frames, close-ups and collages.

    Args:
        rng: Picks everything.
        count: Views to make.
        spread: 0 puts every digit at one place and size, 1 anywhere an episode may put it.
    """
    out: list[Sheet] = []
    while len(out) < count:
        kind = rng.choice(4, p=[0.25, 0.125, 0.3, 0.325])
        seed = int(rng.integers(1 << 40))
        two = rng.random() < 0.3
        photos = textures() if rng.random() < 0.2 * spread else ()
        scene = world.draw(seed, kind="two" if two or kind == 1 else "one", photos=photos)
        if kind == 0:
            out.append(overview(world.draw(seed, kind="one", photos=photos)))
        elif kind == 1:
            out += [frames_overview(scene), frame_view(scene, rng)]
        elif kind == 2:
            picks = rng.permutation(len(scene.discs))[:2]
            out += [close_up(scene, scene.discs[int(i)], rng, spread) for i in picks]
        else:
            out += [collage([scene, world.draw(seed + 1)], rng, spread) for _ in range(2)]
    return out[:count]


class Probe(torch.nn.Module):
    """Linear readout of every merged token; thrown away after the stage."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.final = torch.nn.Linear(width, NOTHING + 1 + 10 + 2)
        self.deep = torch.nn.Linear(width, NOTHING + 1 + 10 + 2)


def probe_loss(out: torch.Tensor, batch: list[Sheet]) -> tuple[torch.Tensor, dict[str, float]]:
    """Cross-entropies of colour and digit plus the squared error of the place."""
    color = torch.from_numpy(np.stack([s.color for s in batch])).reshape(-1)
    digit = torch.from_numpy(np.stack([s.digit for s in batch])).reshape(-1)
    place = torch.from_numpy(np.stack([s.place for s in batch])).reshape(-1, 2)
    out = out.reshape(len(color), -1)
    c, d, p = out.split([NOTHING + 1, 10, 2], 1)
    there = ~place.isnan().any(1)
    loss_c = functional.cross_entropy(c, color)
    loss_d = functional.cross_entropy(d, digit, ignore_index=-1)
    error = ((p[there] - place[there]) ** 2).mean()
    with torch.no_grad():
        legible = digit >= 0
        stats = {
            "color": float((c.argmax(1) == color)[there].float().mean()),
            "digit": float((d.argmax(1) == digit)[legible].float().mean()),
            "place_rmse": float(error.sqrt()),
        }
    return loss_c + loss_d + 50 * error, stats


def warm_up_vision(
    vlm: VLM,
    *,
    seed: int,
    steps: int = 1400,
    batch: int = 48,
    rate: float = 5e-3,
    log: Log,
) -> None:
    """Run stage A in place: only the vision tower changes."""
    rng = np.random.default_rng([seed, 1])
    probe = Probe(vlm.model.config.text_config.hidden_size)
    weights = [*vlm.vision.parameters(), *probe.parameters()]
    optimizer = torch.optim.AdamW(weights, lr=rate, betas=(0.9, 0.98), weight_decay=0.01)
    for step in range(steps):
        scale = min(1.0, (step + 1) / 40) * 0.5 * (1 + math.cos(math.pi * step / steps))
        optimizer.param_groups[0]["lr"] = rate * max(scale, 0.01)
        made = sheets(rng, batch, min(1.0, 1.6 * step / steps))
        seen = vlm.encode([FAMILY.patches(s.view) for s in made])
        loss, stats = probe_loss(probe.final(seen.embeds), made)
        loss = loss + 0.3 * probe_loss(probe.deep(seen.deepstack[0]), made)[0]
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        if step % 100 == 0 or step == steps - 1:
            log({"stage": "vision", "step": step, "loss": round(loss.item(), 4), **stats})
