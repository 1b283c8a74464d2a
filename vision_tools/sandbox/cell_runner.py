"""The guest: runs cells of Python, one after the other, inside the boundary and nowhere else.

This file is not imported by the rest of the house. It is bound into the guest's root, needs only
what is there, and trusts nobody with more than its own process: whatever a cell does to it, the
host has its own copy of every rule. It reads frames (two lengths, a JSON head, a body of bytes)
from one descriptor and writes them to another; what cells print goes where it always goes.
"""

from __future__ import annotations

import ast
import contextlib
import importlib
import importlib.machinery
import io
import json
import linecache
import os
import resource
import struct
import sys
import traceback
import types

_LENGTHS = struct.Struct(">II")
_FRAMES_TOLD = 12
_PLAIN_PIXELS = 1_000_000


class Shown:
    """Pictures that a cell shows, as PNG files, up to a number and a size together."""

    def __init__(self, most: int, pixels: int, room: int) -> None:
        self.most, self.pixels, self.room = most, pixels, room
        self.files: list[bytes] = []

    def show(self, picture: object = None) -> None:
        """Show a picture: a PIL image, an array (H, W), (H, W, 3) or (H, W, 4), or a figure."""
        if picture is None:
            self.show_figures()
            return
        if len(self.files) >= self.most:
            raise ValueError(f"a cell shows at most {self.most} pictures")
        if hasattr(picture, "savefig"):
            file = io.BytesIO()
            picture.savefig(file, format="png")
            self.keep(file.getvalue())
            return
        image = to_pil(picture)
        if image.width * image.height > self.pixels:
            raise ValueError(
                f"the picture is {image.width}x{image.height}; at most {self.pixels} pixels"
            )
        file = io.BytesIO()
        # Small ones pass through a pipe faster than they are compressed.
        image.save(file, "PNG", compress_level=int(image.width * image.height > _PLAIN_PIXELS))
        self.keep(file.getvalue())

    def keep(self, file: bytes) -> None:
        """One more, if there is room."""
        if sum(map(len, self.files)) + len(file) > self.room:
            raise ValueError(f"the pictures shown are too large: at most {self.room} bytes as PNG")
        self.files.append(file)

    def show_figures(self, **_: object) -> None:
        """Show all open figures of pyplot, and close them."""
        plt = sys.modules.get("matplotlib.pyplot")
        for number in plt.get_fignums() if plt is not None else ():
            self.show(plt.figure(number))
        if plt is not None:
            plt.close("all")


def to_pil(picture: object) -> object:
    """A picture as PIL's image; floats are taken as 0 to 1."""
    numpy, pil = importlib.import_module("numpy"), importlib.import_module("PIL.Image")
    if isinstance(picture, pil.Image):
        keep = picture.mode in ("1", "L", "LA", "P", "RGB", "RGBA")
        return picture if keep else picture.convert("RGB")
    if not isinstance(picture, numpy.ndarray):
        raise TypeError(
            f"show() takes a PIL image, an array or a figure, got {type(picture).__name__}"
        )
    array = picture
    if array.dtype == bool:
        array = array * numpy.uint8(255)
    elif array.dtype.kind == "f":
        array = (numpy.nan_to_num(array).clip(0, 1) * 255).round()
    elif array.dtype != numpy.uint8:
        array = array.clip(0, 255)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    return pil.fromarray(numpy.ascontiguousarray(array.astype(numpy.uint8)))


class Runner:
    """One namespace that cells share."""

    def __init__(self, inbox: int, outbox: int) -> None:
        self.inbox, self.outbox = inbox, outbox
        self.images: dict[str, object] = {}
        self.shown = Shown(0, 0, 0)
        self.names: dict[str, object] = {
            "__name__": "__main__",
            "images": self.images,
            "show": lambda picture=None: self.shown.show(picture),
        }
        self.count = 0

    def serve(self) -> None:
        """Answer cells until the host goes away."""
        while (head := self.read_head()) is not None:
            self.take_pictures(head["images"])
            answer = self.run(head)
            files = self.shown.files
            body = {"id": head["id"], **answer, "sizes": [len(f) for f in files]}
            self.write(body, files)

    def run(self, head: dict) -> dict:
        """Run one cell; what goes wrong in it is its result."""
        self.count += 1
        self.shown = Shown(head["figures"], head["pixels"], head["room"])
        if head["seed"] is not None:
            self.seed(head["seed"])
        bound_cpu(head["cpu_seconds"])
        failed, said = False, ""
        try:
            self.execute(head["code"], f"<cell {self.count}>")
        except BaseException as err:  # a cell may raise anything; none of it ends the session
            failed, said = True, explain(err)
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(BaseException):  # a cell may have replaced or closed it
                stream.flush()
        return {"failed": failed, "error": said[-20_000:]}

    def execute(self, code: str, name: str) -> None:
        """Run the code; the value of a last expression is shown or printed, as notebooks do."""
        linecache.cache[name] = (len(code), None, code.splitlines(True), name)
        tree = ast.parse(code, name)
        if tree.body and isinstance(tree.body[-1], ast.Expr):
            last = tree.body[-1]
            call = ast.Call(ast.Name("__value__", ast.Load()), [last.value], [])
            tree.body[-1] = ast.copy_location(ast.Expr(ast.copy_location(call, last)), last)
            ast.fix_missing_locations(tree)
            self.names["__value__"] = self.value
        # A model wrote this, and running it is what the tool is for: it happens in the guest alone,
        # behind the boundary that the host drew. No other line of the house runs such text.
        exec(compile(tree, name, "exec"), self.names)

    def value(self, value: object) -> None:
        """What becomes of a last expression's value."""
        pil = sys.modules.get("PIL.Image")
        if pil is not None and isinstance(value, pil.Image):
            self.shown.show(value)
        elif value is not None:
            print(repr(value))

    def seed(self, seed: int) -> None:
        """Begin the global generators from the episode's seed."""
        importlib.import_module("random").seed(seed)
        numpy = sys.modules.get("numpy")
        if numpy is not None:
            numpy.random.seed(seed % 2**32)

    def take_pictures(self, listed: list) -> None:
        """New pictures of the episode, as PIL images under their names."""
        for name, width, height in listed:
            pixels = self.read(3 * width * height)
            pil = importlib.import_module("PIL.Image")
            image = pil.frombuffer("RGB", (width, height), pixels, "raw", "RGB", 0, 1)
            self.images[name] = self.names[name] = image

    def read_head(self) -> dict | None:
        """The head of the next frame; its body is read by who knows what is in it."""
        lengths = self.read(_LENGTHS.size)
        if not lengths:
            return None
        return json.loads(self.read(_LENGTHS.unpack(lengths)[0]))

    def read(self, count: int) -> bytes | bytearray:
        """Exactly so many bytes; none at the end."""
        whole = bytearray(count)
        rest = memoryview(whole)
        while rest:
            got = os.readv(self.inbox, [rest])
            if not got:
                return b""
            rest = rest[got:]
        return whole

    def write(self, head: dict, files: list[bytes]) -> None:
        """One frame."""
        told = json.dumps(head).encode()
        frame = b"".join((_LENGTHS.pack(len(told), sum(map(len, files))), told, *files))
        view = memoryview(frame)
        while view:
            view = view[os.write(self.outbox, view) :]


def explain(err: BaseException) -> str:
    """A traceback without the steps in this file."""
    try:
        told = traceback.TracebackException.from_exception(err, limit=-_FRAMES_TOLD)
        chain = [told]
        for one in chain:
            one.stack[:] = [step for step in one.stack if step.filename != __file__]
            chain += [c for c in (one.__cause__, one.__context__) if c is not None]
        return "".join(told.format()).rstrip()
    except BaseException:  # the exception itself may be hostile, or memory may be short
        return type(err).__name__


class Figures:
    """Finds a back end for matplotlib whose `show()` is ours; it is made when it is asked for."""

    name = "cell_figures"

    def __init__(self, runner: Runner) -> None:
        self.runner = runner

    def find_spec(self, name: str, *_: object) -> importlib.machinery.ModuleSpec | None:
        """Found here, if it is this one."""
        return importlib.machinery.ModuleSpec(name, self) if name == self.name else None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> None:
        """An ordinary module."""

    def exec_module(self, module: types.ModuleType) -> None:
        """Fill it."""
        agg = importlib.import_module("matplotlib.backends.backend_agg")
        module.FigureCanvas = agg.FigureCanvasAgg
        module.show = lambda *args, **kwargs: self.runner.shown.show_figures()


def bind(limits: dict[str, int]) -> None:
    """Give up what this process will not need; there is no way back."""
    for name, value in limits.items():
        resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (value, value))


def bound_cpu(seconds: int) -> None:
    """So much processor time more; then the process is ended."""
    if not seconds:
        return
    used = resource.getrusage(resource.RUSAGE_SELF)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    until = int(used.ru_utime + used.ru_stime) + seconds + 1
    soft = until if hard == resource.RLIM_INFINITY else min(until, hard)
    resource.setrlimit(resource.RLIMIT_CPU, (soft, hard))


def main(arguments: list[str]) -> None:
    """Bind, load, say that we are ready, serve."""
    inbox, outbox, site, told = arguments
    start = json.loads(told)
    bind(start["rlimits"])
    sys.path.append(site)
    for descriptor in (int(inbox), int(outbox)):
        os.set_inheritable(descriptor, False)
    sys.stdout.reconfigure(line_buffering=True)  # else errors overtake what was printed before
    for name in start["preload"]:
        importlib.import_module(name)
    runner = Runner(int(inbox), int(outbox))
    sys.meta_path.append(Figures(runner))
    runner.write({"ready": True}, [])
    runner.serve()


if __name__ == "__main__":
    main(sys.argv[1:])
