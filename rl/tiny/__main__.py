"""Rebuild the tiny policy from nothing, or measure one: ``python -m vtool.rl.tiny OUT``."""

from __future__ import annotations

import argparse
import json
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

BUILDS = {
    "zoom": "warmstart",
    "moments": "moments_build",
    "joint": "joint_build",
    "examples": "examples_build",
    "restless": "restless_build",
    "idle": "idle_build",
}
"""Module of each policy's recipe."""


def main(arguments: list[str] | None = None) -> int:
    """Run the command; every record is one line of JSON on standard output."""
    parser = argparse.ArgumentParser(prog="python -m vtool.rl.tiny", description=__doc__)
    parser.add_argument("out", type=Path, nargs="?", help="folder for clean/ and weak/")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, help="shrink the recipe (zoom: 15)")
    parser.add_argument("--count", type=int, default=400, help="held-out pictures or videos")
    parser.add_argument("--world", choices=tuple(BUILDS), default="zoom")
    parser.add_argument("--measure", type=Path, help="measure this checkpoint folder instead")
    options = parser.parse_args(arguments)
    if (options.out is None) == (options.measure is None):
        parser.error("give either OUT to build or --measure FOLDER")
    if options.measure is not None:
        measures = {
            "zoom": _measure,
            "restless": _measure,
            "idle": _measure,
            "moments": _measure_moments,
            "joint": _measure_joint,
            "examples": _measure_examples,
        }
        measures[options.world](options.measure, options.count)
        return 0
    build = import_module(f".{BUILDS[options.world]}", __package__).build
    build(options.out, seed=options.seed, minutes=options.minutes, count=options.count, log=_print)
    return 0


def _measure(folder: Path, count: int) -> None:
    import torch
    from tokenizers import Tokenizer

    from vtool.families.vlm import VLM

    from .expert import Scribe
    from .warmstart import report

    torch.set_num_threads(1)
    scribe = Scribe(Tokenizer.from_file(str(folder / "tokenizer.json")))
    report(VLM.load(folder), scribe, folder.name, count, _print)


def _measure_moments(folder: Path, count: int) -> None:
    import torch

    from .moments_measure import measure

    torch.set_num_threads(1)
    for kind, found in measure(folder, count=count).items():
        _print({"policy": folder.name, "questions": kind, **found})


def _measure_joint(folder: Path, count: int) -> None:
    import torch

    from .joint_measure import measure

    torch.set_num_threads(1)
    for name, found in measure(folder, count=count).items():
        _print({"policy": folder.name, "world": name, **found})


def _measure_examples(folder: Path, count: int) -> None:
    import torch

    from .examples_build import measure

    torch.set_num_threads(1)
    for kind, found in measure(folder, count).items():
        _print({"policy": folder.name, "examples": kind, **found})


def _print(entry: dict[str, Any]) -> None:
    print(json.dumps(entry), flush=True)


if __name__ == "__main__":
    sys.exit(main())
