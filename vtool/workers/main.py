"""The worker process: one tool under one setting, called over a socket until that closes.

Started as `python -P -m vtool.workers.main` by `vtool.workers.process`. It imports the tool by
name, never runs what it is sent, and ends when its parent does, whatever the tool is doing.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import os
import select
import sys
import threading
from collections import OrderedDict
from typing import Any

from vtool.errors import ModelFault
from vtool.media import Image
from vtool.tool import Tool
from vtool.value_wire import Missing, read, write
from vtool.workers.frames import Frames, Gone
from vtool.workers.reference import find

OUT_OF_MEMORY = 77
"""Exit code after a MemoryError: what is left of the process cannot be trusted."""
KEEP_BYTES = 512 * 2**20


class Pictures:
    """Pictures that came over the line, kept so that later calls may name them by digest.

    Args:
        max_bytes: Bound on their pixels.
    """

    def __init__(self, max_bytes: int = KEEP_BYTES) -> None:
        self._max, self._bytes = max_bytes, 0
        self._held: OrderedDict[str, Image] = OrderedDict()

    def find(self, digest: str) -> Image | None:
        """The picture of that digest, if it is still here."""
        image = self._held.get(digest)
        if image is not None:
            self._held.move_to_end(digest)
        return image

    def keep(self, image: Image) -> None:
        """Keep a picture; the least recently used go first."""
        if image.digest in self._held or image.pixels.nbytes > self._max:
            return
        self._held[image.digest] = image.rooted()
        self._bytes += image.pixels.nbytes
        while self._bytes > self._max:
            self._bytes -= self._held.popitem(last=False)[1].pixels.nbytes


def main() -> None:
    """Serve until the parent hangs up."""
    line = os.dup(0)
    frames = Frames(line, line)
    # What a tool prints must not get between the frames.
    os.dup2(2, 1)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    end_with_parent()
    threading.Thread(target=_watch, args=(line,), daemon=True).start()
    try:
        tool = _begin(frames, frames.receive()[0])
        pictures = Pictures()
        while True:
            reply, buffers = _answer(tool, *frames.receive(), pictures)
            frames.send(reply, buffers)
    except MemoryError:
        os._exit(OUT_OF_MEMORY)
    except Gone:
        os._exit(0)


def end_with_parent() -> None:
    """Ask the kernel to end this process with its parent, and to take it first when memory ends."""
    with contextlib.suppress(Exception):
        import ctypes
        import signal

        ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("500")


def _watch(line: int) -> None:
    """End the process when the line closes, although a tool may be running."""
    poll = select.poll()
    poll.register(line, 0)
    poll.poll()
    os._exit(0)


def _begin(frames: Frames, header: dict[str, Any]) -> Tool:
    try:
        if header["memory_bytes"]:
            import resource

            limit = int(header["memory_bytes"])
            resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        tool = find(header["tool"]).set(**header["settings"])
        if tool.warmed is not None:
            tool.warmed(*([tool.settings] if tool.settings_arg else []))
    except BaseException as err:
        frames.send({"failed": f"{type(err).__name__}: {err}"})
        sys.exit(1)
    frames.send({"ready": os.getpid()})
    return tool


def _answer(
    tool: Tool, header: dict[str, Any], body: memoryview, pictures: Pictures
) -> tuple[dict[str, Any], list[memoryview]]:
    try:
        calls, values = read(header, body, held=pictures.find)
    except Missing as err:
        return {"need": list(err.digests)}, []
    for value in values:
        if isinstance(value, Image):
            pictures.keep(value)
    assert isinstance(calls, list)
    own = {tool.settings_arg: tool.settings} if tool.settings_arg else {}
    results = run_calls(tool, [{**call, **own} for call in calls])
    try:
        letter = write(results, known=values)
    except Exception as err:  # a result that cannot be written is the tool's fault
        letter = write([_broken(err)] * len(results), known=values)
    return letter.header, letter.buffers


def run_calls(tool: Tool, calls: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Carry out some calls: together where the tool can, and one by one where that breaks.

    Returns:
        For each, in order: `{"ok": result}`, `{"refused": fault}` or `{"broken": words}`.
    """
    if len(calls) > 1 and tool.batched is not None:
        try:
            got = tool.batched(calls)
            if len(got) == len(calls):
                return [{"refused" if isinstance(g, ModelFault) else "ok": g} for g in got]
        except MemoryError:
            raise
        except Exception as err:
            # One bad item must not cost its mates their results.
            print(f"{tool.spec.name}: a batch of {len(calls)} broke: {err!r}", file=sys.stderr)
    return [_one(tool, call) for call in calls]


def _one(tool: Tool, call: dict[str, Any]) -> dict[str, Any]:
    try:
        got = tool.fn(**call)
        return {"ok": asyncio.run(got) if inspect.iscoroutine(got) else got}
    except ModelFault as fault:
        return {"refused": fault}
    except MemoryError:
        raise
    except Exception as err:
        return _broken(err)


def _broken(err: Exception) -> dict[str, Any]:
    return {"broken": f"{type(err).__name__}: {err}"}


if __name__ == "__main__":
    main()
