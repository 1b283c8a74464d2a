"""How calls are carried out: deadlines, threads, gates, shared results, worker processes."""

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
from hypothesis import given, settings
from hypothesis import strategies as st

from vtool.dialects.hermes import Hermes
from vtool.errors import FaultCode, ModelFault
from vtool.geometry import Box, Mask, Point, Region, Span
from vtool.media import Clip, Image
from vtool.message import ToolCall
from vtool.observation import Call, Finding, Observation, Way
from vtool.store import Cloud, DepthMap, Store, Table, value_digest
from vtool.tool import tool, tools
from vtool.toolbox import Toolbox, ToolBroken, ToolDown, ToolUnavailable
from vtool.value_wire import Missing, WireError, read, write
from vtool.workers.gate import Gate
from vtool.workers.pool import Workers
from vtool.workers.process import WorkerOptions
from vtool.workers.results import ResultCache
from vtool.workers.runner import clip_text, together

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


# Results


def counting(**options):
    made = []

    @tool(**options)
    def count(image: Image, text: str) -> str:
        """Count.

        Args:
            image: Of what.
            text: Nothing.
        """
        made.append(text)
        time.sleep(0.05)
        return f"{text} {len(made)}"

    return count, made


def test_equal_calls_at_one_time_are_made_once_and_equal_afterwards():
    count, made = counting()
    box, store = Toolbox([count]), filled()
    args = ("count", {"image": 1, "text": "a"})

    async def go():
        first = await call(box, store, args, args, args)
        return [*first, *await call(box, filled(), args)]

    messages = asyncio.run(go())
    assert made == ["a"]
    assert {m.text for m in messages} == {"a 1"}
    assert [m.outcomes[0].cached for m in messages] == [False, True, True, True]


@pytest.mark.parametrize(
    "other",
    [
        ("count", {"image": 2, "text": "a"}),
        ("count", {"image": 1, "text": "b"}),
    ],
)
def test_other_content_is_another_result(other):
    count, made = counting()
    run(
        Toolbox([count]),
        ("count", {"image": 1, "text": "a"}),
        other,
        store=filled(noise(), noise(seed=1)),
    )
    assert len(made) == 2


def test_another_version_is_another_result():
    count, made = counting()
    box = Toolbox([count])
    newer = box.changed(lambda t: replace(t, spec=replace(t.spec, version="2")))
    newer._cache = box._cache
    for which in (box, newer, box):
        run(which, ("count", {"image": 1, "text": "a"}))
    assert len(made) == 2


def test_a_tool_that_is_told_the_seed_is_not_given_another_seed_s_result():
    @tool
    def draw(image: Image, call: Call) -> str:
        """Draw.

        Args:
            image: On what.
        """
        return str(call.seed)

    box, store = Toolbox([draw]), filled()

    async def go():
        one = await call(box, store, ("draw", {"image": 1}), seed=1)
        two = await call(box, store, ("draw", {"image": 1}), seed=2)
        return one[0].text, two[0].text

    assert asyncio.run(go()) == ("1009", "2018")


def test_whoever_leaves_does_not_take_the_result_from_the_others():
    cache, made = ResultCache(), []

    async def make():
        made.append(1)
        await asyncio.sleep(0.05)
        return Observation(text="x")

    async def go():
        first = asyncio.ensure_future(cache.get("k", make))
        second = asyncio.ensure_future(cache.get("k", make))
        await asyncio.sleep(0.01)
        first.cancel()
        assert (await second)[0].text == "x"
        lonely = asyncio.ensure_future(cache.get("other", make))
        await asyncio.sleep(0.01)
        lonely.cancel()
        await asyncio.sleep(0.01)
        assert (await cache.get("other", make))[1] is False

    asyncio.run(go())
    assert len(made) == 3


def test_results_are_bounded_by_their_bytes():
    cache = ResultCache(100_000)

    async def go():
        for i in range(8):

            async def make(i=i):
                return Observation((noise(100, 60, i),))

            await cache.get(str(i), make)
        assert cache.held_bytes <= 100_000
        assert len(cache) == 5

        async def large():
            return Observation((noise(400, 300),))

        assert (await cache.get("large", large))[1] is False
        assert (await cache.get("large", large))[1] is False
        assert (await cache.get("7", large))[1] is True

    asyncio.run(go())


@given(st.text(max_size=400), st.integers(120, 400))
@settings(max_examples=200)
def test_long_texts_are_cut_in_the_middle_and_say_so(text, limit):
    cut = clip_text(text, limit)
    assert len(cut.encode()) <= limit
    if len(text.encode()) <= limit:
        assert cut == text
    else:
        assert cut.startswith("[cut: ")
        assert cut.endswith("[end of the cut text]")


def test_a_huge_text_reaches_the_model_cut():
    @tool
    def recite(text: str) -> str:
        """Recite.

        Args:
            text: Nothing.
        """
        return "first " + "x" * 10**6 + " last"

    words = run(Toolbox([recite]), ("recite", {"text": "a"}))[0].text
    assert len(words) <= 8192
    assert words.startswith("[cut: 1000011 characters")
    assert "first" in words
    assert words.endswith(" last\n[end of the cut text]")


@pytest.mark.parametrize(
    "result",
    [
        3,
        None,
        Observation(values=("a",)),
        Observation(found=("a",)),
        Observation(found=(Finding(Box(0, 0, 1, 1), score=float("nan")),)),
        Observation(text=5),
        Observation(ways=((),)),
        Observation((noise(),), ways=((Way(noise(seed=9)),),)),
        Observation(found=(Finding(Box(0, 0, 1, 1), of=noise(seed=9)),)),
    ],
)
def test_what_no_tool_may_return_breaks_the_call(result):
    @tool
    def odd(image: Image) -> Observation:
        """Return something.

        Args:
            image: Of what.
        """
        return result

    with pytest.raises(ToolBroken):
        run(Toolbox([odd]), ("odd", {"image": 1}))


def test_a_tool_that_breaks_all_the_time_ends_the_run():
    @tool(pure=False)
    def broken(text: str) -> str:
        """Break now and then.

        Args:
            text: `good` does not.
        """
        if text == "good":
            return text
        raise OSError("no such device")

    box = Toolbox([broken])

    def crash():
        with pytest.raises(ToolBroken) as caught:
            run(box, ("broken", {"text": "a"}))
        return caught.value

    for _ in range(19):
        assert not isinstance(crash(), ToolDown)
    assert code(run(box, ("broken", {"text": "good"}))[0]) is None
    assert [isinstance(crash(), ToolDown) for _ in range(20)] == [False] * 19 + [True]
    with pytest.raises(ToolDown, match=r"20 times in a row.*no such device"):
        run(box.only(["broken"]), ("broken", {"text": "good"}))


# The wire


def observation():
    image = noise()
    part = image.crop(Box(0, 0, 0.5, 0.5)).resize((8, 8))
    clip = Clip((noise(seed=1), noise(seed=2)), (0.0, 0.5))
    return image, Observation(
        (part, clip, Mask(np.eye(4, dtype=bool)), DepthMap(np.ones((2, 3), np.float32), True)),
        text="words <|im_end|>",
        show=False,
        effective=(Box(0, 0, 0.5, 0.5), Point(0.5, 0.25), Span(0.5, 1)),
        found=(Finding(Mask(np.eye(4, dtype=bool)), "x", 0.25, part, {"m": [1, None]}),),
        ways=((Way(image),), (Way(image, cell=Box(0, 0, 0.5, 1)),)),
    )


def essence(seen):
    return (
        tuple(value_digest(v) for v in seen.values),
        [v.lineage for v in seen.values if isinstance(v, Image)],
        (seen.text, seen.show, seen.effective),
        [(f.label, f.score, dict(f.facts), value_digest(f.of)) for f in seen.found],
        [(value_digest(w.of), w.transform, w.cell) for ways in seen.ways for w in ways],
    )


def test_everything_comes_back_as_it_was_and_shared_things_are_shared():
    image, seen = observation()
    letter = write({"seen": seen, "again": (seen.values[0],)}, known=[image])
    body = memoryview(b"".join(letter.buffers))
    back, _ = read(letter.header, body, known=[image])
    assert essence(back["seen"]) == essence(seen)
    assert back["seen"].ways[0][0].of is image
    assert back["again"][0] is back["seen"].values[0]
    assert sum(a["dtype"] == "uint8" for a in letter.header["arrays"]) == 3
    with pytest.raises(ValueError, match="read-only"):
        back["seen"].values[0].pixels[0, 0, 0] = 1


@pytest.mark.parametrize(
    "thing",
    [
        None,
        [1, 2.5, "x", True, None],
        {"table": Table(({"a": 1, "b": None},)), "cloud": Cloud(np.zeros((3, 3), np.float32))},
        Call(7, {"box": (Region("image_1", Box(0, 0, 1, 1)),)}),
    ],
)
def test_plain_things_come_back(thing):
    letter = write(thing)
    back, _ = read(letter.header, memoryview(b"".join(letter.buffers)))
    if isinstance(thing, dict):
        assert back["table"] == thing["table"]
        assert value_digest(back["cloud"]) == value_digest(thing["cloud"])
    else:
        assert back == thing


def test_faults_come_back_and_other_objects_do_not_go():
    letter = write(ModelFault(FaultCode.BAD_BOX, "no", hint="yes", field="box"))
    back, _ = read(letter.header, memoryview(b""))
    assert (back.code, back.message, back.hint, back.field) == ("bad_box", "no", "yes", "box")
    for thing in (object(), {"a": threading.Lock()}, lambda: 1, np.zeros(3)):
        with pytest.raises(WireError, match="cannot go"):
            write(thing)


def test_pictures_are_named_by_digest_where_the_other_side_has_them():
    image = noise()
    letter = write([image], held={image.digest}, digests=True)
    assert letter.buffers == []
    with pytest.raises(Missing) as caught:
        read(letter.header, memoryview(b""))
    assert caught.value.digests == (image.digest,)
    back, _ = read(letter.header, memoryview(b""), held=lambda digest: image)
    assert back[0] == image


@pytest.mark.parametrize(
    "change",
    [
        {"arrays": [{"dtype": "object", "shape": [1]}]},
        {"arrays": [{"dtype": "uint8", "shape": [10**9]}]},
        {"arrays": [{"dtype": "uint8", "shape": [-1]}]},
        {"arrays": []},
        {"thing": {"value": 9}},
        {"thing": {"Exploit": [1]}},
        {"thing": {"Box": [0, 0, 0, 0]}},
        {"values": [{"kind": "module", "array": 0}]},
        {"values": 5},
    ],
)
def test_bytes_that_say_nothing_are_refused(change):
    letter = write([noise()])
    body = memoryview(b"".join(letter.buffers))
    with pytest.raises(WireError):
        read({**letter.header, **change}, body)


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
