"""Distinct prompts of a batch: members of a group share one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from vtool.engines.base import Picture, Prompt, Request
from vtool.engines.prefix_cache import Node, PrefixCache
from vtool.errors import EngineError
from vtool.families import QwenVL
from vtool.families.vlm import VLM


@dataclass(slots=True, eq=False)
class Stem:
    """One prompt, read once however many rows go on from it."""

    prompt: Prompt
    nodes: list[Node]
    """What the prefix cache knows of it; grows when it is remembered."""
    past: int
    """Tokens whose keys and values are taken from there; at least one is left to read."""
    positions: NDArray[np.int64]
    """(3, L - past), of the tokens to read."""
    next_position: int
    """Of the first token that will be drawn."""

    @property
    def length(self) -> int:
        """Tokens in all."""
        return len(self.prompt.ids)

    @property
    def chunk(self) -> int:
        """Tokens still to read."""
        return self.length - self.past

    def pictures(self) -> list[tuple[Picture, int, int]]:
        """Pictures in the chunk, each with the part [start, end) of its tokens that lies there."""
        out = []
        for picture in self.prompt.pictures:
            start = max(self.past - picture.run.start, 0)
            if start < picture.run.length:
                out.append((picture, start, picture.run.length))
        return out


def gather(
    requests: Sequence[Request], family: QwenVL, cache: PrefixCache
) -> tuple[list[Stem], list[int]]:
    """Distinct prompts in order of first appearance, and the stem of each request."""
    numbers: dict[object, int] = {}
    stems: list[Stem] = []
    stem_of = []
    for request in requests:
        number = numbers.setdefault(_identity(request.prompt), len(stems))
        if number == len(stems):
            stems.append(_stem(request.prompt, family, cache))
        stem_of.append(number)
    return stems, stem_of


def _identity(prompt: Prompt) -> object:
    return prompt.ids.tobytes(), tuple((p.run, p.digest) for p in prompt.pictures)


def _stem(prompt: Prompt, family: QwenVL, cache: PrefixCache) -> Stem:
    nodes = cache.find(prompt)
    past = min(nodes[-1].end, len(prompt.ids) - 1) if nodes else 0
    known = nodes[-1] if nodes and nodes[-1].end == past else None
    positions, after = _positions(prompt, family, known)
    return Stem(prompt, nodes, past, positions[:, -(len(prompt.ids) - past) :], after)


def position_after(prompt: Prompt, family: QwenVL, count: int) -> int:
    """Position of the token that follows the first ``count`` tokens."""
    return _positions(replace(prompt, ids=prompt.ids[:count]), family, None)[1]


def _positions(prompt: Prompt, family: QwenVL, known: Node | None) -> tuple[NDArray[np.int64], int]:
    """Positions of the tokens after a known beginning, and of the token after them all."""
    start, position = (known.end, known.after) if known else (0, 0)
    blocks = [
        family.block(p.run.start - start, p.run.grid, times_s=p.times_s)
        for p in prompt.pictures
        if start <= p.run.start < len(prompt.ids)
    ]
    return family.extend_positions(len(prompt.ids) - start, blocks, position)


def check_request(request: Request, vlm: VLM) -> None:
    """Refuse a request that no forward could serve, before it joins a batch.

    Raises:
        EngineError: It is empty, asks for nothing, or its pictures are not where its ids say.
    """
    ids, sampling = request.prompt.ids, request.sampling
    if not len(ids):
        raise EngineError("the prompt is empty: an engine needs at least one token to go on from")
    if int(ids.min()) < 0 or int(ids.max()) >= vlm.vocab_size:
        raise EngineError(
            f"ids run from {ids.min()} to {ids.max()}, but the model has {vlm.vocab_size}: the "
            "tokenizer belongs to another checkpoint"
        )
    if sampling.max_tokens < 1 or sampling.temperature < 0 or sampling.top_p <= 0:
        raise EngineError(f"max_tokens >= 1, temperature >= 0, top_p > 0 are needed: {sampling}")
    check_pictures(request.prompt, vlm)


def check_pictures(prompt: Prompt, vlm: VLM) -> None:
    """Every placeholder must belong to a picture, and every picture to placeholders.

    Raises:
        EngineError: Counts or places differ.
    """
    shown = (prompt.ids == vlm.image_token_id) | (prompt.ids == vlm.video_token_id)
    for picture in prompt.pictures:
        run, tokens = picture.run, picture.patches.tokens(vlm.family.spec.merge)
        if picture.patches.grid != run.grid or tokens != run.length:
            raise EngineError(
                f"a picture of grid {picture.patches.grid} makes {tokens} tokens, but its run at "
                f"{run.start} has {run.length} and grid {run.grid}"
            )
        if not shown[run.start : run.start + run.length].all():
            raise EngineError(f"no placeholders at {run.start}, where a picture is to be shown")
    total = sum(p.run.length for p in prompt.pictures)
    if int(shown.sum()) != total:
        raise EngineError(
            f"the ids hold {int(shown.sum())} placeholders, but {total} come with pictures"
        )
