"""Several measurements of one checkpoint, fit to run in a process of their own."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from vtool.data import load_tasks
from vtool.loading import load_policy
from vtool.message import Json
from vtool.toolbox import Toolbox

from .report import Report
from .run import Settings, evaluate


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One evaluation of a checkpoint.

    Args:
        settings: How it is played.
        only: Keep tasks whose tags hold these values.
        out: Folder for trace and report; None keeps nothing.
    """

    settings: Settings
    only: Mapping[str, Json] = field(default_factory=dict)
    out: str | None = None


def measure(
    model: str | Path,
    tasks: str | Path,
    measurements: Sequence[Measurement],
    *,
    tools: Sequence[str] = ("zoom",),
    concurrency: int = 256,
    threads: int = 1,
) -> list[Report]:
    """Load a saved checkpoint and run all measurements on it, in order.

    Args:
        model: Checkpoint folder or name.
        tasks: Task file.
        measurements: What to run.
        tools: Tools on offer.
        concurrency: Episodes at once.
        threads: Of torch; 1 is fastest for tiny models.
    """
    import torch

    torch.set_num_threads(threads)
    policy = load_policy(model)
    everything = load_tasks(tasks, keep=concurrency)
    reports = []
    for m in measurements:
        chosen = everything.where(
            lambda row, m=m: all((row.tags or {}).get(k) == v for k, v in m.only.items())
        )
        job = evaluate(
            chosen,
            renderer=policy.renderer,
            engine=policy.engine,
            toolbox=Toolbox(tools),
            settings=m.settings,
            out=m.out,
            concurrency=concurrency,
        )
        reports.append(asyncio.run(job))
    return reports
