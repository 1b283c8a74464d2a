"""The code tool: a session over the episode's pictures, its end, its forks, its boundary."""

import asyncio
import contextlib
import json
import os
import struct
import threading
import time

import numpy as np
import pytest
from faults_p import LEAN, call, code_of, picture, png, tool
from hypothesis import given
from hypothesis import strategies as st
from vtool.vision_tools.code import clip, python
from vtool.vision_tools.sandbox import boundary, examine
from vtool.vision_tools.sandbox.limits import Bounds, Limits, bounds
from vtool.vision_tools.sandbox.notebook import Notebook
from vtool.vision_tools.sandbox.pool import Pool
from vtool.vision_tools.sandbox.session import Cell, Kind, SandboxError, Session
from vtool.vision_tools.sandbox.wire import Frame, GuestLost, Loss

from vtool.check import check_environment, check_tool
from vtool.dialects.hermes import Hermes
from vtool.doctor import State
from vtool.environment import ToolEnvironment
from vtool.errors import FaultCode, ForkRefused, ModelFault
from vtool.geometry import Box, Region, Unmappable
from vtool.media import Image
from vtool.record import Context
from vtool.store import Store
from vtool.task import Answer, Task
from vtool.toolbox import Toolbox
from vtool.workspace import Belongings

pytestmark = pytest.mark.system("bubblewrap")

KIND = Kind(Limits(seconds=10.0), ("numpy", "pillow"), ())
FULL = Kind(Limits(seconds=20.0))


@pytest.fixture
def book():
    with Notebook(KIND, Pool()) as book:
        yield book


@pytest.fixture
def kept():
    kept = Belongings()
    yield kept
    kept.close()


def environment(*pictures, **settings):
    task = Task(id="t", prompt=(*(pictures or (picture(),)), "what?"), reference=Answer(("7",)))
    return ToolEnvironment(task, Toolbox([tool(**settings)]))


async def turn(env, *cells):
    calls = (json.dumps({"name": "python", "arguments": {"code": c}}) for c in cells)
    text = "\n".join(f"<tool_call>\n{c}\n</tool_call>" for c in calls)
    reply = await env.reply(Hermes().parse(text), Context(0, "policy", env.store), Hermes())
    return reply.messages


def test_names_pictures_and_results_live_on_through_an_episode():
    async def go():
        env = environment(picture(40, 30))
        await env.reset()
        (first,) = await turn(env, "left = image_1.crop((0, 0, 20, 30))\nshow(left)\nleft.size")
        (second,) = await turn(env, "print(image_2.size, image_2.tobytes() == left.tobytes())")
        many = await turn(env, "x = 1", "x += 1", "x")
        await env.close()
        return env, first, second, many

    env, first, second, many = asyncio.run(go())
    assert first.text == "(20, 30)"
    assert first.outcomes[0].handles == ("image_2",)
    assert np.array_equal(env.store.image("image_2").pixels, picture(40, 30).pixels[:, :20])
    assert isinstance(env.store.to_source(Region("image_2", Box(0, 0, 1, 1))), Unmappable)
    assert second.text == "(20, 30) True"
    assert [m.text for m in many] == ["(nothing printed)", "(nothing printed)", "2"]
    assert env.runtime["persistent"] is True


def test_without_persistence_each_call_begins_anew_and_the_record_says_so():
    async def go():
        env = environment(persistent=False)
        await env.reset()
        told = [(await turn(env, cell))[0].text for cell in ("x = 1", "print(x)", "image_1.size")]
        await env.close()
        return env.runtime, told

    runtime, told = asyncio.run(go())
    assert runtime["persistent"] is False
    assert "NameError: name 'x' is not defined" in told[1]
    assert told[2] == "(32, 24)"


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("1 + 1", "2"),
        ("None", ""),
        ("x = 3", ""),
        ("'text'", "'text'"),
        ("import sys; print('a'); print('b', file=sys.stderr)", "a\nb"),
        ("import os; os.write(1, b'by number')", "by number9"),
        ("def f():\n    return 5\nf()", "5"),
        ("print('\\udcff'.encode('utf-8', 'surrogatepass'))", "b'\\xed\\xb3\\xbf'"),
        ("import os; os.write(1, b'\\xff')", "\ufffd1"),
    ],
)
def test_what_a_cell_says(book, code, said):
    result = book.run(code, {})
    assert (result.printed.rstrip("\n"), result.error) == (said, "")


@pytest.mark.parametrize(
    ("code", "ends", "told"),
    [
        ("a = 1\nb = a / 0", "ZeroDivisionError: division by zero", 'File "<cell 1>", line 2'),
        ("for", "SyntaxError: invalid syntax", 'File "<cell 1>", line 1'),
        ("raise SystemExit(3)", "SystemExit: 3", "<cell 1>"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt", "<cell 1>"),
        ("def f():\n    f()\nf()", "RecursionError: maximum recursion depth exceeded", "<cell 1>"),
        ("class E(Exception):\n    __str__ = None\nraise E", "E: <exception str() failed>", ""),
        ("x" * 3 + " = \0", "source code string cannot contain null bytes", ""),
        ("import os; os.kill(1, 9); 1/0", "division by zero", "line 1"),
        ("try: 1/0\nexcept Exception: show(3)", "got int", "During handling"),
        ("for i in range(10_000): show(images['image_1'])", "at most 10 pictures", "line 1"),
        ("import numpy; show(numpy.zeros((5000, 5000)))", "at most 16000000 pixels", "5000x5000"),
    ],
)
def test_a_cell_that_fails_is_told_and_the_session_goes_on(book, code, ends, told):
    result = book.run(code, {"image_1": picture()})
    assert result.error.endswith(ends)
    assert told in result.error
    assert "cell_runner" not in result.error
    assert book.run("1 + 1", {}).printed == "2\n"


def test_pictures_that_are_too_large_together_are_refused_where_they_are_shown():
    with Notebook(Kind(Limits(result_mb=1), ("numpy", "pillow"), ()), Pool()) as book:
        result = book.run(
            "import os, PIL.Image as P\nx = P.frombytes('RGB', (500, 500), os.urandom(750_000))\n"
            "show(x)\nshow(x)",
            {},
        )
        assert "at most 1000000 bytes as PNG" in result.error
        assert [i.size for i in result.images] == [(500, 500)]


def test_a_boundary_that_cannot_count_processes_is_none(monkeypatch):
    monkeypatch.setattr(boundary, "bounds", lambda: Bounds(memory=False, processes=False))
    boundary.refused.cache_clear()
    try:
        assert "cannot be counted" in boundary.Boundary().lack(None).what
    finally:
        boundary.refused.cache_clear()


def test_pictures_come_back_exactly_in_every_kind():
    with Notebook(FULL, Pool()) as book:
        source = picture(31, 17)
        result = book.run("show(image_1)\nimage_1", {"image_1": source})
        assert [i.digest for i in result.images] == [source.digest] * 2
        cell = """
import numpy as np
ramp = np.linspace(0, 1, 20).reshape(4, 5)
for a in (ramp, ramp > 0.5, (ramp * 300).astype(int), np.dstack([ramp] * 3), ramp[:, :, None]):
    show(a)
show(image_1.convert("HSV")); show(image_1.convert("L"))
"""
        images = book.run(cell, {}).images
        grey = [i.pixels[:, :, 0] for i in images]
        assert np.array_equal(grey[0], np.round(np.linspace(0, 1, 20) * 255).reshape(4, 5))
        assert set(np.unique(grey[1])) == {0, 255}
        assert grey[2].max() == 255
        assert np.array_equal(images[3].pixels, np.dstack([grey[0]] * 3))
        assert [i.size for i in images[5:]] == [(31, 17)] * 2


def test_matplotlib_and_opencv_work_inside():
    with Notebook(FULL, Pool()) as book:
        cell = "import matplotlib.pyplot as plt\nplt.plot([1, 3, 2])\nplt.show()\nplt.get_fignums()"
        result = book.run(cell, {})
        assert (result.error, result.printed) == ("", "[]\n")
        assert [i.size for i in result.images] == [(640, 480)]
        assert len(np.unique(result.images[0].pixels)) > 10
        result = book.run(
            "import cv2, numpy as np\nshow(cv2.Canny(np.asarray(image_1), 50, 99))",
            {"image_1": picture()},
        )
        assert result.error == ""
        assert result.images[0].size == (32, 24)


ENDS = {
    "segfault": ("import ctypes; ctypes.string_at(0)", FaultCode.TOOL_CRASHED, "signal 11"),
    "abort": ("import os; os.abort()", FaultCode.TOOL_CRASHED, "signal 6"),
    "exit": ("import os; os._exit(3)", FaultCode.TOOL_CRASHED, "code 3"),
    "cut": (
        "import os, time\nos.closerange(3, 100)\ntime.sleep(9)",
        FaultCode.TOOL_CRASHED,
        "connection",
    ),
    "late": ("import time; time.sleep(9)", FaultCode.TIMEOUT, "longer than 1.2 s"),
    "deaf": (
        "import signal, time\nfor s in range(1, 65):\n  try: signal.signal(s, signal.SIG_IGN)\n"
        "  except Exception: pass\nwhile True: time.sleep(1)",
        FaultCode.TIMEOUT,
        "longer",
    ),
}


@pytest.mark.parametrize("name", ENDS)
def test_the_end_of_a_session_is_told_and_the_next_call_has_a_new_one(book, name):
    code, fault, told = ENDS[name]
    book.run("x = 1", {"image_1": picture()})
    with pytest.raises(ModelFault, match=told) as caught:
        book.run(code, {}, seconds=1.2)
    assert caught.value.code is fault
    assert "variables are lost" in caught.value.message
    assert "/" not in caught.value.message
    result = book.run("print('x' in globals(), image_1.size)", {"image_1": picture()})
    assert result.printed == "False (32, 24)\n"


def test_memory_is_bounded_for_all_processes_together_where_groups_can_be_made():
    cell = """
import os, time
for _ in range(4):
    if os.fork() == 0:
        x = bytearray(os.urandom(1)) * 120_000_000
        time.sleep(1)
        os._exit(0)
got = [os.waitstatus_to_exitcode(os.wait()[1]) for _ in range(4)]
print(got)
"""
    with Notebook(Kind(Limits(memory_mb=200, disk_mb=1), (), ()), Pool()) as book:
        try:
            got = book.run(cell, {}).printed
        except ModelFault as fault:
            got = fault.message
    assert ("-9" in got or "out of memory" in got) is bounds().memory, got


def test_a_close_from_another_thread_ends_a_running_cell_at_once(book):
    faults = []

    def run():
        try:
            book.run("import time; time.sleep(9)", {})
        except ModelFault as fault:
            faults.append(fault.code)

    thread = threading.Thread(target=run)
    thread.start()
    while book._session is None or not book._session.used:
        time.sleep(0.01)
    start = time.monotonic()
    book.close()
    thread.join(5)
    assert time.monotonic() - start < 1.0
    assert faults == [FaultCode.TOOL_CRASHED]


def test_nothing_runs_between_cells(book):
    book.run(
        "import threading, time\nticks = []\ndef beat():\n    while True:\n"
        "        ticks.append(0)\n        time.sleep(0.01)\n"
        "threading.Thread(target=beat, daemon=True).start()\ntime.sleep(0.1)",
        {},
    )
    before = int(book.run("len(ticks)", {}).printed)
    time.sleep(0.6)
    assert int(book.run("len(ticks)", {}).printed) - before < 20


def test_a_fork_runs_the_cells_again_and_then_goes_its_own_way(kept):
    book = kept.get("python", lambda: Notebook(KIND, Pool()))
    book.run("import random\nx = random.random()", {"image_1": picture()}, seed=5)
    book.run("show(image_1)\nx", {})
    with book.fork() as other:
        assert other.run("x", {}).printed == book.run("x", {}).printed
        other.run("x = 'other'", {})
        assert book.run("x", {}).printed != other.run("x", {}).printed
        assert other.run("image_1.size", {}).printed == "(32, 24)\n"


def test_a_past_that_comes_out_otherwise_refuses_the_fork():
    async def go(cell):
        env = environment()
        await env.reset()
        await turn(env, cell)
        try:
            other = await env.fork()
            await other.close()
        finally:
            await env.close()

    asyncio.run(go("import random; random.random()"))
    with pytest.raises(ForkRefused, match="cell 1"):
        asyncio.run(go("import os; os.urandom(8)"))


def test_the_generators_begin_from_the_episode_s_seed():
    cell = "import random, numpy\nprint(random.random(), numpy.random.rand(), hash('a'))"

    def drawn(seed):
        with Notebook(Kind(preload=("numpy",)), Pool()) as book:
            return book.run(cell, {}, seed=seed).printed

    assert drawn(1) == drawn(1) != drawn(2)


def test_a_guest_outlives_the_thread_that_took_it_and_serves_one_only():
    pool, taken = Pool(), []
    thread = threading.Thread(target=lambda: taken.append(pool.take(KIND, spare=1)))
    thread.start()
    thread.join()
    (session,) = taken
    assert session.run(Cell("1 + 1")).printed == "2\n"
    until = time.monotonic() + 10
    while not pool.waiting(KIND) and time.monotonic() < until:
        time.sleep(0.01)
    other = pool.take(KIND)
    assert other is not session
    pool.give(session)
    assert not session.alive
    pool.give(other)
    assert pool.take(KIND) is other
    other.close()
    pool.close()


def test_sixteen_episodes_at_once_do_not_meet():
    async def one(i):
        env = environment(picture(20 + i, 20))
        await env.reset()
        await turn(env, f"mine = {i}")
        (message,) = await turn(env, "print(mine, image_1.size[0])")
        await env.close()
        return message.text

    async def go():
        return await asyncio.gather(*(one(i) for i in range(16)))

    assert asyncio.run(go()) == [f"{i} {20 + i}" for i in range(16)]


def test_nothing_is_left_behind():
    def left():
        groups = bounds() and [
            name
            for folder, names, _ in os.walk("/sys/fs/cgroup")
            for name in names
            if name.startswith(f"vtool-{os.getpid()}-")
        ]
        return len(os.listdir("/proc/self/fd")), groups

    with Notebook(KIND, Pool()) as book:
        book.run("1", {})
    before = left()
    for code in ("1", "import os; os._exit(1)", "import os\nos.fork() or os._exit(0)"):
        with Notebook(KIND, Pool()) as book, contextlib.suppress(ModelFault):
            book.run(code, {})
    assert left() == before


OUT = """
import ctypes, os, socket
libc, got = ctypes.CDLL(None, use_errno=True), []
assert os.getuid() == 65534 and not os.path.exists("/etc/passwd")  # else nothing is tried
calls = {"mount": (b"none", b"/tmp", b"tmpfs", 0, 0), "umount2": (b"/tmp", 2),
         "unshare": (0x20000,), "setuid": (0,), "chroot": (b"/tmp",), "sethostname": (b"x", 1),
         "pivot_root": (b"/tmp", b"/tmp"), "swapon": (b"/tmp/x", 0), "reboot": (0,)}
for name, arguments in calls.items():
    if getattr(libc, name, lambda *a: -1)(*arguments) == 0:
        got.append(name)
for folder in ("/", "/usr", "/dev", "/site", "/site/numpy", "/python/bin", "/runner"):
    try:
        open(folder + "/x", "w").close()
        got.append("wrote " + folder)
    except OSError:
        pass
try:
    socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    got.append("raw socket")
except OSError:
    pass
got += [f for f in ("/proc", "/sys", "/etc", "/home", "/root", "/dev/shm", "/bin/sh", "/run")
        if os.path.exists(f)]
try:
    import vtool
    got.append("vtool")
except ImportError:
    pass
print(got)
"""


def test_inside_there_are_no_rights_and_nothing_of_the_house(book):
    assert book.run(OUT, {}).printed == "[]\n"


def test_limits_bind_the_guest(book):
    cell = """
import resource
print([resource.getrlimit(r)[1] for r in (resource.RLIMIT_AS, resource.RLIMIT_FSIZE,
       resource.RLIMIT_NPROC, resource.RLIMIT_NOFILE, resource.RLIMIT_CORE)])
"""
    assert book.run(cell, {}).printed == "[1024000000, 64000000, 32, 128, 0]\n"


def test_a_guest_that_cannot_start_is_ours_and_no_fault_of_the_model_s():
    session = Session(Kind(Limits(), (), ("no_such_module",)))
    with pytest.raises(SandboxError, match="no_such_module"):
        session.wait()
    assert not session.alive


@pytest.mark.parametrize("code", ["", "  \n", "x" * 100_001, "print('\ud800')"])
def test_what_can_be_no_cell_is_refused_without_a_guest(code):
    with pytest.raises(ModelFault) as caught:
        python.set(**LEAN)(code)
    assert caught.value.field == "code"


def test_a_shown_picture_no_family_could_take_is_refused():
    assert code_of(call("import numpy; show(numpy.zeros((4, 3000)))")) == "bad_aspect"


def test_the_toolbox_s_own_deadline_holds_too(kept):
    store = Store()
    box = Toolbox([tool()], seconds=1.5)
    from vtool.message import ToolCall

    calls = [ToolCall("python", {"code": "import time; time.sleep(9)"})]
    start = time.monotonic()
    run = box.run(calls, store, Hermes(), lambda h: None, belongings=kept)
    assert code_of(asyncio.run(run)[0]) == "timeout"
    assert time.monotonic() - start < 4


def test_it_conforms():
    check_tool(python.set(**LEAN), {"code": "print(1)"})
    check_environment(lambda: environment(), Hermes())
    assert not python.spec.pure
    assert [p.name for p in python.spec.params] == ["code"]


def test_the_doctor_says_which_bounds_hold(monkeypatch):
    (found,) = examine.examine()
    assert found.state is (State.OK if bounds().memory else State.WARN)
    assert "no network" in found.detail
    monkeypatch.setattr(boundary, "find_bwrap", lambda: None)
    (found,) = examine.examine()
    assert (found.state, "make system-deps" in found.fix) == (State.ABSENT, True)


@given(st.text(max_size=300), st.integers(2, 100))
def test_long_text_keeps_its_two_ends(text, most):
    got = clip(text, most)
    half = most // 2
    if len(text) <= most:
        assert got == text
    else:
        assert got.startswith(text[:half])
        assert got.endswith(text[len(text) - half :])
        assert f"{len(text) - 2 * half} characters" in got


@given(st.binary(max_size=60), st.lists(st.integers(1, 20), max_size=8))
def test_no_bytes_break_the_reader(data, cuts):
    """Any bytes, in any pieces: a frame, or a `GuestLost`; the same however they were cut."""

    def read(pieces):
        frame = Frame(Limits(result_mb=1))
        try:
            for piece in pieces:
                frame.add(piece)
            return (frame.head, bytes(frame.body)) if frame.whole else None
        except GuestLost as lost:
            return lost.loss

    pieces, at = [], 0
    for cut in cuts:
        pieces.append(data[at : at + cut])
        at += cut
    assert read([*pieces, data[at:]]) == read([data])


@pytest.mark.parametrize(
    ("lengths", "loss"), [((2_000_000, 0), Loss.GARBLED), ((2, 65_000_000), Loss.FIGURES)]
)
def test_a_frame_is_refused_by_its_lengths(lengths, loss):
    with pytest.raises(GuestLost) as caught:
        Frame(Limits()).add(struct.pack(">II", *lengths))
    assert caught.value.loss is loss


def test_forged_pictures_of_the_support_are_pictures():
    """Else the attack with them would prove nothing."""
    assert Image.decode(png(50, 40)).size == (50, 40)
