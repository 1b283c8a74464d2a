"""Group E of the fault catalogue: execution, through the toolbox; and what careless ones do."""

import asyncio
import contextlib
import itertools
import os
import select
import threading
import time
import warnings
from dataclasses import dataclass, replace

import numpy as np
import worker_tools

from vtool.dialects.hermes import Hermes
from vtool.environment import Limits, Reply, ToolEnvironment
from vtool.errors import FaultCode, ModelFault
from vtool.geometry import Box
from vtool.media import Image
from vtool.message import Action, Author, Message, Role, ToolCall
from vtool.needs import Weights
from vtool.observation import Finding, Observation
from vtool.record import Context
from vtool.store import Store
from vtool.task import Answer, Task
from vtool.tool import Settings, tool, tools
from vtool.toolbox import Toolbox, ToolBroken, ToolUnavailable
from vtool.workers.frames import Gone
from vtool.workers.process import Worker


@contextlib.contextmanager
def unregistered():
    """Tools of a case are nobody else's."""
    before = dict(tools._things)
    yield
    tools._things.clear()
    tools._things.update(before)


def made(fn, **options):
    """A tool of one word."""
    with unregistered():

        @tool(name="act", pure=False, **options)
        def act(word: str) -> str:
            """Do it.

            Args:
                word: What.
            """
            return fn(word)

    return act


def picture():
    rng = np.random.default_rng(0)
    return Image(rng.integers(0, 256, (60, 80, 3), dtype=np.uint8))


async def ask(box, *words, name="act", argument="word"):
    store = Store()
    calls = [ToolCall(name, {argument: word}) for word in words]
    return await box.run(calls, store, Hermes(max_parallel=64), store.size)


def code(message):
    fault = message.outcomes[0].fault
    return message.text if fault is None else str(fault.code)


def run(box, *words, **more):
    """What each call came to, in words; closes the toolbox."""

    async def go():
        try:
            return [code(m) for m in await ask(box, *words, **more)]
        except ToolBroken as err:
            return [type(err).__name__]
        finally:
            await box.close()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return asyncio.run(go())


def e1():
    def sleep(word):
        time.sleep(1.2)
        return "done"

    start = time.monotonic()
    (got,) = run(Toolbox([made(sleep)], seconds=0.1), "a")
    return f"{got} in time" if time.monotonic() - start < 1 else got


def e1_process():
    (got,) = run(
        Toolbox([worker_tools.far_act], seconds=0.2), "nap", name="far_act", argument="act"
    )
    return got.split()[0]


def e1_foreign():
    def own(word):
        raise TimeoutError("the camera's")

    return run(Toolbox([made(own)]), "a")[0]


def _in_worker(act):
    box = Toolbox([worker_tools.far_act])

    async def go():
        try:
            return [
                code((await ask(box, word, name="far_act", argument="act"))[0]).split()[0]
                for word in (act, "hello")
            ]
        except ToolBroken as err:
            return [type(err).__name__]
        finally:
            await box.close()

    return ", ".join(asyncio.run(go()))


def e2():
    return _in_worker("segfault")


def e2_memory():
    return _in_worker("memory")


def e3():
    nan = Observation(found=(Finding(Box(0, 0, 1, 1), score=float("nan")),))
    codes = {run(Toolbox([made(lambda word, got=got: got)]), "a")[0] for got in (3, None, nan)}
    return ", ".join(sorted(codes))


def e4():
    box = Toolbox([made(lambda word: 1 / 0)])
    seen = [run(box, "a")[0] for _ in range(21)]
    return ", ".join(f"{len(list(g))} {k}" for k, g in itertools.groupby(seen))


def e5():
    env = ToolEnvironment(
        Task(id="a", prompt=(picture(), "?"), reference=Answer(("x",))),
        Toolbox(["zoom"]),
        Limits(max_turns=4),
    )
    call = Action("", calls=(ToolCall("zoom", {"image": 1, "box": [0, 0, 500, 500]}),))

    async def go():
        await env.reset()
        context = Context(0, "policy", env.store)
        for turn in range(1, 9):
            reply = await env.reply(call, context, Hermes())
            if reply.stop is not None:
                return f"{reply.stop} after {turn}"
        return "no end"

    return asyncio.run(go())


def e6():
    box = Toolbox([worker_tools.far_act])

    async def go():
        await ask(box, "up", name="far_act", argument="act")
        (pid,) = box._runner.workers.pids
        going = asyncio.ensure_future(ask(box, "sleep", name="far_act", argument="act"))
        await asyncio.sleep(0.2)
        going.cancel()
        await asyncio.sleep(0.8)
        gone = not os.path.exists(f"/proc/{pid}")
        await box.close()
        return "stopped" if gone else "still running"

    return asyncio.run(go())


def e7():
    def late(word):
        time.sleep(float(word))
        return word

    return ", ".join(run(Toolbox([made(late)]), "0.2", "0.1", "0.0"))


def e8():
    inside, most, lock = [0], [0], threading.Lock()

    def count(word):
        with lock:
            inside[0] += 1
            most[0] = max(most)
            most.append(inside[0])
        time.sleep(0.05)
        with lock:
            inside[0] -= 1
        return word

    run(Toolbox([made(count, concurrency=1)]), "a", "b", "c", "d")
    return f"{max(most)} at once"


@dataclass(frozen=True)
class _Model(Settings):
    model: str | None = None


def e9():
    with unregistered():

        @tool(needs=(Weights("model", "some/model", "guess"),))
        def guess(word: str, settings: _Model = _Model()) -> str:
            """Guess.

            Args:
                word: What.
            """
            return word

    try:
        Toolbox([guess])
    except ToolUnavailable as err:
        return "refused at start" if "guess.model=some/model" in str(err) else str(err)
    return "offered"


def e10():
    (got,) = run(Toolbox([made(lambda word: "x" * 10**6)]), "a")
    ends = got.startswith("[cut: 1000000 ") and got.endswith("[end of the cut text]")
    return "cut, told at both ends" if ends and len(got) <= 8192 else f"{len(got)} characters"


def e11():
    count = itertools.count(1)
    with unregistered():

        @tool
        def once(image: Image) -> Observation:
            """Draw.

            Args:
                image: On what.
            """
            shade = np.full((4, 4, 3), next(count), np.uint8)
            return Observation((Image(shade),), text=f"made {int(shade[0, 0, 0])}")

    box = Toolbox([once])
    newer = Toolbox([replace(once, spec=replace(once.spec, version="2"))])
    newer._cache = box._cache

    async def go(which):
        store = Store()
        store.add(picture())
        message = (await which.run([ToolCall("once", {"image": 1})], store, Hermes(), store.size))[
            0
        ]
        return message.text, store[message.outcomes[0].handles[0]].digest

    first, again, other = (asyncio.run(go(b)) for b in (box, box, newer))
    return f"{'identical' if first == again else 'another'}, version 2 {other[0]}"


# What careless implementations do instead.


async def endless(seconds, tool, going):
    """Waits for ever."""
    return await going


async def any_timeout(seconds, tool, going):
    """Takes every TimeoutError for its own."""
    try:
        return await asyncio.wait_for(going, seconds)
    except TimeoutError:
        raise ModelFault(FaultCode.TIMEOUT, "too late") from None


def patient_ready(self, fd, event, until, wanted):
    """Waits for a worker whatever the clock says and whoever has left."""
    poll = select.poll()
    poll.register(fd, event)
    while not poll.poll(50):
        # Only a closed toolbox ends this, so that the case itself can end.
        if not _open(self):
            raise Gone("closed")


def _open(frames):
    return os.path.exists(f"/proc/self/fd/{frames._inlet}")


_READY = Worker._ready


def never_again(self):
    """Starts a process once."""
    if self.starts:
        raise Gone("no process")
    return _READY(self)


def taken_as_it_comes(tool, got):
    """Makes words of whatever was returned."""
    return got if isinstance(got, Observation) else Observation(text=str(got))


def never_ends(self, stop, messages=()):
    """Goes on for ever."""
    empty = Message(role=Role.TOOL, author=Author.TOOL)
    return Reply(messages or (empty,))


async def as_they_come(jobs):
    """In the order in which they finish."""
    return [await job for job in asyncio.as_completed(jobs)]


def key_without_version(tool, binding, store, seed):
    """Takes another version of a tool for the same."""
    return tool.spec.name + "".join(store[h].digest for h in binding.media.values())
