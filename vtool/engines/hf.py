"""Engine `hf`: a transformers model in this process, with caches that live across turns.

Requests come one at a time and are served in waves. In synchronous mode a wave begins only when
everybody who may still ask is waiting, so what is drawn depends on seeds and weights alone.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from vtool.engines.base import Capabilities, Completion, Request
from vtool.engines.core import Core, Counters
from vtool.engines.prefix_cache import PrefixCache
from vtool.engines.stem import check_request
from vtool.engines.vision_cache import VisionCache
from vtool.engines.waiting import Party, Ticket, WaitingRoom
from vtool.engines.wave import run_wave
from vtool.engines.weights import load_weights
from vtool.errors import EngineError
from vtool.families.vlm import VLM


class HFEngine:
    """A `TokenEngine` and `WeightSink` on a model of this process.

    Waves run on a thread of their own, so that tools and other engines go on meanwhile; weights
    are never changed during one.

    Args:
        vlm: The model; nobody else may run or change it while requests are being served.
        synchronous: Whether waves wait for all `participants` and are sorted by key.
        max_rows: Rows per wave.
        cache_bytes: Budget for keys and values kept across turns; 0 keeps none.
        vision_bytes: Budget for features of pictures.
        prefill_tokens: Padded prompt tokens per forward.
        version: Of the weights as they are.
    """

    def __init__(
        self,
        vlm: VLM,
        *,
        synchronous: bool = True,
        max_rows: int = 256,
        cache_bytes: int = 1 << 30,
        vision_bytes: int = 1 << 28,
        prefill_tokens: int = 16_384,
        version: int = 0,
    ) -> None:
        self.vlm = vlm
        self._version = version
        prefixes = PrefixCache(cache_bytes, version)
        self._core = Core(vlm, prefixes, VisionCache(vision_bytes), prefill_tokens)
        self._room = WaitingRoom(synchronous, max_rows)
        self._model = threading.Lock()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="vtool-engine")
        self._loop: asyncio.AbstractEventLoop | None = None
        self._driver: asyncio.Task[None] | None = None

    @classmethod
    def load(
        cls,
        folder: Path | str,
        *,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
        **options: Any,
    ) -> HFEngine:
        """Serve a checkpoint in plain Hugging Face layout.

        Args:
            folder: Where it is.
            dtype: Of the weights.
            device: Where they go.
            **options: As in the constructor.

        Raises:
            CheckpointError: The folder is unsafe or damaged.
        """
        return cls(VLM.load(folder, dtype=dtype, device=device), **options)

    # ----------------------------------------------------------------- what it is

    @property
    def version(self) -> int:
        """Weight version that the next token will be drawn from."""
        return self._version

    @property
    def capabilities(self) -> Capabilities:
        """What it can do."""
        return Capabilities(
            pictures=True,
            logprobs=True,
            top=True,
            synchronous=self._room.synchronous,
            updates=True,
        )

    @property
    def counters(self) -> Counters:
        """Work done so far."""
        return self._core.counters

    # ----------------------------------------------------------------- asking

    async def generate(self, request: Request) -> Completion:
        """Draw one completion.

        Raises:
            EngineError: The request cannot be served, or the forward broke (out of memory,
                logits that are not numbers). The engine goes on serving.
        """
        check_request(request, self.vlm)
        self._enter_loop()
        ticket = Ticket(request, asyncio.get_running_loop().create_future())
        self._room.add(ticket)
        self._pump()
        try:
            return await ticket.future
        except asyncio.CancelledError:
            ticket.cancelled = True
            self._room.remove(ticket)
            raise

    @contextmanager
    def participants(self, count: int) -> Iterator[Party]:
        """Announce `count` participants that may ask, for the duration of the context.

        The outermost context of a synchronous engine begins with empty caches: what was asked
        before then has no influence, not even by rounding, and a resumed run equals an unbroken
        one. Contexts add up: whoever splits in two announces one more.
        """
        if self._room.synchronous and self._room.live == 0:
            self.drop_caches()
        with self._room.participants(count) as party:
            party.on_leave = self._pump
            try:
                yield party
            finally:
                party.count = 0
                self._pump()

    def leave(self) -> None:
        """One participant will not ask again."""
        self._room.leave()

    # ----------------------------------------------------------------- weights

    def update(self, weights: Iterable[tuple[str, Any]], version: int) -> None:
        """Replace weights by name and drop every cache that depends on them.

        Waits for a wave that is under way. No weights at all is right where the learner trains
        this very module: then only the version changes and the caches go.

        Args:
            weights: Names as in ``vlm.model.state_dict()``, and tensors.
            version: Of the weights as they are afterwards.

        Raises:
            EngineError: A name or shape is foreign; nothing was changed.
        """
        with self._model:
            load_weights(self.vlm.model, weights)
            self._version = version
            self._clear()

    def drop_caches(self) -> None:
        """Forget all prompts and pictures."""
        with self._model:
            self._clear()

    def close(self) -> None:
        """Give the thread back; the engine serves no more."""
        self._thread.shutdown(wait=True, cancel_futures=True)

    def _clear(self) -> None:
        # Features of pictures go too, even where the vision tower is frozen: made in another
        # batch they differ in the last bit, and a resumed run would differ from an unbroken one.
        self._core.prefixes.clear(self._version)
        self._core.pictures.clear()

    # ----------------------------------------------------------------- serving

    def _enter_loop(self) -> None:
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            # Whoever waited in another loop is gone with it.
            self._room.clear()
            self._loop, self._driver = loop, None

    def _pump(self) -> None:
        """Begin to serve if a batch is ready and nobody is served yet."""
        busy = self._driver is not None and not self._driver.done()
        if self._loop is None or self._loop.is_closed() or busy or not self._room.ready:
            return
        self._driver = self._loop.create_task(self._serve())

    async def _serve(self) -> None:
        while batch := self._room.take():
            loop = asyncio.get_running_loop()
            try:
                results = await loop.run_in_executor(self._thread, self._wave, batch)
            except asyncio.CancelledError:
                for ticket in batch:
                    ticket.cancelled = True
                raise
            except Exception as err:  # whatever broke: everybody in the wave is told
                _fail(batch, err)
                continue
            _answer(batch, results)
            # Those who need no time between turns come back before the next batch is chosen.
            await asyncio.sleep(0)

    def _wave(self, batch: Sequence[Ticket]) -> list[Completion | None]:
        with self._model:
            try:
                return run_wave(
                    self._core,
                    [ticket.request for ticket in batch],
                    self._version,
                    lambda number: batch[number].cancelled,
                )
            except Exception:
                # A wave that broke may have filled the memory; nothing of it is kept.
                self._clear()
                raise


def _answer(batch: Sequence[Ticket], results: Sequence[Completion | None]) -> None:
    for ticket, result in zip(batch, results, strict=True):
        if not ticket.future.done() and result is not None:
            ticket.future.set_result(result)


def _fail(batch: Sequence[Ticket], err: Exception) -> None:
    for ticket in batch:
        if not ticket.future.done():
            told = EngineError(f"the forward broke: {type(err).__name__}: {err}")
            told.__cause__ = err
            ticket.future.set_exception(told)
