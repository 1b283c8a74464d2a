"""Worker processes: deadlines, crashes, batches, cancelling, parents that die."""

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
import worker_tools

from vtool.dialects.hermes import Hermes
from vtool.media import Image
from vtool.message import ToolCall
from vtool.store import Store
from vtool.tool import tool, tools
from vtool.toolbox import Toolbox, ToolBroken, ToolUnavailable
from vtool.workers.frames import Frames, Late
from vtool.workers.pool import Workers
from vtool.workers.process import WorkerOptions

SUPPORT = Path(__file__).parent / "support"


@pytest.fixture(autouse=True)
def _own_names(monkeypatch):
    monkeypatch.setattr(tools, "_things", dict(tools._things))


def noise(width=32, height=24, seed=0):
    rng = np.random.default_rng(seed)
    return Image(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))


def filled(*pictures):
    store = Store()
    for picture in pictures or (noise(),):
        store.add(picture)
    return store


async def call(box, store, *calls, seed=0):
    return await box.run(
        [ToolCall(name, arguments) for name, arguments in calls],
        store,
        Hermes(max_parallel=64),
        store.size,
        seed=seed,
    )


def run(box, *calls, store=None):
    async def go():
        try:
            return await call(box, store or filled(), *calls)
        finally:
            await box.close()

    return asyncio.run(go())


def code(message):
    fault = message.outcomes[0].fault
    return None if fault is None else str(fault.code)


def sleeper(nap, **options):
    @tool(pure=False, **options)
    def doze(text: str = "") -> str:
        """Sleep.

        Args:
            text: What to say then.
        """
        time.sleep(nap)
        return text

    return doze


# Worker processes. One test goes through one life of a worker, since each start costs a second.


def test_an_isolated_tool_gives_what_it_gives_in_process():
    image, box = noise(40, 30), {"image": 1, "box": [100, 100, 600, 900]}
    store = filled(image)
    far = run(Toolbox([worker_tools.far_crop]), ("far_crop", box), store=store)[0]
    near_tool = replace(
        worker_tools.far_crop, spec=replace(worker_tools.far_crop.spec, isolated=False)
    )
    other = filled(image)
    near = run(Toolbox([near_tool]), ("far_crop", box), store=other)[0]
    assert far.text.split()[:2] != near.text.split()[:2]
    assert [e.digest for e in store] == [e.digest for e in other]
    assert [e.origin for e in store] == [e.origin for e in other]
    assert far.outcomes[0].found == near.outcomes[0].found


def test_a_worker_is_killed_at_the_deadline_when_it_crashes_and_respawned():
    box = Toolbox([worker_tools.far_act], seconds=1.0)

    async def act(what, **more):
        start = time.monotonic()
        try:
            message = (await call(box, filled(), ("far_act", {"act": what, **more})))[0]
        except ToolBroken as err:
            return str(err), time.monotonic() - start
        return code(message) or message.text, time.monotonic() - start

    async def go():
        first, _ = await act("hello", image=1)
        again, _ = await act("hello", image=1)
        assert first == again
        for what, expected in [
            ("segfault", "tool_crashed"),
            ("memory", "tool_crashed"),
            ("killed", "tool_crashed"),
            ("sleep", "timeout"),
            ("stuck", "timeout"),
            ("refuse", "bad_args"),
        ]:
            before = set(box._runner.workers.pids)
            got, seconds = await act(what, image=1)
            assert got == expected, what
            assert seconds < 8
            gone = before if what != "refuse" else set()
            assert not any(psutil.pid_exists(p) for p in gone)
        assert (await act("print"))[0].startswith("print ")
        assert (await act("raise"))[0] == "tool far_act broke: ValueError: broken inside"
        assert "TimeoutError: its own" in (await act("timeout"))[0]
        assert "returned int" in (await act("number"))[0]
        assert (await act("hello", image=1))[0] != first
        pids = box._runner.workers.pids
        await box.close()
        assert not any(psutil.pid_exists(p) for p in pids)
        worker = box._runner.workers._worker(worker_tools.far_act)
        worker.close()
        with pytest.raises(ToolBroken):
            worker.submit({}, 1)

    asyncio.run(go())


def test_calls_that_wait_are_answered_together_and_a_bad_one_alone():
    workers = Workers()
    box = Toolbox(["zoom", worker_tools.far_batch.set(gain=1)], workers=workers)

    async def many(*words):
        return await call(box, filled(), *[("far_batch", {"word": w}) for w in words])

    async def go():
        await many("up")
        first = await many("slow", "a", "b", "bad", "c", "d")
        told = [code(m) or m.text for m in first]
        poisoned = await many("slow", "x", "poison", "y")
        crashed = await many("slow", "x", "segfault", "y")
        assert len(workers) == 1
        await box.close()
        return told, [m.text for m in poisoned], [code(m) or m.text for m in crashed]

    told, poisoned, crashed = asyncio.run(go())
    # How many are found waiting is a matter of time; what each is told is not.
    assert [t.split()[0] for t in told] == ["slow", "a", "b", "bad_args", "c", "d"]
    assert any(" of " in t for t in told)
    assert [t.split()[0] for t in poisoned] == ["slow", "x", "poison", "y"]
    assert poisoned[2] == "poison alone"
    assert [t.split()[0] for t in crashed] == ["slow", "x", "tool_crashed", "y"]


def test_a_cancelled_call_stops_its_worker_within_a_second():
    box = Toolbox([worker_tools.far_act])

    async def go():
        await call(box, filled(), ("far_act", {"act": "up"}))
        (pid,) = box._runner.workers.pids
        going = asyncio.ensure_future(call(box, filled(), ("far_act", {"act": "sleep"})))
        await asyncio.sleep(0.2)
        start = time.monotonic()
        going.cancel()
        await asyncio.wait({going})
        while psutil.pid_exists(pid) and time.monotonic() - start < 5:
            await asyncio.sleep(0.02)
        return time.monotonic() - start

    try:
        assert asyncio.run(go()) < 1
    finally:
        asyncio.run(box.close())


def test_idle_workers_end_and_several_loops_use_one_worker():
    workers = Workers(WorkerOptions(idle_s=0.5))
    box = Toolbox([worker_tools.far_seed], workers=workers, cache=False)
    answers = {
        asyncio.run(call(box, filled(), ("far_seed", {"image": 1}), seed=3))[0].text
        for _ in range(2)
    }
    assert len(answers) == 1
    assert answers.pop().startswith("3027 ")
    (pid,) = workers.pids
    until = time.monotonic() + 10
    while psutil.pid_exists(pid) and time.monotonic() < until:
        time.sleep(0.05)
    assert not psutil.pid_exists(pid)
    again = asyncio.run(call(box, filled(), ("far_seed", {"image": 1}), seed=3))[0]
    assert again.text.startswith("3027 ")
    asyncio.run(box.close())


@pytest.mark.parametrize("act", ["up", "sleep", "stuck"])
def test_a_worker_does_not_outlive_its_parent(act):
    program = textwrap.dedent(f"""
        import asyncio, sys
        sys.path.insert(0, {str(SUPPORT)!r})
        import worker_tools
        from vtool.workers.pool import Workers
        workers = Workers()
        async def go():
            await workers.call(worker_tools.far_act, {{"act": "up"}}, 60)
            print(workers.pids[0], flush=True)
            if {act!r} != "up":
                await workers.call(worker_tools.far_act, {{"act": {act!r}}}, 60)
            await asyncio.sleep(60)
        asyncio.run(go())
    """)
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    pid = int(parent.stdout.readline())
    time.sleep(0.3)
    assert psutil.pid_exists(pid)
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    until = time.monotonic() + 5
    while psutil.pid_exists(pid) and time.monotonic() < until:
        time.sleep(0.05)
    assert not psutil.pid_exists(pid)


def test_memory_of_a_worker_can_be_bounded():
    workers = Workers(WorkerOptions(memory_bytes=2**31))
    box = Toolbox([worker_tools.far_act], workers=workers)
    assert code(run(box, ("far_act", {"act": "memory"}))[0]) == "tool_crashed"


def test_isolated_tools_must_be_importable():
    @tool(isolated=True)
    def inner(text: str) -> str:
        """Say it.

        Args:
            text: What.
        """
        return text

    with pytest.raises(ToolUnavailable, match="top of a module"):
        Toolbox([inner])


def test_a_wrapped_tool_runs_here_since_no_worker_has_it():
    def shout(t):
        return replace(t, fn=lambda **values: t.fn(**values).upper())

    box = Toolbox([worker_tools.far_act]).changed(shout)
    with pytest.raises(ToolBroken):  # a lambda has no home that another interpreter could find
        run(box, ("far_act", {"act": "a"}))
    import functools

    def wrapped(t):
        @functools.wraps(t.fn)
        def loud(**values):
            return t.fn(**values).upper()

        return replace(t, fn=loud)

    box = Toolbox([worker_tools.far_act]).changed(wrapped)
    assert run(box, ("far_act", {"act": "a"}))[0].text == f"A {os.getpid()}"


def test_a_worker_that_cannot_come_up_says_why(monkeypatch):
    monkeypatch.setattr(worker_tools.far_act.fn, "__module__", "worker_tools", raising=False)
    workers = Workers()
    worker = workers._worker(worker_tools.far_act)
    worker._where["module"] = "no_such_module_here"
    with pytest.raises(ToolBroken, match="no_such_module_here"):
        worker.submit({"act": "a"}, 1).result(60)
    worker.close()


def test_bytes_that_trickle_in_do_not_outlive_the_deadline():
    """Each byte arrives in time; the whole frame never does."""
    inlet, feed = os.pipe()
    pipe = Frames(inlet, feed)
    stop = threading.Event()

    def trickle():
        while not stop.wait(0.01):
            os.write(feed, b"V")

    thread = threading.Thread(target=trickle)
    thread.start()
    start = time.monotonic()
    try:
        with pytest.raises(Late):
            pipe._exactly(10_000, start + 0.3, lambda: True)
        assert time.monotonic() - start < 2
    finally:
        stop.set()
        thread.join()
        os.close(inlet)
        os.close(feed)
