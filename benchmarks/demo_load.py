"""A hundred visitors at once in the studio, on loopback, with the shipped policy.

    OMP_NUM_THREADS=1 python benchmarks/demo_load.py

A server is started by the command that people type, `vtool demo`. Visitors are `gradio_client`s of
this process, each with a picture of its own:

- `alone`: one visitor asks every question, one after the other: the answers to compare with;
- `together`: all ask at once, again and again; a visitor that sees another's question, calls or
  answer is counted as cross-talk;
- `overflow`: as many, and few may wait: the rest must be told that the studio is busy, and those
  who were taken in must still be answered;
- `leaving`: visitors close while they are being answered: afterwards one must be served at once.

Targets: no crash, no cross-talk, the 95th percentile of the waiting time within 30 s, and no more
than 300 MB of resident memory above what the server held after its first answer.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import _timing
import psutil
from gradio_client import Client, handle_file

from vtool.media import Image
from vtool.worlds.zoom import Kind, Split, draw

P95_TARGET_S, GROWTH_TARGET_MB = 30.0, 300.0
FIRST_SEED = 500
BUSY = re.compile(r"queue is full|busy", re.IGNORECASE)


@dataclass(frozen=True)
class Question:
    """A file, and what is asked about it."""

    path: Path
    words: str


@dataclass(frozen=True)
class Told:
    """What a visitor was told, without what differs from time to time."""

    question: str
    calls: tuple[str, ...]
    answer: str | None


@dataclass
class Server:
    """A studio in a process of its own, and how large it is."""

    address: str
    process: psutil.Process
    sizes: list[float] = field(default_factory=list)

    def size(self) -> float:
        """Resident memory now, in MB, with that of its workers."""
        every = [self.process, *self.process.children(recursive=True)]
        return sum(p.memory_info().rss for p in every if p.is_running()) / 1e6

    def watch(self, over: threading.Event) -> None:
        """Note the size until it is over."""
        while not over.wait(0.25):
            self.sizes.append(self.size())


@contextmanager
def served(waiting: int, at_once: int) -> Iterator[Server]:
    """The studio, as its command opens it."""
    start = "from vtool.cli import main; main()"
    command = [sys.executable, "-u", "-c", start, "demo", "--port", "0"]
    command += ["--waiting", str(waiting), "--at-once", str(at_once)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    try:
        lines = []
        for line in process.stdout:
            lines.append(line)
            if found := re.search(r"http://\S+", line):
                break
        else:
            raise RuntimeError("the studio did not open:\n" + "".join(lines))
        yield Server(found.group(), psutil.Process(process.pid))
        if process.poll() is not None:
            raise RuntimeError(f"the studio ended with {process.returncode}")
    finally:
        process.terminate()
        process.wait(20)


def make_questions(count: int, folder: Path) -> list[Question]:
    """Pictures that the shipped policy knows, each with its question."""
    found = []
    for n in range(count):
        scene = draw(FIRST_SEED + n, kind=Kind.ONE, split=Split.HELD_OUT)
        path = folder / f"{n}.png"
        path.write_bytes(Image(scene.pixels).encode("PNG"))
        found.append(Question(path, scene.question))
    return found


def ask(visitor: Client, question: Question) -> tuple[Told, float]:
    """Ask; what was told, and after how many seconds."""
    start = time.monotonic()
    picture = handle_file(str(question.path))
    out = visitor.predict(picture, question.words, "tiny/clean", ["zoom"], 0, 0, api_name="/ask")
    facts = next(o for o in out if isinstance(o, dict) and "steps" in o)
    steps = facts["steps"]
    calls = tuple(f"{c['name']}({c['arguments']})" for s in steps for c in s["calls"])
    told = Told(steps[0]["words"] if steps else "", calls, facts["answer"])
    return told, time.monotonic() - start


def visit(address: str, count: int) -> list[Client]:
    """So many visitors, each with a session of its own."""
    with ThreadPoolExecutor(16) as pool:
        opened = pool.map(
            lambda _: Client(address, verbose=False, download_files=False), range(count)
        )
        return list(opened)


def all_at_once(work: Callable[[int], Any], count: int) -> list[Any]:
    """Results of work done by as many threads, let go at one moment; errors are results."""
    gate = threading.Barrier(count)

    def one(n: int) -> Any:
        gate.wait()
        try:
            return work(n)
        except Exception as err:
            return err

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))


def together(server: Server, questions: Sequence[Question], rounds: int) -> dict[str, Any]:
    """The answers alone, then all at once."""
    visitors = visit(server.address, len(questions))
    alone = [ask(visitors[0], q) for q in questions]
    before, over = server.size(), threading.Event()
    watch = threading.Thread(target=server.watch, args=(over,), daemon=True)
    watch.start()
    seconds, errors, mixed = [], [], 0
    start = time.monotonic()
    for _ in range(rounds):
        out = all_at_once(lambda n: ask(visitors[n], questions[n]), len(questions))
        for (expected, _), got in zip(alone, out, strict=True):
            if isinstance(got, Exception):
                errors.append(f"{type(got).__name__}: {got}")
            else:
                mixed += got[0] != expected
                seconds.append(got[1])
    wall = time.monotonic() - start
    over.set()
    watch.join()
    for one in visitors:
        one.close()
    return {
        "visitors": len(questions),
        "rounds": rounds,
        "answered": len(seconds),
        "errors": len(errors),
        "first_errors": errors[:3],
        "cross_talk": mixed,
        "alone_median_s": statistics.median(s for _, s in alone),
        "p50_s": statistics.median(seconds),
        "p95_s": statistics.quantiles(seconds, n=20)[-1],
        "slowest_s": max(seconds),
        "answers_a_second": len(seconds) / wall,
        "resident_before_mb": before,
        "resident_peak_mb": max(server.sizes),
        "growth_mb": max(server.sizes) - before,
    }


def overflow(server: Server, questions: Sequence[Question]) -> dict[str, Any]:
    """More than may wait."""
    visitors = visit(server.address, len(questions))
    out = all_at_once(lambda n: ask(visitors[n], questions[n]), len(questions))
    errors = [str(o) for o in out if isinstance(o, Exception)]
    busy = [e for e in errors if BUSY.search(e)]
    right = [o for n, o in enumerate(out) if not isinstance(o, Exception) and o[0].answer]
    own = [o for n, o in enumerate(out) if not isinstance(o, Exception)]
    own = [o for n, o in enumerate(out) if o in own and o[0].question == questions[n].words]
    for one in visitors:
        one.close()
    return {
        "visitors": len(questions),
        "answered": len(right),
        "own_question": len(own),
        "told_busy": len(busy),
        "other_errors": len(errors) - len(busy),
        "said": busy[0] if busy else None,
    }


def leaving(server: Server, questions: Sequence[Question]) -> dict[str, Any]:
    """Visitors go while they are being answered; then somebody comes."""
    visitors = visit(server.address, len(questions))
    for visitor, q in zip(visitors, questions, strict=True):
        picture = handle_file(str(q.path))
        visitor.submit(picture, q.words, "tiny/clean", ["zoom"], 0, 0, api_name="/ask")
    for visitor in visitors:
        visitor.close()
    (one,) = visit(server.address, 1)
    _, seconds = ask(one, questions[0])
    one.close()
    return {"left": len(questions), "next_answered_after_s": seconds}


def page(found: dict[str, Any]) -> str:
    """The results as a table."""
    a, b, c = found["together"], found["overflow"], found["leaving"]
    rows = [
        ("visitors at once, rounds", f"{a['visitors']} x {a['rounds']}", ""),
        ("answered", f"{a['answered']}", "all"),
        ("errors", f"{a['errors']}", "0"),
        ("saw another's question, calls or answer", f"{a['cross_talk']}", "0"),
        ("waiting time, median", f"{a['p50_s']:.1f} s", ""),
        ("waiting time, 95th percentile", f"{a['p95_s']:.1f} s", f"<= {P95_TARGET_S:.0f} s"),
        ("waiting time, slowest", f"{a['slowest_s']:.1f} s", ""),
        ("alone, median", f"{a['alone_median_s']:.2f} s", ""),
        ("answers a second", f"{a['answers_a_second']:.1f}", ""),
        ("resident after the first answers", f"{a['resident_before_mb']:.0f} MB", ""),
        ("growth under load, peak", f"{a['growth_mb']:.0f} MB", f"<= {GROWTH_TARGET_MB:.0f} MB"),
        (
            f"overflow: {b['visitors']} visitors, {b['may_wait']} may wait",
            f"{b['answered']} answered, {b['told_busy']} told that it is busy, "
            f"{b['other_errors']} other errors",
            "nobody left without word",
        ),
        (
            f"{c['left']} visitors leave while they are answered",
            f"the next is answered after {c['next_answered_after_s']:.1f} s",
            "",
        ),
    ]
    lines = [f"| {what} | {value} | {target} |" for what, value, target in rows]
    head = "# The studio under load\n\n"
    made = "Made by `OMP_NUM_THREADS=1 python benchmarks/demo_load.py`: visitors and server share "
    made += f"{os.cpu_count()} cores. The file says what is done.\n\n"
    table = "\n".join(["| what | measured | target |", "|---|---|---|", *lines])
    said = f"\n\nThe busy ones are told: “{b['said']}”\n" if b["said"] else "\n"
    return head + made + table + said + f"\nMachine: {found['machine']}.\n"


def main() -> None:
    """Measure, write, judge."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--visitors", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--may-wait", type=int, default=16)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        questions = make_questions(args.visitors, Path(folder))
        with served(waiting=2 * args.visitors, at_once=8) as server:
            one = together(server, questions, args.rounds)
            three = leaving(server, questions[:20])
        with served(waiting=args.may_wait, at_once=8) as server:
            two = {**overflow(server, questions), "may_wait": args.may_wait}
    machine = _timing.machine(("gradio", "gradio-client", "torch", "transformers"))
    found = {"together": one, "overflow": two, "leaving": three, "machine": machine}
    print(_timing.write("demo_load", found))
    text = page(found)
    (_timing.RESULTS / "demo_load.md").write_text(text, encoding="utf-8")
    print(text)
    good = one["errors"] == one["cross_talk"] == two["other_errors"] == 0
    good = good and one["p95_s"] <= P95_TARGET_S and one["growth_mb"] <= GROWTH_TARGET_MB
    raise SystemExit(0 if good else 1)


if __name__ == "__main__":
    main()
