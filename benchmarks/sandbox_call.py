"""A call of the code tool in its session, against a plain process started for the same cell.

    OMP_NUM_THREADS=1 python benchmarks/sandbox_call.py

Three cells on one picture of 12 megapixels: arithmetic alone; crop, resize and a mean; the same
with the part shown. Candidates, wall time, interleaved, their outputs found equal each time:

- `warm`: the tool, through `Toolbox.run`, in the session of an episode that has seen the picture;
- `first`: the first call of an episode: a waiting guest, and the picture sent to it;
- `first_cold`: the same where no guest waits;
- `process`: `subprocess.run([python, "-c", cell])` with the imports and the picture's pixels
  (`.npy`, the fastest way in) that the cell needs: what a tool without session or boundary does.

`warm` must be ten times faster than `process`; `first` no slower, in cells that look at the
picture. A first cell that never looks pays for its sending all the same: 36 MB that a process of
its own would not have read (row `arithmetic`).
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import _timing
import numpy as np
from vtool.vision_tools.code import python
from vtool.vision_tools.sandbox.limits import bounds
from vtool.vision_tools.sandbox.pool import pool

from vtool.dialects.hermes import Hermes
from vtool.media import Image
from vtool.message import ToolCall
from vtool.store import Store
from vtool.toolbox import Toolbox
from vtool.workspace import Belongings

SUPPORT = Path(__file__).parents[1] / "tests" / "support"
sys.path.insert(0, str(SUPPORT))

from pictures import textured  # noqa: E402

SIZE = (4000, 3000)
WARM_TARGET, FIRST_TARGET, SLACK = 10.0, 1.0, 0.7

LOOK = "part = image_1.crop((1000, 800, 1800, 1400)).resize((400, 300))\n"
CELLS = {
    "arithmetic": "print(sum(i * i for i in range(1000)))",
    "look": LOOK + "import numpy as np\nprint(np.asarray(part).mean(axis=(0, 1)).tolist())",
    "show": LOOK + "show(part)",
}
OPEN = "import numpy, PIL.Image\nimage_1 = PIL.Image.fromarray(numpy.load({path!r}))\n"
SAVE = "def show(picture):\n    picture.save({path!r}, compress_level=1)\n"


class Peer:
    """A process for each cell, with no more before it than the cell needs."""

    def __init__(self, folder: Path, pixels: np.ndarray) -> None:
        self.picture, self.shown = folder / "picture.npy", folder / "shown.png"
        np.save(self.picture, pixels)

    def __call__(self, cell: str) -> tuple[str, bytes]:
        """What the cell says and shows."""
        program = OPEN.format(path=str(self.picture)) if "image_1" in cell else ""
        program += SAVE.format(path=str(self.shown)) if "show(" in cell else ""
        done = subprocess.run(
            [sys.executable, "-c", program + cell], capture_output=True, text=True, check=True
        )
        pixels = Image.open(self.shown).pixels.tobytes() if "show(" in cell else b""
        return done.stdout.strip(), pixels


class Ours:
    """The tool, as an environment calls it."""

    def __init__(self, image: Image) -> None:
        # Guests that wait are made by `prepare`, so that none starts while another is timed.
        self.tool = python.set(spare=0)
        self.box, self.store = Toolbox([self.tool]), Store()
        self.store.add(image)

    def __call__(self, cell: str, kept: Belongings) -> tuple[str, bytes]:
        """What the cell says and shows."""
        store = self.store.fork()  # each call finds the store as the first one did
        calls = [ToolCall("python", {"code": cell})]
        run = self.box.run(calls, store, Hermes(), lambda handle: None, belongings=kept)
        message = asyncio.run(run)[0]
        assert message.outcomes[0].fault is None, message.text
        shown = [store.image(h).pixels.tobytes() for h in message.outcomes[0].handles]
        return message.text.replace("(nothing printed)", ""), b"".join(shown)

    def prepare(self, waiting: bool) -> Belongings:
        """An episode that has made no call; a guest waits for it, or none."""
        pool().close()
        if waiting:
            session = pool().take(self.tool.settings.kind)
            session.wait()
            pool().give(session)
        return Belongings()


def case(cell: str, image: Image, peer: Peer, repeats: int) -> dict[str, dict[str, float]]:
    """Wall times of every candidate on one cell; their outputs are equal."""
    ours, kept = Ours(image), Belongings()
    expected = ours(cell, kept)
    names = ("warm", "first", "first_cold", "process")
    times: dict[str, list[float]] = {name: [] for name in names}
    for round_ in range(-1, repeats):
        turn = round_ % len(names)
        for name in names[turn:] + names[:turn]:
            episode = kept if name == "warm" else ours.prepare(name == "first")
            start = time.perf_counter()
            got = peer(cell) if name == "process" else ours(cell, episode)
            seconds = time.perf_counter() - start
            assert got == expected, (name, got[0], expected[0])
            if round_ >= 0:
                times[name].append(seconds)
            if episode is not kept:
                episode.close()
    kept.close()
    return {name: _timing.summary(values) for name, values in times.items()}


def table(cases: Mapping[str, Mapping[str, Mapping[str, float]]]) -> str:
    """Milliseconds a call, and how many times faster than a process."""
    names = list(next(iter(cases.values())))
    lines = ["cell        " + "".join(f"{n:>20}" for n in names)]
    for cell, times in cases.items():
        peer = times["process"]["median"]
        row = (f"{times[n]['median'] * 1e3:.2f} ({peer / times[n]['median']:.1f}x)" for n in names)
        lines.append(f"{cell:<12}" + "".join(f"{text:>20}" for text in row))
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--strict", action="store_true", help="targets without slack")
    args = parser.parse_args()
    if python.lacks():
        print("skipped: " + "; ".join(f"{lack.what} ({lack.fix})" for lack in python.lacks()))
        return
    start = _timing.machine(("numpy", "pillow"))
    pixels = textured(*SIZE, args.seed)
    with tempfile.TemporaryDirectory() as folder:
        peer = Peer(Path(folder), pixels)
        cases = {name: case(c, Image(pixels), peer, args.repeats) for name, c in CELLS.items()}
    pool().close()
    ratios = {
        name: {n: t["process"]["median"] / t[n]["median"] for n in ("warm", "first", "first_cold")}
        for name, t in cases.items()
    }
    payload = {
        "benchmark": "sandbox_call",
        "command": "OMP_NUM_THREADS=1 python benchmarks/sandbox_call.py",
        "seed": args.seed,
        "machine": start | {"bounds": dataclasses.asdict(bounds())},
        "targets": {"warm_speedup": WARM_TARGET, "first_speedup": FIRST_TARGET},
        "speedup": ratios,
        "wall_s": cases,
    }
    print(_timing.write("sandbox_call", payload))
    (_timing.RESULTS / "sandbox_call.txt").write_text(table(cases) + "\n")
    print(table(cases))
    slack = 1.0 if args.strict else SLACK
    assert min(r["warm"] for r in ratios.values()) >= WARM_TARGET * slack, ratios
    looking = [r["first"] for name, r in ratios.items() if "image_1" in CELLS[name]]
    assert min(looking) >= FIRST_TARGET * slack, ratios


if __name__ == "__main__":
    main()
