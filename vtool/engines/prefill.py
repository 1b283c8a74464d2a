"""Reading prompts: what is cached is laid out, the rest goes through the model.

A part holds some prompts side by side. Columns are first the cached tokens, flush left, then the
new ones, flush right, so that the last column is everybody's last token. Holes are masked, and
every token's three position numbers are given, never counted from columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vtool.engines.attention import causal_mask
from vtool.engines.core import Core
from vtool.engines.kv import KVBuffer
from vtool.engines.stem import Stem
from vtool.engines.vision_cache import join
from vtool.families.encoding import VisionBatch

_WASTE = 1.3
_FREE = 512
"""Padding that is cheaper than another forward, in tokens."""


@dataclass(slots=True, eq=False)
class Part:
    """Prompts that were read together."""

    stems: list[int]
    """Their numbers in the batch."""
    buffer: KVBuffer
    seen: Tensor
    """bool (rows, columns): which columns hold a token of the row."""


def prefill(core: Core, stems: Sequence[Stem], spare: int) -> tuple[list[Part], Tensor]:
    """Read all prompts.

    Args:
        core: Model and caches.
        stems: Distinct prompts.
        spare: Columns to leave free after the prompts for decoding.

    Returns:
        The parts, and the logits (stems, V) after each prompt.
    """
    parts = []
    logits: Tensor | None = None
    for numbers in split(stems, core.prefill_tokens):
        part, out = _read(core, stems, numbers, spare)
        parts.append(part)
        if logits is None:
            logits = out.new_empty(len(stems), out.shape[1])
        logits[numbers] = out
    assert logits is not None
    return parts, logits


def split(stems: Sequence[Stem], budget: int) -> list[list[int]]:
    """Prompts that are read together: alike in length, within a budget of padded tokens."""
    parts: list[list[int]] = []
    real = 0
    for number in sorted(range(len(stems)), key=lambda n: (-stems[n].chunk, n)):
        chunk = stems[number].chunk
        rows = parts[-1] if parts else []
        padded = stems[rows[0]].chunk * (len(rows) + 1) if rows else 0
        if rows and padded <= budget and padded <= _WASTE * (real + chunk) + _FREE:
            rows.append(number)
            real += chunk
        else:
            parts.append([number])
            real = chunk
    return [sorted(p) for p in parts]


def _read(
    core: Core, all_stems: Sequence[Stem], numbers: list[int], spare: int
) -> tuple[Part, Tensor]:
    stems = [all_stems[n] for n in numbers]
    past, chunk = max(s.past for s in stems), max(s.chunk for s in stems)
    buffer = KVBuffer.empty(
        core.vlm.kv_shape, len(stems), past + chunk + spare, core.vlm.dtype, core.vlm.device
    )
    lay_out(buffer, stems)
    buffer.advance(past)
    ids, positions, seen = _inputs(stems, past, chunk)
    vision, rows = _vision(core, stems)
    visual = _visual_mask(stems, chunk)
    device = core.vlm.device
    hidden = core.vlm.hidden(
        ids.to(device),
        positions.to(device),
        attention_mask=_mask(core, seen, past).to(device),
        vision=vision,
        rows=rows,
        visual_mask=visual.to(device),
        cache=buffer,
        at=torch.arange(1, len(stems) + 1, device=device) * chunk - 1,
    )
    buffer.advance(chunk)
    core.counters.prefill_tokens += sum(s.chunk for s in stems)
    core.counters.cached_tokens += sum(s.past for s in stems)
    return Part(numbers, buffer, seen), core.vlm.head(hidden)


def lay_out(buffer: KVBuffer, stems: Sequence[Stem]) -> None:
    """Copy cached keys and values into the first columns, one copy per node and row."""
    rows_of: dict[bytes, list[int]] = {}
    nodes = {}
    for row, stem in enumerate(stems):
        for node in stem.nodes:
            if node.end <= stem.past:
                rows_of.setdefault(node.key, []).append(row)
                nodes[node.key] = node
            elif node.start < stem.past:
                # Everything is known, but the last token must be read for its logits.
                buffer.write([row], node.start, node.kv[:, :, :, : stem.past - node.start])
    for key, rows in rows_of.items():
        buffer.write(rows, nodes[key].start, nodes[key].kv)


def _inputs(stems: Sequence[Stem], past: int, chunk: int) -> tuple[Tensor, Tensor, Tensor]:
    ids = torch.zeros(len(stems), chunk, dtype=torch.long)
    positions = torch.zeros(3, len(stems), chunk, dtype=torch.long)
    seen = torch.zeros(len(stems), past + chunk, dtype=torch.bool)
    for row, stem in enumerate(stems):
        start = chunk - stem.chunk
        ids[row, start:] = torch.from_numpy(stem.prompt.ids[stem.past :].astype("int64"))
        positions[:, row, start:] = torch.from_numpy(stem.positions.copy())
        seen[row, : stem.past] = True
        seen[row, past + start :] = True
    return ids, positions, seen


def _mask(core: Core, seen: Tensor, past: int) -> Tensor:
    """What each new token may see: bool (rows, 1, chunk, past + chunk)."""
    chunk = seen.shape[1] - past
    if core.lean and past == 0 and bool(seen.all()):
        return causal_mask(seen.device)
    earlier = torch.ones(chunk, past + chunk, dtype=torch.bool).tril(past)
    itself = torch.zeros(chunk, past + chunk, dtype=torch.bool)
    itself[range(chunk), range(past, past + chunk)] = True
    # Padding sees itself: a query that sees nothing would be NaN.
    return ((earlier & seen[:, None]) | itself)[:, None]


def _visual_mask(stems: Sequence[Stem], chunk: int) -> Tensor:
    mask = torch.zeros(len(stems), chunk, dtype=torch.bool)
    for row, stem in enumerate(stems):
        offset = chunk - stem.length
        for picture, start, end in stem.pictures():
            first = picture.run.start + offset
            mask[row, first + start : first + end] = True
    return mask


def _vision(core: Core, stems: Sequence[Stem]) -> tuple[VisionBatch | None, Tensor | None]:
    """Features of the pictures in the chunks, and their rows in order of placeholders."""
    shown = [entry for stem in stems for entry in stem.pictures()]
    if not shown:
        return None, None
    features, made = core.pictures.encode(core.vlm, [picture for picture, _, _ in shown])
    core.counters.visual_tokens += made
    place = {digest: number for number, digest in enumerate(features)}
    batch = join(list(features.values()))
    rows = []
    for picture, start, end in shown:
        first = batch.offsets[place[picture.digest]]
        rows.append(torch.arange(first + start, first + end))
    return batch, torch.cat(rows)
