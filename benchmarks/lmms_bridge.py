"""Our agent as a model of lmms-eval, on our zoom world: does it come to the same accuracy?

    python3 -m venv /tmp/lmms && /tmp/lmms/bin/pip install torch==2.13.0 lmms-eval==0.7.3
    /tmp/lmms/bin/pip uninstall -y torchvision && /tmp/lmms/bin/pip install --no-deps -e .
    OMP_NUM_THREADS=1 python benchmarks/lmms_bridge.py --peer /tmp/lmms/bin/python

lmms-eval reads the world's own task file through a task made here, asks the model `vtool` that its
registry finds by entry point, and scores answers itself by exact match. Ours plays the same
questions through the runner of `vtool eval`. Answers and accuracies must be equal.

Writes `results/lmms_bridge.json`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

from vtool.eval.results import SAMPLES
from vtool.eval.run import Settings, evaluate

from vtool.data import load_tasks
from vtool.loading import load_policy
from vtool.record import Sampling
from vtool.toolbox import Toolbox
from vtool.worlds.dataset import make

RESULT = Path(__file__).with_name("results") / "lmms_bridge.json"
TASK = """task: vtool_zoom
dataset_path: json
dataset_kwargs:
  data_files: {{test: {file}}}
test_split: test
output_type: generate_until
doc_to_visual: !function utils.pictures
doc_to_text: !function utils.words
doc_to_target: !function utils.target
generation_kwargs: {{max_new_tokens: 64, until: ["\\n\\n"]}}
metric_list:
  - metric: exact_match
    aggregation: mean
    higher_is_better: true
    ignore_case: true
"""
UTILS = """from pathlib import Path

from PIL import Image

FOLDER = Path({folder!r})


def pictures(doc):
    return [Image.open(FOLDER / p).convert("RGB") for p in doc["images"]]


def words(doc, kwargs=None):
    return doc["messages"][0]["content"].replace("<image>", "").strip()


def target(doc):
    return doc["answer"][0] if isinstance(doc["answer"], list) else doc["answer"]
"""


def ours(tasks: Path, out: Path) -> tuple[float, dict[str, str]]:
    """Accuracy and answers by our own runner."""
    policy = load_policy("tiny/clean")
    report = asyncio.run(
        evaluate(
            load_tasks(tasks),
            renderer=policy.renderer,
            engine=policy.engine,
            toolbox=Toolbox(["zoom"]),
            settings=Settings(sampling=Sampling(temperature=0.0)),
            out=out,
        )
    )
    rows = [json.loads(line) for line in (out / SAMPLES).read_text().splitlines()]
    return report.total.accuracy, {r["task_id"]: str(r["answer"]) for r in rows}


def theirs(peer: str, tasks: Path, folder: Path) -> tuple[float, list[str]]:
    """Accuracy and answers by lmms-eval, in an environment of its own."""
    home = folder / "task"
    home.mkdir()
    (home / "vtool_zoom.yaml").write_text(TASK.format(file=tasks))
    (home / "utils.py").write_text(UTILS.format(folder=str(tasks.parent)))
    out = folder / "their"
    words = [peer, "-m", "lmms_eval", "--model", "vtool", "--model_args"]
    words += ["model=tiny/clean,tools=zoom", "--tasks", "vtool_zoom", "--include_path", str(home)]
    words += ["--batch_size", "1", "--output_path", str(out), "--log_samples"]
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_DATASETS_CACHE": str(folder / "cache")}
    done = subprocess.run(words, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"lmms-eval ended with {done.returncode}: {done.stderr[-3000:]}")
    found_files = list(out.rglob("*results.json"))
    if not found_files:
        raise RuntimeError(f"lmms-eval left no results: {(done.stdout + done.stderr)[-3000:]}")
    (results,) = found_files
    found: dict[str, Any] = json.loads(results.read_text())["results"]["vtool_zoom"]
    accuracy = next(v for k, v in found.items() if k.startswith("exact_match,"))
    (samples,) = out.rglob("*samples_vtool_zoom.jsonl")
    rows = [json.loads(line) for line in samples.read_text().splitlines()]
    rows.sort(key=lambda r: r["doc_id"])
    answers = [r["filtered_resps"] for r in rows]
    return accuracy, [a[0] if isinstance(a, list) else a for a in answers]


def main() -> int:
    """Run both and compare."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--peer", required=True, help="python with lmms-eval 0.7.3 and vtool")
    parser.add_argument("--count", type=int, default=100)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        tasks = make(place / "zoom", seed=31, one=args.count, split="held_out")
        mine, answers = ours(tasks, place / "ours")
        their, said = theirs(args.peer, tasks, place)
    same = sum(a == b for a, b in zip(answers.values(), said, strict=True))
    found = {"questions": args.count, "ours": mine, "lmms_eval": their, "equal_answers": same}
    print(json.dumps(found))
    assert mine == their, "the two accuracies differ"
    assert same == args.count, "some answers differ"
    assert 0.5 < mine < 1.0, "an accuracy that could not have been missed"
    RESULT.write_text(json.dumps(found, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
