"""Stage A of the moment world: teach the vision tower cue, colour and quarter by a probe."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as functional

from vtool.families.vlm import VLM
from vtool.worlds.drawing import COLORS, Pixels
from vtool.worlds.moments import draw

from .moments_expert import MOMENTS

NOTHING = len(COLORS)
Log = Callable[[dict[str, Any]], None]


def frames(rng: np.random.Generator, count: int) -> tuple[list[Pixels], torch.Tensor, torch.Tensor]:
    """Frames, the colour of each of their four tokens (8 for none), and whether there is a cue.

    Returns:
        Pixels of each; (count, 4) colours; (count, 4) cues, equal in a frame.
    """
    views, colors, cues = [], [], []
    while len(views) < count:
        moment = draw(int(rng.integers(1 << 40)))
        for row in (0 if moment.cue[0] else len(moment.ticks) - 1, moment.cue[0], moment.flash[0]):
            lit = moment.flash[0] <= row < moment.flash[1]
            token = [NOTHING] * 4
            if lit:
                token[moment.quarter[1] * 2 + moment.quarter[0]] = COLORS.index(moment.color)
            views.append(moment.frame(row))
            colors.append(token)
            cues.append([moment.cue[0] <= row < moment.cue[1]] * 4)
    return views[:count], torch.tensor(colors[:count]), torch.tensor(cues[:count]).long()


class Probe(torch.nn.Module):
    """Linear readout of every merged token; thrown away after the stage."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.final = torch.nn.Linear(width, NOTHING + 3)
        self.deep = torch.nn.Linear(width, NOTHING + 3)


def probe_loss(
    out: torch.Tensor, colors: torch.Tensor, cues: torch.Tensor
) -> tuple[torch.Tensor, dict[str, float]]:
    """Cross-entropies of colour and cue, colours of lit tokens counted as much as the rest."""
    color, cue = out.split([NOTHING + 1, 2], 1)
    wanted, dark = colors.reshape(-1), cues.reshape(-1)
    lit = wanted < NOTHING
    each = functional.cross_entropy(color, wanted, reduction="none")
    loss = each[lit].mean() + each[~lit].mean() + functional.cross_entropy(cue, dark)
    right = (color.argmax(1) == wanted).float()
    stats = {"color": float(right[lit].mean()), "empty": float(right[~lit].mean())}
    return loss, {**stats, "cue": float((cue.argmax(1) == dark).float().mean())}


def warm_up_frames(
    vlm: VLM, *, seed: int, steps: int = 400, batch: int = 96, rate: float = 3e-3, log: Log
) -> None:
    """Run the stage in place: only the vision tower changes."""
    rng = np.random.default_rng([seed, 3])
    probe = Probe(vlm.model.config.text_config.hidden_size)
    weights = [*vlm.vision.parameters(), *probe.parameters()]
    optimizer = torch.optim.AdamW(weights, lr=rate, betas=(0.9, 0.98), weight_decay=0.01)
    for step in range(steps):
        scale = min(1.0, (step + 1) / 40) * 0.5 * (1 + math.cos(math.pi * step / steps))
        optimizer.param_groups[0]["lr"] = rate * max(scale, 0.01)
        views, colors, cues = frames(rng, batch)
        seen = vlm.encode([MOMENTS.patches(v) for v in views])
        loss, stats = probe_loss(probe.final(seen.embeds), colors, cues)
        loss = loss + 0.3 * probe_loss(probe.deep(seen.deepstack[0]), colors, cues)[0]
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        if step % 50 == 0 or step == steps - 1:
            log({"stage": "vision", "step": step, "loss": round(loss.item(), 4), **stats})
