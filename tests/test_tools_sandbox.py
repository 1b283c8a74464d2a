"""The sandbox under the code tool: its boundary, its bounds, its pool, and what passes through."""

import contextlib
import os
import struct
import threading
import time

import pytest
from faults_p import png
from hypothesis import given
from hypothesis import strategies as st
from vtool.vision_tools.sandbox import boundary, examine
from vtool.vision_tools.sandbox.limits import Bounds, Limits, bounds
from vtool.vision_tools.sandbox.notebook import Notebook
from vtool.vision_tools.sandbox.pool import Pool
from vtool.vision_tools.sandbox.session import Cell, Kind, SandboxError, Session
from vtool.vision_tools.sandbox.wire import Frame, GuestLost, Loss

from vtool.doctor import State
from vtool.errors import FaultCode, ModelFault
from vtool.media import Image

pytestmark = pytest.mark.system("bubblewrap")

KIND = Kind(Limits(seconds=10.0), ("numpy", "pillow"), ())


@pytest.fixture
def book():
    with Notebook(KIND, Pool()) as book:
        yield book


def test_a_boundary_that_cannot_count_processes_is_none(monkeypatch):
    monkeypatch.setattr(boundary, "bounds", lambda: Bounds(memory=False, processes=False))
    boundary.refused.cache_clear()
    try:
        assert "cannot be counted" in boundary.Boundary().lack(None).what
    finally:
        boundary.refused.cache_clear()


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


def test_the_doctor_says_which_bounds_hold(monkeypatch):
    (found,) = examine.examine()
    assert found.state is (State.OK if bounds().memory else State.WARN)
    assert "no network" in found.detail
    monkeypatch.setattr(boundary, "find_bwrap", lambda: None)
    (found,) = examine.examine()
    assert (found.state, "make system-deps" in found.fix) == (State.ABSENT, True)


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
