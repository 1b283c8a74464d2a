"""Drawing tokens: inverse CDF on uniforms that belong to the request, not to the batch.

The log-probs that come back are those of the model, at temperature 1 and over the full
vocabulary, whatever the sampling did.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vtool.engines.base import Request
from vtool.errors import EngineError

_BLOCK = 64


def uniforms(key: Sequence[int], count: int) -> NDArray[np.float64]:
    """The first uniforms of a key, in [0, 1).

    A longer list begins with the shorter one, so that the draw of token i depends on the key and
    on i alone.

    Source: Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3" (2011): Philox.
    """
    return _generator(key).random(count)


def _generator(key: Sequence[int]) -> np.random.Generator:
    body = ",".join(str(int(k)) for k in key).encode()
    seed = int.from_bytes(hashlib.blake2b(body, digest_size=16).digest(), "little")
    return np.random.Generator(np.random.Philox(key=seed))


def _stream(request: Request) -> np.random.Generator:
    stream = _generator(request.key)
    stream.random(request.skip)
    return stream


@dataclass(frozen=True, slots=True, eq=False)
class Draw:
    """One token for every row."""

    ids: list[int]
    logprobs: list[float]
    top: list[tuple[tuple[int, float], ...]] | None
    """The likeliest alternatives of each row, if anybody asked."""


class Sampler:
    """Draws one token a row, step by step.

    Args:
        requests: One a row.
        vocab: Size of the vocabulary.
        device: Where logits are.
        never: Ids that no row may draw, besides what each request forbids.
    """

    def __init__(
        self, requests: Sequence[Request], vocab: int, device: torch.device, never: Sequence[int]
    ) -> None:
        self._requests = list(requests)
        self._device = device
        self._step = 0
        self._streams = [_stream(r) for r in requests]
        self._block = np.zeros((len(requests), 0))
        self._sets, self._set_of = _banned(self._requests, vocab, device, never)
        self._prepare()

    def _prepare(self) -> None:
        wishes = [r.sampling for r in self._requests]
        self._greedy = torch.tensor([s.temperature == 0 for s in wishes], device=self._device)
        heat = [s.temperature or 1.0 for s in wishes]
        self._heat = torch.tensor(heat, dtype=torch.float32, device=self._device)[:, None]
        self._any_drawn = any(s.temperature != 0 for s in wishes)
        self._any_greedy = any(s.temperature == 0 for s in wishes)
        cut = [i for i, s in enumerate(wishes) if s.top_k > 0 or s.top_p < 1]
        self._cut = torch.tensor(cut, dtype=torch.long, device=self._device)
        top_k = [wishes[i].top_k or torch.iinfo(torch.int64).max for i in cut]
        self._top_k = torch.tensor(top_k, dtype=torch.long, device=self._device)[:, None]
        top_p = [wishes[i].top_p for i in cut]
        self._top_p = torch.tensor(top_p, dtype=torch.float32, device=self._device)[:, None]
        self._record = max((s.record_top for s in wishes), default=0)
        index = torch.tensor(self._set_of, device=self._device)
        self._banned = self._sets if len(self._sets) == 1 else self._sets[index]

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with these rows only."""
        self._requests = [self._requests[r] for r in rows]
        self._streams = [self._streams[r] for r in rows]
        self._set_of = [self._set_of[r] for r in rows]
        self._block = self._block[list(rows)]
        self._prepare()

    def draw(self, logits: Tensor) -> Draw:
        """The next token of every row.

        Args:
            logits: (rows, vocab), raw.

        Raises:
            EngineError: The logits are not numbers.
        """
        raw = logits.float()
        norm = raw.logsumexp(-1)
        check_finite(norm)
        ids = self._choose(raw.masked_fill(self._banned, -torch.inf))
        taken = raw.gather(1, ids[:, None])[:, 0] - norm
        top = self._alternatives(raw, norm) if self._record else None
        return Draw(ids.tolist(), taken.tolist(), top)

    def _choose(self, logits: Tensor) -> Tensor:
        u = self._uniforms()
        if not self._any_drawn:
            return logits.argmax(-1)
        drawn = inverse_cdf(self._truncate(logits / self._heat), u)
        return torch.where(self._greedy, logits.argmax(-1), drawn) if self._any_greedy else drawn

    def _truncate(self, logits: Tensor) -> Tensor:
        if not len(self._cut):
            return logits
        cut = truncate(logits[self._cut], self._top_k, self._top_p)
        return logits.index_copy(0, self._cut, cut)

    def _uniforms(self) -> Tensor:
        place = self._step % _BLOCK
        if place == 0:
            self._block = np.stack([s.random(_BLOCK) for s in self._streams])
        self._step += 1
        return torch.from_numpy(self._block[:, place].copy()).to(self._device)

    def _alternatives(self, raw: Tensor, norm: Tensor) -> list[tuple[tuple[int, float], ...]]:
        values, ids = (raw - norm[:, None]).topk(min(self._record, raw.shape[1]), dim=-1)
        rows = zip(self._requests, ids.tolist(), values.tolist(), strict=True)
        return [
            tuple(zip(i[: r.sampling.record_top], v[: r.sampling.record_top], strict=True))
            for r, i, v in rows
        ]


def check_finite(norm: Tensor) -> None:
    """Refuse logits that are not numbers; their normalisers (rows,) show it.

    Raises:
        EngineError: Some are NaN or infinite.
    """
    bad = int((~norm.isfinite()).sum())
    if bad:
        raise EngineError(
            f"the model gave NaN or infinite logits in {bad} of {len(norm)} rows: its weights or "
            "its inputs are broken"
        )


def inverse_cdf(logits: Tensor, u: Tensor) -> Tensor:
    """Ids at the quantiles ``u``.

    Args:
        logits: (rows, vocab), -inf where nothing may be drawn.
        u: float64 (rows,), in [0, 1).

    Returns:
        int64 (rows,); never an id of probability zero.
    """
    cdf = logits.softmax(-1).cumsum(-1, dtype=torch.float64)
    total = cdf[:, -1:]
    below = torch.nextafter(total, torch.zeros_like(total))
    point = torch.minimum(u[:, None] * total, below)
    return torch.searchsorted(cdf, point, right=True)[:, 0]


def truncate(logits: Tensor, top_k: Tensor, top_p: Tensor) -> Tensor:
    """Set to -inf what lies beyond the ``top_k`` likeliest, then beyond mass ``top_p``.

    The likeliest token always stays; of equal ones the smaller id counts as likelier.

    Args:
        logits: (rows, vocab).
        top_k: int64 (rows, 1).
        top_p: (rows, 1).

    Source: Holtzman et al., "The Curious Case of Neural Text Degeneration" (2020), section 3.1.
    """
    ranked, order = logits.sort(dim=-1, descending=True, stable=True)
    rank = torch.arange(logits.shape[1], device=logits.device)[None]
    ranked = ranked.masked_fill(rank >= top_k, -torch.inf)
    mass = ranked.softmax(-1)
    before = mass.cumsum(-1) - mass
    ranked = ranked.masked_fill((before >= top_p) & (rank > 0), -torch.inf)
    return torch.full_like(logits, -torch.inf).scatter(1, order, ranked)


def _banned(
    requests: Sequence[Request], vocab: int, device: torch.device, never: Sequence[int]
) -> tuple[Tensor, list[int]]:
    """Distinct sets of forbidden ids as bool (sets, vocab), and the set of each row."""
    number: dict[frozenset[int], int] = {}
    set_of = [
        number.setdefault(frozenset((*r.forbidden_ids, *never)), len(number)) for r in requests
    ]
    table = torch.zeros(len(number), vocab, dtype=torch.bool)
    for ids, row in number.items():
        table[row, [i for i in ids if 0 <= i < vocab]] = True
    return table.to(device), set_of
