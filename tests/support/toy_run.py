"""A recipe that runs in a second or two: the shipped weak policy on eight small questions."""

import json
from pathlib import Path

from vtool.rl.learner import LearnerSettings
from vtool.rl.recipe import DataSpec, Recipe

from vtool.environment import Limits
from vtool.record import Sampling


def toy_recipe(**changes):
    settings = {
        "name": "toy",
        "data": DataSpec(options={"seed": 1, "one": 6, "none": 2}),
        "prompts": 2,
        "group_size": 3,
        "steps": 4,
        "checkpoint_every": 2,
        "trace_every": 0,
        "tensorboard": False,
        "sampling": Sampling(max_tokens=48),
        "limits": Limits(max_turns=3, max_tokens=320),
        "learner": LearnerSettings(lr=1e-3, batch_tokens=256),
    }
    return Recipe(**{**settings, **changes})


def trained(out: Path) -> bytes:
    """The weights that a run ended with."""
    return (Path(out) / "model" / "model.safetensors").read_bytes()


def told(out: Path) -> list:
    """Metrics of a run without what clocks say."""
    lines = (Path(out) / "metrics.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    return [{k: v for k, v in row.items() if not k.startswith("time/")} for row in rows]
