"""The process that decodes: `python -m vtool.video.worker`. It may hang, crash or be killed.

It reads requests from its standard input and answers on its standard output. It bounds its own
memory, writes no file, and ends itself when a request takes far too long, so that none is left
over when the parent dies.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

from vtool.video import wire

MEMORY = 6 << 30
"""Bytes of address space; a file that asks for more gets a refusal, not the machine."""
KEPT = 4
"""Files held open with their decoders."""
GRACE_S = 5
"""How much longer than its parent waits a worker lives."""


class Files:
    """Open files, the least recently used one closed for a new one."""

    def __init__(self) -> None:
        self._open: OrderedDict[tuple[str, int], Any] = OrderedDict()

    def get(self, path: str, threads: int) -> Any:
        """The file, opened now or before."""
        from vtool.video import libav

        key = (path, threads)
        if key not in self._open:
            while len(self._open) >= KEPT:
                self._open.popitem(last=False)[1].container.close()
            self._open[key] = libav.open_video(path, threads)
        self._open.move_to_end(key)
        return self._open[key]

    def drop(self, path: str) -> None:
        """Forget a file whose state is unknown."""
        for key in [k for k in self._open if k[0] == path]:
            self._open.pop(key).container.close()


def serve(source: int, sink: int) -> None:
    """Answer requests until the parent hangs up."""
    files = Files()
    while True:
        try:
            ask, _ = wire.receive(source, None)
        except wire.Hangup:
            return
        signal.setitimer(signal.ITIMER_REAL, float(ask["seconds"]) + GRACE_S)
        _answer(files, ask, sink)
        signal.setitimer(signal.ITIMER_REAL, 0)


def _answer(files: Files, ask: dict[str, Any], sink: int) -> None:
    from vtool.video import libav

    try:
        for body, blob in _do(files, ask):
            wire.send(sink, body, None, blob)
        wire.send(sink, {"done": True})
    except libav.Refused as err:
        wire.send(sink, {"refused": str(err)})
    except MemoryError:
        files.drop(ask["path"])
        wire.send(sink, {"refused": "too_large"})
    except Exception:
        # A decoder's own words stay here: some have held addresses of memory.
        files.drop(ask["path"])
        wire.send(sink, {"refused": "undecodable"})


def _do(files: Files, ask: dict[str, Any]) -> Iterator[tuple[dict[str, Any], memoryview]]:
    from vtool.video import decode, scan

    path, threads, nothing = ask["path"], ask["threads"], memoryview(b"")
    if ask["op"] == "head":
        yield scan.head(path, threads), nothing
    elif ask["op"] == "cues":
        yield {"cues": scan.cues(path)}, nothing
    elif ask["op"] == "scan":
        if ask["low"] is None:
            # From the very start, which no seek is sure to find.
            files.drop(path)
        yield scan.scan(files.get(path, threads), ask["low"], ask["high"]), nothing
    else:
        if ask["op"] == "counted":
            files.drop(path)
        file = files.get(path, threads)
        before = file.decoded
        for row, frame in _frames(file, ask):
            rgb = decode.pixels(frame, tuple(ask["size"]), ask["turn"], ask["cut"])
            yield {"row": row, "pts": frame.pts, "shape": rgb.shape}, rgb.data.cast("B")
        yield {"decoded": file.decoded - before}, nothing


def _frames(file: Any, ask: dict[str, Any]) -> Iterator[tuple[int, Any]]:
    from vtool.video import decode

    if ask["op"] == "exact":
        return decode.exact(file, [decode.Want(*w) for w in ask["wants"]], ask["near"])
    if ask["op"] == "counted":
        return decode.counted(file, ask["rows"])
    return decode.keyframes(file, ask["places"])


def _bound() -> None:
    """Bounds that hold even against the decoder's own code."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def main() -> None:
    """Serve on the standard streams; whatever a library prints goes nowhere."""
    source, sink = os.dup(0), os.dup(1)
    quiet = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(quiet, fd)
    import av

    from vtool.video import decode, libav, scan  # noqa: F401 - before the bounds: they forbid writing bytecode

    av.logging.set_level(None)
    _bound()
    with contextlib.suppress(BrokenPipeError, KeyboardInterrupt):
        serve(source, sink)


if __name__ == "__main__":
    main()
