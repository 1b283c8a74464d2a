"""A wave: one batch of requests, from prompts to completions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import torch

from vtool.engines.attention import lean_attention
from vtool.engines.base import Completion, Request
from vtool.engines.core import Core
from vtool.engines.decode import Decoder, Row
from vtool.engines.prefill import Part, prefill
from vtool.engines.stem import Stem, gather, position_after
from vtool.families import QwenVL
from vtool.families.vlm import VLM
from vtool.record import Finish

_SPARE = 64
"""Columns for decoding that are laid out at once; more come as needed."""


def run_wave(
    core: Core,
    requests: Sequence[Request],
    version: int,
    cancelled: Callable[[int], bool] = lambda number: False,
) -> list[Completion | None]:
    """Serve some requests side by side.

    Args:
        core: Model and caches; nothing else may touch the model meanwhile.
        requests: In the order in which they stand in the batch.
        version: Of the weights.
        cancelled: Whether nobody waits for request number so-and-so any more; asked every step.

    Returns:
        A completion per request, None for the cancelled ones.
    """
    with torch.inference_mode(), evaluating(core.vlm), lean_attention(core.vlm) as core.lean:
        stems, stem_of = gather(requests, core.vlm.family, core.prefixes)
        core.counters.waves += 1
        core.counters.rows += len(requests)
        spare = min(_SPARE, max(r.sampling.max_tokens for r in requests))
        parts, logits = prefill(core, stems, spare)
        _remember_prompts(core, stems, parts)
        rows = [
            Row(number, request, stems[stem].next_position)
            for number, (request, stem) in enumerate(zip(requests, stem_of, strict=True))
        ]
        keep = core.prefixes.max_bytes > 0
        decoder = Decoder(core, rows, stem_of, parts, keep)
        decoder.run(logits[torch.tensor(stem_of, device=logits.device)], cancelled)
        _remember_completions(core, rows, [stems[s] for s in stem_of])
    return [None if r.finish is Finish.CANCELLED else r.completion(version) for r in rows]


@contextmanager
def evaluating(vlm: VLM) -> Iterator[None]:
    """Evaluation mode for the duration; a learner may train the same module afterwards."""
    training = vlm.training
    if training:
        vlm.eval()
    try:
        yield
    finally:
        if training:
            vlm.train()


def _remember_prompts(core: Core, stems: Sequence[Stem], parts: Sequence[Part]) -> None:
    if core.prefixes.max_bytes == 0:
        return
    for part in parts:
        end = part.buffer.length
        for row, number in enumerate(part.stems):
            stem = stems[number]
            known = stem.nodes[-1].end if stem.nodes else 0
            if known < stem.length:
                kv = part.buffer.read(row, end - stem.chunk, end)
                core.prefixes.add(
                    stem.prompt, stem.nodes, stem.length, kv, _after(stem, core.vlm.family)
                )


def _after(stem: Stem, family: QwenVL) -> Callable[[int], int]:
    def after(count: int) -> int:
        if count >= stem.length:
            return stem.next_position + count - stem.length
        return position_after(stem.prompt, family, count)

    return after


def _remember_completions(core: Core, rows: Sequence[Row], stems: Sequence[Stem]) -> None:
    for row, stem in zip(rows, stems, strict=True):
        if row.kv is not None:
            read = np.concatenate([stem.prompt.ids, np.array(row.ids[:-1], dtype=np.int32)])
            prompt = replace(stem.prompt, ids=read)
            after = _after(stem, core.vlm.family)
            core.prefixes.add(prompt, list(stem.nodes), len(read), row.kv, after)
