"""How calls are carried out: deadlines, threads, gates."""

import asyncio
import subprocess
import sys
import textwrap
import threading
import time

import numpy as np
import pytest

from vtool.dialects.hermes import Hermes
from vtool.media import Image
from vtool.message import ToolCall
from vtool.store import Store
from vtool.tool import tool, tools
from vtool.toolbox import Toolbox, ToolBroken
from vtool.workers.gate import Gate
from vtool.workers.runner import together


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


# Deadlines and threads


@pytest.mark.parametrize("waiting", [False, True])
def test_a_tool_s_own_timeout_error_is_the_tool_s_fault(waiting):
    if waiting:

        @tool
        async def impatient(text: str) -> str:
            """Give up.

            Args:
                text: Nothing.
            """
            raise TimeoutError("the camera did not answer")
    else:

        @tool
        def impatient(text: str) -> str:
            """Give up.

            Args:
                text: Nothing.
            """
            raise TimeoutError("the camera did not answer")

    with pytest.raises(ToolBroken, match="the camera did not answer"):
        run(Toolbox([impatient]), ("impatient", {"text": "a"}))


def test_a_hung_thread_holds_up_neither_the_run_nor_the_exit():
    program = textwrap.dedent("""
        import asyncio, time, warnings
        from vtool.dialects.hermes import Hermes
        from vtool.message import ToolCall
        from vtool.store import Store
        from vtool.tool import tool
        from vtool.toolbox import Toolbox
        warnings.simplefilter("ignore")
        @tool(seconds=0.1)
        def hang(text: str) -> str:
            '''Hang.

            Args:
                text: Nothing.
            '''
            time.sleep(600)
            return text
        box, store = Toolbox([hang]), Store()
        async def go():
            return await box.run([ToolCall("hang", {"text": "a"})], store, Hermes(), store.size)
        start = time.monotonic()
        message = asyncio.run(go())[0]
        print(message.outcomes[0].fault.code, time.monotonic() - start < 2, box.hung)
    """)
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=30
    )
    assert done.stdout.split(maxsplit=2) == ["timeout", "True", "{'hang': 1}\n"], done.stderr
    assert time.monotonic() - start < 20


def test_those_left_behind_are_counted_until_they_end():
    box = Toolbox([sleeper(0.4, seconds=0.05)])
    with pytest.warns(RuntimeWarning, match="doze still runs"):
        assert code(run(box, ("doze", {}))[0]) == "timeout"
    assert box.hung.get("doze") == 1
    time.sleep(0.6)
    assert "doze" not in box.hung


def test_a_broken_call_stops_its_siblings_and_is_raised_itself():
    stopped = []

    @tool(pure=False)
    async def linger(text: str) -> str:
        """Wait.

        Args:
            text: Nothing.
        """
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            stopped.append(text)
            raise
        return text

    @tool
    def fail(text: str) -> str:
        """Break.

        Args:
            text: Nothing.
        """
        raise ValueError("no")

    start = time.monotonic()
    calls = [("linger", {"text": "a"}), ("fail", {"text": "b"}), ("linger", {"text": "c"})]
    with pytest.raises(ToolBroken, match="fail broke: ValueError: no"):
        run(Toolbox([linger, fail]), *calls)
    assert sorted(stopped) == ["a", "c"]
    assert time.monotonic() - start < 5


def test_together_gives_results_in_order_of_asking():
    async def one(n):
        await asyncio.sleep(0.02 * (3 - n))
        return n

    async def go():
        return await together([one(n) for n in range(3)])

    assert asyncio.run(go()) == [0, 1, 2]


@pytest.mark.parametrize("room", [1, 2])
def test_concurrency_holds_over_episodes_loops_and_toolboxes(room):
    running, most, lock = [0], [0], threading.Lock()

    @tool(concurrency=room, pure=False)
    def narrow(text: str) -> str:
        """Count who is in here.

        Args:
            text: Nothing.
        """
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        time.sleep(0.02)
        with lock:
            running[0] -= 1
        return text

    def episodes():
        run(Toolbox([narrow]), *[("narrow", {"text": str(i)}) for i in range(4)])

    threads = [threading.Thread(target=episodes) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most[0] == room


def test_a_place_held_by_a_call_that_never_ends_is_told_loudly():
    @tool(concurrency=1, pure=False, seconds=0.1, name="stuck_once")
    def stuck(text: str) -> str:
        """Hang.

        Args:
            text: Nothing.
        """
        time.sleep(1.5)
        return text

    box = Toolbox([stuck])
    with pytest.warns(RuntimeWarning):
        assert code(run(box, ("stuck_once", {"text": "a"}))[0]) == "timeout"
    with pytest.raises(ToolBroken, match="isolated=True"):
        run(box, ("stuck_once", {"text": "b"}))


def test_a_gate_forgets_those_who_left():
    gate = Gate(1)

    async def go():
        await gate.enter()
        waiting = [asyncio.ensure_future(gate.enter()) for _ in range(3)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        gate.leave()
        await asyncio.sleep(0.01)
        assert [w.done() for w in waiting] == [True, True, False]
        waiting[2].cancel()
        gate.leave()
        await asyncio.wait_for(gate.enter(), 1)

    asyncio.run(go())
