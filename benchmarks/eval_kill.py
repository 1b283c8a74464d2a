"""An evaluation killed again and again comes to the numbers of one that was left in peace.

    OMP_NUM_THREADS=1 python benchmarks/eval_kill.py

500 questions of the zoom world and 200 of the moment world are played by the shipped policies, each
once unbroken and once killed (SIGKILL, the whole process) at ten random moments and gone on with.
Samples and table must be equal but for times, and no finished sample may have been played twice.

Writes `results/eval_kill.json`.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

RESULT = Path(__file__).with_name("results") / "eval_kill.json"
WORLDS = {
    "zoom": ("tiny/clean", "zoom", "--one", 500),
    "moments": ("tiny/moments", "resample", "--videos", 50),
}
"""Policy, tool, and how much is made: a video is asked about four times."""
TIMES = ("seconds", "created")


def command(tasks: Path, out: Path, model: str, tool: str) -> list[str]:
    """The evaluation as a user starts it."""
    words = [sys.executable, "-m", "vtool.cli", "eval", str(tasks)]
    return [*words, "--model", model, "--tools", tool, "--out", str(out), "--concurrency", "8"]


def run(words: list[str]) -> None:
    """Let it end."""
    subprocess.run(words, check=True, capture_output=True)


def kill(words: list[str], out: Path, target: int, pause: float) -> bool:
    """Kill it a moment after so many samples are finished; whether it was still running."""
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None and finished(out) < target:
        time.sleep(0.005)
    time.sleep(pause)
    alive = process.poll() is None
    process.kill()
    process.wait()
    return alive


def finished(out: Path) -> int:
    """Samples that the trace holds whole."""
    file = out / "main" / "trace" / "episodes.jsonl"
    return file.read_bytes().count(b"\n") if file.is_file() else 0


def samples(out: Path) -> list[dict[str, Any]]:
    """What was found of each question, without times."""
    lines = (out / "main" / "samples.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k not in TIMES} for line in lines]


def table(out: Path) -> dict[str, Any]:
    """The table."""
    report: dict[str, Any] = json.loads((out / "main" / "report.json").read_text())
    return {k: report[k] for k in ("total", "by_tag", "stops", "broken")}


def played(out: Path) -> Counter[tuple[str, int]]:
    """How often each sample was finished."""
    lines = (out / "main" / "trace" / "episodes.jsonl").read_bytes().split(b"\n")
    found: Counter[tuple[str, int]] = Counter()
    for line in lines[:-1]:
        body = json.loads(line)
        found[body["episode"]["task_id"], body["meta"]["attempt"]] += 1
    return found


def compare(
    tasks: Path, place: Path, model: str, tool: str, kills: int, seed: int
) -> dict[str, Any]:
    """Both evaluations of a world, and what differs (nothing may)."""
    whole, torn = place / "whole", place / "torn"
    run(command(tasks, whole, model, tool))
    total = len(samples(whole))
    rng, done, died = random.Random(seed), [0], 0
    for left in range(kills, 0, -1):
        target = done[-1] + rng.randint(1, max(1, (total - done[-1]) // (left + 1)))
        died += kill(command(tasks, torn, model, tool), torn, target, rng.uniform(0, 0.1))
        done.append(finished(torn))
    run(command(tasks, torn, model, tool))
    twice = [k for k, n in played(torn).items() if n > 1]
    assert not twice, f"finished samples were played again: {twice[:3]}"
    assert samples(torn) == samples(whole), "some samples differ"
    assert table(torn) == table(whole), "the tables differ"
    return {"killed": died, "finished_at_kills": done[1:], "questions": len(samples(whole))}


def main() -> int:
    """Every world."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--share", type=float, default=1.0, help="of the questions")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    found = {}
    for name, (model, tool, option, count) in WORLDS.items():
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder)
            some = max(8, round(count * args.share))
            words = [sys.executable, "-m", "vtool.cli", "data", "make", name]
            words += ["--out", str(place / "data"), option, str(some), "--split", "held_out"]
            subprocess.run(words, check=True, capture_output=True)
            tasks = place / "data" / "tasks.jsonl"
            found[name] = compare(tasks, place, model, tool, args.kills, args.seed)
        print(name, json.dumps(found[name]), flush=True)
    if args.share == 1.0:
        RESULT.write_text(json.dumps(found, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
