"""Small helpers for benchmarks: interleaved repeats, medians with spread, honest JSON."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

RESULTS = Path(__file__).parent / "results"


def interleave(
    candidates: Mapping[str, Callable[[], object]], *, repeats: int = 9, warm: int = 1
) -> dict[str, list[float]]:
    """CPU seconds of each candidate, all of them once per round, order turning by one each round.

    Args:
        candidates: Name to work.
        repeats: Rounds that are kept.
        warm: Rounds before, not kept.
    """
    names = list(candidates)
    out: dict[str, list[float]] = {name: [] for name in names}
    for round_ in range(-warm, repeats):
        turn = round_ % len(names)
        for name in names[turn:] + names[:turn]:
            start = time.process_time()
            candidates[name]()
            if round_ >= 0:
                out[name].append(time.process_time() - start)
    return out


def summary(values: Sequence[float]) -> dict[str, float]:
    """Median, quartiles and count."""
    low, middle, high = np.percentile(values, [25, 50, 75])
    return {"median": middle, "q1": low, "q3": high, "n": len(values)}


def fresh_process(script: str, arguments: Sequence[str]) -> dict[str, Any]:
    """Run a script of ours in a new interpreter and read the JSON of its last line."""
    done = subprocess.run(
        [sys.executable, script, *arguments], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{arguments} ended with {done.returncode}: {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def peak_rss_mb() -> float:
    """Largest resident size of this process so far, in MB (1e6 bytes)."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def rss_mb() -> float:
    """Resident size of this process now, in MB; the peak so far where the system hides it."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return peak_rss_mb()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) * 1024 / 1e6


def machine(packages: Sequence[str] = ("torch", "transformers", "numpy")) -> dict[str, Any]:
    """Versions, processor and load, as they are now."""
    versions = {}
    for name in packages:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = None
    return {
        "python": platform.python_version(),
        "packages": versions,
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "omp_num_threads": os.environ.get("OMP_NUM_THREADS"),
        "load": os.getloadavg(),
    }


def write(name: str, payload: Mapping[str, Any]) -> Path:
    """Write `results/NAME.json`."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(payload, indent=2, default=float) + "\n")
    return path


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":")[1].strip() for line in lines if "model name" in line), "?")
