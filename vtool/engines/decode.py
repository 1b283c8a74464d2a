"""Drawing completions token by token, all rows of a batch side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from vtool.engines.base import Completion, Request
from vtool.engines.core import Core
from vtool.engines.kv import KVBuffer
from vtool.engines.prefill import Part
from vtool.engines.sampler import Draw, Sampler
from vtool.record import Finish

_DROP = 1 / 16
"""Finished rows are dropped when they are this part of the batch."""


@dataclass(slots=True, eq=False)
class Row:
    """One completion in the making."""

    number: int
    """Its place among the requests of the batch."""
    request: Request
    next_position: int
    ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    top: list[tuple[tuple[int, float], ...]] = field(default_factory=list)
    finish: Finish | None = None
    kv: Tensor | None = None
    """Of all tokens but the last, once finished: (layers, 2, heads, n - 1, head_dim)."""

    def take(self, token: int, logprob: float) -> None:
        """Append a token and see whether it ends the completion."""
        self.ids.append(token)
        self.logprobs.append(logprob)
        if token in self.request.stop_ids:
            self.finish = Finish.STOP
        elif len(self.ids) >= self.request.sampling.max_tokens:
            self.finish = Finish.LENGTH

    def completion(self, version: int) -> Completion:
        """What the engine hands out."""
        assert self.finish is not None
        return Completion(
            ids=np.array(self.ids, dtype=np.int32),
            logprobs=np.array(self.logprobs, dtype=np.float32),
            finish=self.finish,
            version=version,
            top=tuple(self.top),
        )


class Decoder:
    """A batch after its prompts were read.

    Args:
        core: Model, caches and counts.
        rows: One per request.
        stem_of: The distinct prompt of each row.
        parts: The prompts as they were read; used up.
        keep: Whether finished rows hand over their keys and values.
    """

    def __init__(
        self,
        core: Core,
        rows: Sequence[Row],
        stem_of: Sequence[int],
        parts: list[Part],
        keep: bool,
    ) -> None:
        self.core, self.keep = core, keep
        self.rows = list(rows)
        """Rows of the buffer, finished ones included until they are dropped."""
        self.buffer, self.seen = spread(core, parts, stem_of)
        self.start = self.buffer.length
        device = core.vlm.device
        self.sampler = Sampler(
            [r.request for r in rows], core.vlm.vocab_size, device, core.vlm.placeholder_ids
        )
        self.base = torch.tensor([r.next_position for r in rows], device=device)

    def run(self, logits: Tensor, cancelled: Callable[[int], bool]) -> None:
        """Draw until every row is finished or cancelled.

        Args:
            logits: (rows, V) after each prompt.
            cancelled: Whether nobody waits for request number so-and-so any more.
        """
        step = 0
        while True:
            drawn = self.sampler.draw(logits)
            self._take(drawn, cancelled)
            active = [i for i, row in enumerate(self.rows) if row.finish is None]
            if not active:
                break
            ids = drawn.ids
            if len(self.rows) - len(active) >= _DROP * len(self.rows):
                order, moves = close_up(active)
                ids = [ids[i] for i in order]
                self._drop(order, moves)
            logits = self._forward(torch.tensor(ids), step)
            step += 1
        self._save(range(len(self.rows)))

    def _take(self, drawn: Draw, cancelled: Callable[[int], bool]) -> None:
        for i, row in enumerate(self.rows):
            if row.finish is not None:
                continue
            if cancelled(row.number):
                row.finish = Finish.CANCELLED
                continue
            row.take(drawn.ids[i], drawn.logprobs[i])
            self.core.counters.decoded_tokens += 1
            if drawn.top is not None and row.request.sampling.record_top:
                row.top.append(drawn.top[i])

    def _forward(self, ids: Tensor, step: int) -> Tensor:
        vlm, column = self.core.vlm, self.buffer.length
        self.buffer.reserve(column + 1)
        self._see(column)
        hidden = vlm.hidden(
            ids.to(vlm.device)[:, None],
            (self.base + step).expand(3, -1)[..., None],
            attention_mask=self.seen[:, None, None, : column + 1],
            visual_mask=torch.zeros(len(ids), 1, dtype=torch.bool, device=vlm.device),
            cache=self.buffer,
        )
        self.buffer.advance(1)
        self.core.counters.decode_steps += 1
        return vlm.head(hidden[:, 0])

    def _see(self, column: int) -> None:
        if column >= self.seen.shape[1]:
            more = self.buffer.columns - self.seen.shape[1]
            # Decoded columns are seen by all rows: those of a finished row are never read again.
            self.seen = torch.cat((self.seen, self.seen.new_ones(len(self.rows), more)), dim=1)

    def _drop(self, order: list[int], moves: list[tuple[int, int]]) -> None:
        self._save(i for i, row in enumerate(self.rows) if row.finish is not None)
        self.buffer.move(moves, len(order))
        index = torch.tensor(order, device=self.core.vlm.device)
        self.seen, self.base = self.seen[index], self.base[index]
        self.sampler.keep(order)
        self.rows = [self.rows[i] for i in order]

    def _save(self, which: Iterable[int]) -> None:
        for i in which:
            row = self.rows[i]
            if self.keep and row.finish is not Finish.CANCELLED and len(row.ids) > 1:
                row.kv = self.buffer.read(i, self.start, self.start + len(row.ids) - 1)


def close_up(active: Sequence[int]) -> tuple[list[int], list[tuple[int, int]]]:
    """Bring the active rows to the front by moving only those that stand too far back.

    Args:
        active: Rows that go on, ascending.

    Returns:
        Which old row stands in each place, and the moves (from, to) that bring it there.
    """
    count = len(active)
    stay = {row for row in active if row < count}
    late = iter([row for row in active if row >= count])
    order = [place if place in stay else next(late) for place in range(count)]
    return order, [(row, place) for place, row in enumerate(order) if row != place]


def spread(core: Core, parts: list[Part], stem_of: Sequence[int]) -> tuple[KVBuffer, Tensor]:
    """One buffer with a row per request, from parts with a row per distinct prompt.

    Parts of fewer columns are set flush right, so that decoding goes on in the same column for
    all. The parts' own memory is given back as they are used up.
    """
    device = core.vlm.device
    if len(parts) == 1 and list(stem_of) == parts[0].stems:
        return parts[0].buffer, parts[0].seen.to(device)
    width = max(p.buffer.length for p in parts)
    columns = max(p.buffer.columns - p.buffer.length for p in parts) + width
    buffer = KVBuffer.empty(core.vlm.kv_shape, len(stem_of), columns, core.vlm.dtype, device)
    seen = torch.zeros(len(stem_of), width, dtype=torch.bool)
    while parts:
        part = parts.pop()
        place = {stem: row for row, stem in enumerate(part.stems)}
        rows = [r for r, stem in enumerate(stem_of) if stem in place]
        source = torch.tensor([place[stem_of[r]] for r in rows])
        first = width - part.buffer.length
        taken = part.buffer.data[..., : part.buffer.length, :].index_select(2, source.to(device))
        buffer.data[:, :, torch.tensor(rows, device=device), :, first:width] = taken
        seen[rows, first:] = part.seen[source]
    buffer.advance(width)
    return buffer, seen.to(device)
