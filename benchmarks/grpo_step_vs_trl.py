"""A GRPO step with a tool that gives pictures: ours against TRL's, step by step in one run.

    python -m venv /tmp/trl && /tmp/trl/bin/pip install torch==2.13.0 trl==1.16.0 pillow
    /tmp/trl/bin/pip install --no-deps torchvision==0.28.0
    OMP_NUM_THREADS=1 python benchmarks/grpo_step_vs_trl.py --peer /tmp/trl/bin/python [--strict]

Both sides start from the shipped weak policy and learn the same questions of the zoom world from
equally many attempts (8 questions x 8), with the same reward (the answer is right), the same loss
(token mean over the batch, bounds .2 and .28, no reference), optimiser and temperature, and up to
three calls of equally many tokens. TRL is an `environment_factory` with a `zoom` that returns a
picture; before the clocks start it must tokenise a question and a reply of the tool exactly as ours
does. Its micro-batch is the fastest of `MICRO`, found first; activation checkpointing is off. One
thread each; the sides take turns, who begins changes with every step. CPU seconds of a whole step:
play, score, learn.

Writes `results/grpo_step_vs_trl.json` and `.md`, with both learning curves.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import _timing
import numpy as np
from vtool.rl.heap import settled_heap
from vtool.rl.recipe import Recipe, load_recipe
from vtool.rl.trainer import Trainer

from vtool.message import Author
from vtool.shipped import shipped

PROMPTS, GROUP, LR = 8, 8, 3e-4
CALLS, TURN, REPLY = 3, 80, 32
"""At most so many calls; tokens of a turn and of a tool's reply."""
MICRO = (16, 32, 64)
TARGET = 2.0
WINDOW = 10
MARK = "@@ "
WORKER = Path(__file__).with_name("_trl_worker.py")
SAME = (
    "data.options={seed: 1, one: 1600}",
    f"prompts={PROMPTS}",
    f"group_size={GROUP}",
    "reward={parts: [answer], combine: weighted, options: {weights: {answer: 1.0}}}",
    f"sampling.max_tokens={TURN}",
    f"limits.max_turns={CALLS + 1}",
    f"learner.lr={LR}",
    "tensorboard=false",
)
Row = dict[str, float]


class Peer:
    """TRL in its own interpreter, a step at a word."""

    def __init__(self, python: str, ours: Trainer, expected: dict[str, Any], **chosen: int) -> None:
        words = {
            "model": str(shipped("tiny/weak")),
            "tasks": str(ours.data_file),
            "out": tempfile.mkdtemp(),
            "expected": json.dumps(expected),
            "suppress": json.dumps(placeholders(ours)),
            "prompts": PROMPTS,
            "group": GROUP,
            "tokens": (CALLS + 1) * TURN + CALLS * REPLY,
            "calls": CALLS,
            "lr": LR,
            **chosen,
        }
        line = [python, str(WORKER), *(f"--{k}={v}" for k, v in words.items())]
        env = {**os.environ, "HF_HUB_OFFLINE": "1", "TRL_EXPERIMENTAL_SILENCE": "1"}
        env.pop("PYTHONPATH", None)
        pipe, self.log = subprocess.PIPE, tempfile.TemporaryFile("w+")  # noqa: SIM115
        self.process = subprocess.Popen(
            line, stdin=pipe, stdout=pipe, stderr=self.log, text=True, env=env
        )
        self._said()

    def step(self) -> Row:
        """One step of it."""
        assert self.process.stdin is not None
        self.process.stdin.write("step\n")
        self.process.stdin.flush()
        return self._said()

    def end(self) -> None:
        """Let it go."""
        self.process.kill()
        self.process.communicate()
        self.log.close()

    def _said(self) -> Row:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith(MARK):
                return json.loads(line.removeprefix(MARK))
        self.log.seek(0)
        raise RuntimeError(f"the peer ended: {self.log.read()[-3000:]}")


def placeholders(ours: Trainer) -> list[int]:
    """Tokens that stand for pictures and videos: nobody samples them."""
    codec = ours.renderer.codec
    return [codec.token_id(f"<|{kind}_pad|>") for kind in ("image", "video")]


def our_step(trainer: Trainer) -> Row:
    """One step of ours."""
    wall, cpu = time.monotonic(), time.process_time()
    metrics, collected = asyncio.run(trainer.step())
    took = time.monotonic() - wall, time.process_time() - cpu
    drawn = [
        len(s.ids)
        for g in collected.groups
        for e in g.episodes
        for c in e.contexts
        for s in c.segments
        if s.author is Author.POLICY
    ]
    attempts = sum(len(g.episodes) for g in collected.groups)
    assert attempts == PROMPTS * GROUP
    outcomes = [len(e.outcomes()) for g in collected.groups for e in g.episodes]
    return {
        "wall_s": took[0],
        "cpu_s": took[1],
        "accuracy": metrics["accuracy"],
        "calls": sum(outcomes) / attempts,
        "tokens": sum(drawn) / attempts,
        "grad_norm": metrics["grad_norm"],
    }


def expected_tokens(recipe: Recipe, folder: Path) -> dict[str, Any]:
    """A question and a tool's reply as ours writes them."""
    trainer = Trainer(recipe, folder)
    rows = {r["id"]: r for r in map(json.loads, trainer.data_file.read_text().splitlines())}
    for number in range(9):
        collected = asyncio.run(trainer.play(number))
        for task, group in zip(collected.tasks, collected.groups, strict=True):
            for episode in group.episodes:
                segments = episode.contexts[0].segments
                looked = [s for s in segments if s.author is Author.TOOL]
                outcomes = episode.outcomes()
                if not looked or outcomes[0].fault is not None:
                    continue
                row = rows[task.id]
                return {
                    "path": str(trainer.data_file.parent / row["images"][0]),
                    "question": row["messages"][0]["content"].removeprefix("<image>"),
                    "prompt": [int(i) for i in segments[0].ids],
                    "reply": [int(i) for i in looked[0].ids],
                    "box": outcomes[0].call.arguments["box"],
                }
    raise RuntimeError("the policy never looked")


def fastest(args: argparse.Namespace, ours: Trainer, expected: dict[str, Any]) -> dict[int, float]:
    """CPU seconds a step of the peer for each micro-batch."""
    found = {}
    for micro in MICRO:
        peer = Peer(args.peer, ours, expected, micro=micro, steps=5, seed=0)
        found[micro] = float(np.median([peer.step()["cpu_s"] for _ in range(5)][1:]))
        peer.end()
    return found


def run(
    args: argparse.Namespace, seed: int, micro: int, expected: dict[str, Any]
) -> dict[str, Any]:
    """Both sides, in turns."""
    with tempfile.TemporaryDirectory() as folder:
        recipe = load_recipe("zoom", (*SAME, f"seed={seed}", f"steps={args.steps}"))
        ours = Trainer(recipe, Path(folder))
        peer = Peer(args.peer, ours, expected, micro=micro, steps=args.steps, seed=seed)
        rows: dict[str, list[Row]] = {"ours": [], "trl": []}
        sides = [("ours", lambda: our_step(ours)), ("trl", peer.step)]
        with settled_heap():  # as `vtool train` does
            for number in range(args.steps):
                for name, step in sides if number % 2 == 0 else reversed(sides):
                    rows[name].append(step())
        peer.end()
    return {"seed": seed, **rows}


def pooled(runs: list[dict[str, Any]], side: str, key: str) -> np.ndarray:
    """Shape (seeds, steps)."""
    return np.array([[row[key] for row in run[side]] for run in runs])


def figures(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Medians over all steps but the first of each seed, and their ratio."""
    out: dict[str, Any] = {}
    for key in ("cpu_s", "wall_s"):
        told = {s: _timing.summary(pooled(runs, s, key)[:, 1:].ravel()) for s in ("ours", "trl")}
        out[key] = {**told, "ratio": told["trl"]["median"] / told["ours"]["median"]}
    per = {
        s: float(np.median((pooled(runs, s, "cpu_s") / pooled(runs, s, "tokens"))[:, 1:]))
        for s in ("ours", "trl")
    }
    out["cpu_s_per_sampled_token_ratio"] = per["trl"] / per["ours"]
    return out


def check(runs: list[dict[str, Any]]) -> None:
    """Both learn, from the same start."""
    for side in ("ours", "trl"):
        curve = pooled(runs, side, "accuracy").mean(axis=0)
        assert 0.1 < curve[0] < 0.5, curve[0]
        assert curve[-WINDOW:].mean() > curve[:WINDOW].mean(), side
        assert np.isfinite(pooled(runs, side, "grad_norm")).all()


def write(report: dict[str, Any]) -> bool:
    """The table; whether the target was reached."""
    runs, told = report["runs"], report["figures"]
    ratio = told["cpu_s"]["ratio"]
    lines = [
        "# A GRPO step with a tool that gives pictures, against TRL",
        "",
        "`OMP_NUM_THREADS=1 python benchmarks/grpo_step_vs_trl.py --peer PYTHON --steps "
        f"{report['steps']}`; one thread, in turns; {PROMPTS} x {GROUP} attempts a step, "
        f"{len(runs)} seeds of {report['steps']} steps, medians. "
        f"TRL {report['trl']}, micro-batch {report['micro']} (CPU seconds a step by micro-batch: "
        + ", ".join(f"{k}: {v:.2f}" for k, v in report["tuning"].items())
        + ").",
        "",
        "| | ours | TRL | ratio | target |",
        "|---|---|---|---|---|",
    ]
    for key, name in (("cpu_s", "CPU seconds"), ("wall_s", "seconds")):
        mine, theirs = told[key]["ours"], told[key]["trl"]
        lines.append(
            f"| {name} a step | {mine['median']:.2f} ({mine['q1']:.2f} - {mine['q3']:.2f}) | "
            f"{theirs['median']:.2f} ({theirs['q1']:.2f} - {theirs['q3']:.2f}) | "
            f"{told[key]['ratio']:.2f} | {TARGET:g} |"
        )
    lines += [
        "",
        f"By sampled token the ratio is {told['cpu_s_per_sampled_token_ratio']:.2f}.",
        "",
        f"Accuracy of the sampled attempts, means of {WINDOW} steps over all seeds (the order of "
        "questions differs), and calls an attempt:",
        "",
        "| steps | ours | TRL | ours, calls | TRL, calls |",
        "|---|---|---|---|---|",
    ]
    for at in range(0, report["steps"], WINDOW):
        cells = [
            f"{pooled(runs, side, key)[:, at : at + WINDOW].mean():.3f}"
            for key in ("accuracy", "calls")
            for side in ("ours", "trl")
        ]
        lines.append(f"| {at + 1}-{at + WINDOW} | " + " | ".join(cells) + " |")
    text = "\n".join(lines) + "\n"
    (_timing.RESULTS / "grpo_step_vs_trl.md").write_text(text, encoding="utf-8")
    print(text)
    return bool(ratio >= TARGET)


def main() -> None:
    """Tune the peer, run in turns, check, write."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--peer", required=True, help="interpreter of an environment with TRL")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--strict", action="store_true", help="fail where the target is missed")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        recipe = load_recipe("zoom", SAME)
        expected = expected_tokens(recipe, Path(folder))
        tuning = fastest(args, Trainer(recipe, Path(folder)), expected)
        micro = min(tuning, key=lambda k: tuning[k])
        runs = [run(args, int(s), micro, expected) for s in args.seeds.split(",")]
    check(runs)
    asked = "import trl; print(trl.__version__)"
    version = subprocess.run([args.peer, "-c", asked], capture_output=True, text=True, check=True)
    report = {
        "trl": version.stdout.strip(),
        "steps": args.steps,
        "micro": micro,
        "tuning": tuning,
        "figures": figures(runs),
        "runs": runs,
        "machine": _timing.machine(),
    }
    _timing.write("grpo_step_vs_trl", report)
    reached = write(report)
    if args.strict:
        assert reached, report["figures"]


if __name__ == "__main__":
    main()
