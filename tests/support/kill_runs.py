"""kill -9 a training run at chosen moments and resume it: run as a script, prints JSON.

The libraries are imported once; every run is a process of its own, forked from here. A run that
is to be killed writes the moment to a side file just before it kills itself, so that a moment
that is never reached cannot pass for one that was survived.
"""

import functools
import inspect
import json
import os
import signal
import sys
from pathlib import Path

import torch
from toy_run import told, toy_recipe, trained
from vtool.rl import collect
from vtool.rl.checkpoint import MOMENTS
from vtool.rl.learner import Learner
from vtool.rl.metrics_log import MetricsLog
from vtool.rl.run import Run
from vtool.rl.train import train

from vtool.engines.hf import HFEngine
from vtool.environment import ToolEnvironment

POINTS = {
    # moment: (owner, function, before or after the call, which call)
    "rollout/first": (HFEngine, "generate", "before", 1),
    "rollout/middle": (HFEngine, "generate", "before", 17),
    "rollout/tool": (ToolEnvironment, "reply", "before", 14),
    "rollout/scoring": (collect, "score_group", "after", 5),
    "step/begin": (Learner, "step", "before", 2),
    "step/gradient": (Learner, "_apply", "before", 3),
    "step/weights": (torch.optim.AdamW, "step", "after", 3),
    "step/end": (Learner, "step", "after", 1),
    "publish/before": (HFEngine, "update", "before", 3),
    "publish/after": (HFEngine, "update", "after", 2),
    "publish/logged": (MetricsLog, "write", "after", 3),
    "publish/export": (Run, "_finish", "before", 1),
}
SAVES = {f"save/{moment}": (moment, 2) for moment in MOMENTS}
FIRST_SAVE = {"save/first": ("after_state", 1)}
ALL = (*POINTS, *FIRST_SAVE, *SAVES)


def die(side, moment):
    side.write_text(moment)
    os.kill(os.getpid(), signal.SIGKILL)


def arm(owner, name, when, call, strike):
    """Strike at the n-th call of a function."""
    old = getattr(owner, name)
    count = [0]

    def due():
        count[0] += 1
        return count[0] == call

    if inspect.iscoroutinefunction(old):

        async def new(*args, **kwargs):
            if due():
                strike()
            return await old(*args, **kwargs)

    else:

        @functools.wraps(old)
        def new(*args, **kwargs):
            now = due()
            if now and when == "before":
                strike()
            result = old(*args, **kwargs)
            if now:
                strike()
            return result

    setattr(owner, name, new)


def run(out, moment=None, side=None):
    torch.set_num_threads(1)
    hook = None
    if moment in POINTS:
        owner, name, when, call = POINTS[moment]
        arm(owner, name, when, call, lambda: die(side, moment))
    elif moment is not None:
        wanted, call = {**SAVES, **FIRST_SAVE}[moment]
        seen = []

        def hook(at):
            seen.append(at)
            if at == wanted and seen.count(at) == call:
                die(side, moment)

    train(toy_recipe(), out, hook=hook)


def apart(job):
    """Run a job in a process of its own; its wait status."""
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            job()
            code = 0
        finally:
            os._exit(code)
    return os.waitpid(pid, 0)[1]


def survive(folder, moment, whole):
    """Kill a run at a moment, resume it, and compare it with the unbroken one."""
    out, side = folder / moment.replace("/", "-"), folder / "reached.txt"
    side.unlink(missing_ok=True)
    killed = apart(lambda: run(out, moment, side))
    resumed = apart(lambda: run(out))
    return {
        "reached": side.read_text() if side.exists() else None,
        "killed": os.WIFSIGNALED(killed) and os.WTERMSIG(killed) == signal.SIGKILL,
        "resumed": resumed == 0,
        "same_weights": resumed == 0 and trained(out) == trained(whole),
        "same_metrics": resumed == 0 and told(out) == told(whole),
        "left": sorted(p.name for p in out.glob("**/*.incomplete")),
    }


if __name__ == "__main__":
    root = Path(sys.argv[1])
    unbroken = root / "unbroken"
    if apart(lambda: run(unbroken)) != 0:
        sys.exit("the unbroken run failed")
    print(json.dumps({m: survive(root, m, unbroken) for m in sys.argv[2:]}))
