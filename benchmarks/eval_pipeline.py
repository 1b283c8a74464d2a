"""How near the evaluation runner comes to what the machine allows, and how far from a serial loop.

    OMP_NUM_THREADS=1 python benchmarks/eval_pipeline.py [--strict]

150 questions about JPEG files of 2.5 megapixels and 16 about short videos; every episode looks
closer once and answers. The engine keeps time instead of computing: a decoding step with n
sequences takes `T0 + C n`, at most `SLOTS` at once (constants of a 7B model on one accelerator).
Real: reading and decoding files, cutting patches, tools, records, scoring, report.

The serial loop opens a question, plays it, scores it, then the next, over the same engine. The
bound is the largest of: CPU seconds of the serial loop over the cores, the engine with all slots
full, the slowest question alone. Sides take turns, three times, medians; answers must be equal.

Targets: at most 1.2 of the bound, at least 3 times the serial loop. Writes
`results/eval_pipeline.json`.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import _timing
import numpy as np
from vtool.eval.attempt import judge
from vtool.eval.run import Settings, evaluate

from vtool.benchmark import metrics
from vtool.data import load_tasks
from vtool.engines.base import Capabilities, Completion, Request
from vtool.engines.scripted import ScriptedEngine
from vtool.environment import Limits, ToolEnvironment
from vtool.media import Image
from vtool.pairs import load_renderer
from vtool.programs.solo import play
from vtool.record import Sampling
from vtool.seat import Seat
from vtool.shipped import shipped
from vtool.task import Task
from vtool.toolbox import Toolbox
from vtool.worlds.dataset import make
from vtool.worlds.moments_files import make as make_videos

T0, C, SLOTS = 0.010, 0.000_08, 64
TOKENS = (60, 24)
"""That the engine is paid for in a look and in an answer."""
PICTURES, VIDEOS, REPEATS = 150, 4, 3
SIDE = 1600
TARGETS = {"of_bound": 1.2, "times_serial": 3.0}
CALL = '{"name": "zoom", "arguments": {"image": 1, "box": [200, 200, 700, 700]}}'
LOOK = f"<tool_call>\n{CALL}\n</tool_call>"
ANSWER = "<answer>7</answer>"


@dataclass(eq=False)
class Keeping:
    """An engine that says a script and takes the time that an accelerator would."""

    inner: ScriptedEngine
    active: int = 0
    tokens: int = 0
    slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(SLOTS))
    version: int = 0

    @property
    def capabilities(self) -> Capabilities:
        """Those of the script."""
        return self.inner.capabilities

    async def generate(self, request: Request) -> Completion:
        """Wait as long as the tokens take among those that are being written, then say it."""
        count = TOKENS[min(request.key[-1], len(TOKENS) - 1)]
        async with self.slots:
            self.active += 1
            try:
                await asyncio.sleep(count * (T0 + C * self.active))
            finally:
                self.active -= 1
        self.tokens += count
        return await self.inner.generate(request)


def data(folder: Path) -> None:
    """Files and their questions."""
    make(folder / "p", seed=3, one=PICTURES, suffix="jpg")
    for path in sorted((folder / "p" / "images").iterdir()):
        path.write_bytes(Image.open(path).resize((SIDE, SIDE)).encode("JPEG"))
    make_videos(folder / "v", seed=3, videos=VIDEOS)


def tasks_of(folder: Path) -> list[Sequence[Task]]:
    """Both kinds, unopened."""
    return [load_tasks(folder / kind / "tasks.jsonl") for kind in ("p", "v")]


class Both(Sequence[Task]):
    """Two task files as one; a question is opened when it is asked for."""

    def __init__(self, files: Sequence[Any]) -> None:
        self.files = files
        places = [(k, i) for k, file in enumerate(files) for i in range(len(file))]
        order = np.random.default_rng(0).permutation(len(places))
        self.places = [places[i] for i in order]
        self.ids = [files[k].ids[i] for k, i in self.places]

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, at: Any) -> Any:
        if isinstance(at, slice):
            return [self[i] for i in range(*at.indices(len(self)))]
        k, i = self.places[at]
        return self.files[k][i]


def engine() -> Keeping:
    """A fresh one."""
    renderer = load_renderer(shipped("tiny/clean"))
    script = ScriptedEngine(lambda r: LOOK if r.key[-1] == 0 else ANSWER, renderer.codec)
    script.end = renderer.stop_ids[:1]
    return Keeping(script)


SETTINGS = Settings(sampling=Sampling(max_tokens=200), limits=Limits(max_turns=3, max_tokens=4096))


def pipelined(folder: Path, out: Path) -> dict[str, Any]:
    """Our runner."""
    wall, cpu, told = time.monotonic(), time.process_time(), engine()
    report = asyncio.run(
        evaluate(
            Both(tasks_of(folder)),
            renderer=load_renderer(shipped("tiny/clean")),
            engine=told,
            toolbox=Toolbox(["zoom"], cache=False),
            settings=SETTINGS,
            out=out,
            concurrency=SLOTS,
        )
    )
    return {
        "wall_s": time.monotonic() - wall,
        "cpu_s": time.process_time() - cpu,
        "n": report.total.n,
        "accuracy": report.total.accuracy,
        "calls": report.total.calls,
        "tokens": told.tokens,
    }


def serial(folder: Path) -> dict[str, Any]:
    """One question after the other, as harnesses do that take one at a time."""
    wall, cpu, told = time.monotonic(), time.process_time(), engine()
    tasks, toolbox = Both(tasks_of(folder)), Toolbox(["zoom"], cache=False)
    renderer, metric = load_renderer(shipped("tiny/clean")), metrics.get("exact_match")
    seat = Seat("policy", renderer, told, SETTINGS.sampling)
    found, slowest, work = [], 0.0, 0.0

    async def go() -> None:
        nonlocal slowest, work
        for index in range(len(tasks)):
            began, worked = time.monotonic(), time.process_time()
            task = tasks[index]
            env = ToolEnvironment(task, toolbox, SETTINGS.limits)
            episode = await play(env, {"policy": seat}, key=(0, index))
            await env.close()
            found.append(judge(episode, task, 0, metric))
            slowest = max(slowest, time.monotonic() - began)
            work += time.process_time() - worked

    asyncio.run(go())
    return {
        "wall_s": time.monotonic() - wall,
        "cpu_s": time.process_time() - cpu,
        "slowest_s": slowest,
        "n": len(found),
        "accuracy": statistics.mean(a.correct for a in found),
        "calls": statistics.mean(a.calls for a in found),
        "tokens": told.tokens,
    }


def main() -> int:
    """Measure, compare, write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--strict", action="store_true", help="fail where a target is missed")
    args = parser.parse_args()
    rows: dict[str, list[dict[str, Any]]] = {"ours": [], "serial": []}
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        data(folder)
        for number in range(REPEATS):
            rows["ours"].append(pipelined(folder, folder / f"out-{number}"))
            rows["serial"].append(serial(folder))
            print({k: round(v[-1]["wall_s"], 2) for k, v in rows.items()}, flush=True)
    for name in ("n", "accuracy", "calls", "tokens"):
        values = {round(float(r[name]), 9) for side in rows.values() for r in side}
        assert len(values) == 1, f"{name} differs: {values}"
    assert rows["ours"][0]["n"] == PICTURES + 4 * VIDEOS
    assert rows["ours"][0]["calls"] == 1.0
    found = summary(rows)
    _timing.write("eval_pipeline", {"benchmark": "eval_pipeline", **found, "rows": rows})
    print({k: round(v, 3) for k, v in found.items() if isinstance(v, float)})
    near = found["of_bound"] <= TARGETS["of_bound"]
    met = near and found["times_serial"] >= TARGETS["times_serial"]
    return 0 if met or not args.strict else 1


def summary(rows: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Medians, the bound, the two ratios."""
    ours = statistics.median(r["wall_s"] for r in rows["ours"])
    loop = statistics.median(r["wall_s"] for r in rows["serial"])
    cores = os.cpu_count() or 1
    parts = {
        "cpu_over_cores_s": statistics.median(r["cpu_s"] for r in rows["serial"]) / cores,
        "engine_full_s": rows["ours"][0]["tokens"] * (T0 / SLOTS + C),
        "slowest_s": statistics.median(r["slowest_s"] for r in rows["serial"]),
    }
    bound = max(parts.values())
    return {
        "ours_s": ours,
        "serial_s": loop,
        "bound_s": bound,
        "bound_parts": parts,
        "of_bound": ours / bound,
        "times_serial": loop / ours,
        "targets": TARGETS,
        "machine": _timing.machine(),
    }


if __name__ == "__main__":
    sys.exit(main())
