"""Group P of the fault catalogue: attacks on the code tool, really run, through the toolbox.

Each is also run with its guard taken away, some of them then outside of any boundary and perhaps
as root: so none may change anything of the host, or take more than it can spare.
"""

import asyncio
import contextlib
import json
import os
import secrets
import signal
import socket
import struct
import zlib
from pathlib import Path

import numpy as np
from vtool.vision_tools.code import python
from vtool.vision_tools.sandbox import boundary
from vtool.vision_tools.sandbox.pool import pool

from vtool.dialects.hermes import Hermes
from vtool.environment import ToolEnvironment
from vtool.media import Image
from vtool.message import ToolCall
from vtool.record import Context
from vtool.store import Store
from vtool.task import Answer, Task
from vtool.toolbox import Toolbox, ToolUnavailable
from vtool.workspace import Belongings

LEAN = {"preload": (), "spare": 0, "packages": ("numpy", "pillow")}


def picture(width=32, height=24):
    rng = np.random.default_rng(0)
    return Image(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))


def tool(**settings):
    return python.set(**{**LEAN, **settings})


def call(code, *, belongings=None, store=None, **settings):
    """The tool message for one cell."""
    store = Store() if store is None else store
    calls = [ToolCall("python", {"code": code})]
    box = Toolbox([tool(**settings)])
    run = box.run(calls, store, Hermes(), lambda handle: None, belongings=belongings)
    return asyncio.run(run)[0]


def code_of(message):
    fault = message.outcomes[0].fault
    return "done" if fault is None else str(fault.code)


def said(code, **settings):
    """What a cell printed, or how it was refused."""
    message = call(code, **settings)
    return message.text if code_of(message) == "done" else code_of(message)


READ = """
found = []
for path in PATHS:
    try:
        found.append(open(path).read())
    except OSError:
        pass
"""


def secret_file(folder):
    path = folder / "secret"
    path.write_text("told-to-nobody")
    return path


def p1(folder):
    """Files of the host by their paths, and its environment by every way there is."""
    path = secret_file(folder)
    own = [f"/proc/{who}/environ" for who in ("self", 1, os.getpid())]
    os.environ["VTOOL_CANARY"] = "told-to-nobody"
    try:
        cell = f"PATHS = {[str(path), '/etc/passwd', *own]!r}{READ}"
        cell += "import os\nprint(found, os.environ.get('VTOOL_CANARY'))"
        got = said(cell)
    finally:
        del os.environ["VTOOL_CANARY"]
    return "not present" if got.strip() == "[] None" else got[:200]


CONNECT = """
import socket
def reached(family, address):
    try:
        with socket.socket(family, socket.SOCK_STREAM) as s:
            s.settimeout(2)
            s.connect(address)
            return True
    except OSError:
        return False
hits = [reached(socket.AF_INET, ("127.0.0.1", PORT)), reached(socket.AF_UNIX, NAME)]
try:
    socket.getaddrinfo("localhost", 80)
    hits.append(True)
except OSError:
    hits.append(False)
print(hits)
"""


def p2():
    """A port of the host, a socket of the host without a file, a name."""
    name = f"\0vtool-{secrets.token_hex(4)}"
    with socket.socket() as port, socket.socket(socket.AF_UNIX) as unix:
        port.bind(("127.0.0.1", 0))
        unix.bind(name)
        for listener in (port, unix):
            listener.listen()
        got = said(f"PORT, NAME = {port.getsockname()[1]}, {name!r}\n{CONNECT}")
    return "refused" if got.strip() == "[False, False, False]" else got


def p3_forks():
    cell = """
import os, time
count = 0
for _ in range(100):
    try:
        if os.fork() == 0:
            time.sleep(30)
            os._exit(0)
    except OSError:
        break
    count += 1
print(count)
"""
    got = said(cell, processes=24)
    return "contained" if got.isdigit() and int(got) < 24 else got


def p3_memory():
    got = said("x = bytearray(400_000_000)\nprint('had it')", memory_mb=300)
    return "contained" if "MemoryError" in got else got


def p3_disk():
    cell = """
for i in range(20):
    with open(f"/tmp/{i}", "wb") as file:
        file.write(bytes(2_000_000))
print("wrote it all")
"""
    got = said(cell, disk_mb=8)
    return "contained" if "No space left" in got else got


def p3_print():
    cell = "import time\nwhile True:\n    print('x' * 1_000_000)\n    time.sleep(0.01)"
    return said(cell, seconds=1.5)


def p3_long():
    got = said("print('a' * 30_000 + 'b' * 30_000)", characters=2000)
    ends = got.startswith("a" * 1000) and got.endswith("b" * 1000)
    return "cut, both ends told" if ends and "[... 58000 characters" in got else got[:80]


DAEMON = """
import os, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.execv(sys.executable, [sys.executable, "-c", "import time; time.sleep(60)", TOKEN])
    os._exit(0)
time.sleep(0.3)
print("away")
"""


def running(token):
    """Processes of this machine that carry a word in their command."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if token.encode() in (entry / "cmdline").read_bytes().split(b"\0"):
                found.append(int(entry.name))
    return found


def p4():
    """A process that leaves its parent, its session and its group."""
    token, kept = secrets.token_hex(8), Belongings()
    try:
        got = call(f"TOKEN = {token!r}\n{DAEMON}", belongings=kept).text
        left = running(token)
    finally:
        kept.close()
        for pid in running(token):
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
    return "no process left" if got == "away" and not left else f"{got}: {len(left)} left"


def p5(folder):
    """Out of Python: object graph, collector, C library, and system calls by number."""
    path = secret_file(folder)
    cell = (
        f"PATH = {str(path)!r}\n"
        + """
import ctypes, gc
found = []
for kind in ().__class__.__base__.__subclasses__():
    if kind.__name__ == "_wrap_close":
        opened = kind.__init__.__globals__["open"]
        try:
            found.append(opened(PATH, 0))
        except OSError:
            pass
libc = ctypes.CDLL(None)
CALLS = {"open": (PATH.encode(), 0), "chroot": (b"/",), "setuid": (0,), "unshare": (0x10000000,)}
for name, arguments in CALLS.items():
    if getattr(libc, name)(*arguments) >= 0:
        found.append(name)
found += [o for o in gc.get_objects() if isinstance(o, str) and "told-to-" + "nobody" in o]
print(found)
"""
    )
    got = said(cell)
    return "harmless" if got.strip() == "[]" else got[:200]


POISON = """
import builtins, numpy, sys
builtins.abs = lambda x: 42
numpy.mean = lambda *a: 1.0
sys.modules["json"] = None
open("/tmp/left", "w").write("x")
"""
LOOK = "import numpy, os, json\nprint(abs(0), numpy.mean([0.0]), os.path.exists('/tmp/left'))"


def p6():
    """What one episode breaks, another does not meet."""
    first, second = Belongings(), Belongings()
    try:
        broken = call(POISON, belongings=first, cpu_seconds=17)
        first.close()
        got = call(LOOK, belongings=second, cpu_seconds=17).text
    finally:
        second.close()
        pool().close()
    clean = code_of(broken) == "done" and got.strip() == "0 0.0 False"
    return "a fresh process" if clean else got


FORGE = """
import sys, time
frame = sys._getframe()
while "head" not in frame.f_locals:
    frame = frame.f_back
head, runner = frame.f_locals["head"], frame.f_locals["self"]
answer = {"id": head["id"], "failed": False, "error": "", "sizes": [len(f) for f in FILES], **MORE}
runner.write(answer, FILES)
time.sleep(30)
"""


def forged(files, **more):
    """The fault of a cell that answers in the runner's stead."""
    return code_of(call(f"FILES, MORE = {files!r}, {more!r}\n{FORGE}"))


def png(width, height, kind=b"\x89PNG\r\n\x1a\n"):
    """A black picture of one bit a pixel."""

    def chunk(name, body):
        return (
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        )

    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes((1 + (width + 7) // 8) * height))
    return kind + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def p7_bomb():
    return forged([png(5000, 4000)])


def p7_figures():
    return forged([png(8, 8)] * 11)


def p7_path():
    return forged([], path="/etc/passwd")


def p7_format():
    return forged([picture().encode("JPEG")])


@contextlib.contextmanager
def on_path(folder):
    """Only this folder on the path, and a trial made anew before and after."""
    renew = getattr(boundary.refused, "cache_clear", lambda: None)
    old, os.environ["PATH"] = os.environ["PATH"], str(folder)
    renew()
    try:
        yield
    finally:
        os.environ["PATH"] = old
        renew()


def offered(word):
    try:
        Toolbox([python])
    except ToolUnavailable as err:
        return "absent, with its line" if word in str(err) else str(err)
    return "offered"


def p8(folder):
    with on_path(folder):
        return offered("make system-deps")


def p8_refused(folder):
    """Installed, but the system does not let it."""
    (folder / "bwrap").write_text("#!/bin/sh\necho 'bwrap: no namespaces for you' >&2\nexit 1\n")
    (folder / "bwrap").chmod(0o755)
    with on_path(folder):
        return offered("no namespaces for you")


def p9(folder):
    """The task's file, its answer in memory, and whatever has its name."""
    (folder / "tasks.jsonl").write_text(json.dumps({"answer": "told-to-nobody"}))
    task = Task(id="t", prompt=(picture(), "what?"), reference=Answer(("told-to-nobody",)))
    cell = (
        f"PATHS = {[str(folder / 'tasks.jsonl')]!r}{READ}"
        + """
import gc, os
needle = "told-to-" + "nobody"
found += [o for o in gc.get_objects() if isinstance(o, (str, bytes)) and needle in str(o)]
if not found:
    found += [d for d, _, files in os.walk("/") if "tasks.jsonl" in files]
print(len(found), sorted(images))
"""
    )

    async def go():
        env = ToolEnvironment(task, Toolbox([tool()]))
        await env.reset()
        body = json.dumps({"name": "python", "arguments": {"code": cell}})
        action = Hermes().parse(f"<tool_call>\n{body}\n</tool_call>")
        reply = await env.reply(action, Context(0, "policy", env.store), Hermes())
        await env.close()
        return reply.messages[0].text

    got = asyncio.run(go())
    return "not there" if got.strip() == "0 ['image_1']" else got[:200]


def p10_wall():
    return said("import time\ntime.sleep(2.5)\nprint('slept')", seconds=0.7)


def p10_cpu():
    cell = "import time\nwhile time.process_time() < 2.6:\n    pass\nprint('burnt')"
    message = call(cell, seconds=15.0, cpu_seconds=1)
    return f"{code_of(message)} of the processor" if "processor" in message.text else message.text


def p10_lost():
    """After the end of a session the next call has a new one, and is told so."""
    kept = Belongings()
    try:
        first = call("x = 1", belongings=kept, seconds=1.0)
        late = call("import time\ntime.sleep(2.5)", belongings=kept, seconds=1.0)
        after = call("print('x' in globals())", belongings=kept, seconds=1.0)
    finally:
        kept.close()
    codes = [code_of(m) for m in (first, late, after)]
    told = "variables are lost" in late.text
    return f"{', '.join(codes)}: {after.text}" if told else late.text
