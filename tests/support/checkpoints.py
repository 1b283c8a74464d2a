"""Small checkpoints for tests, and ways to stop a process in the middle of writing one."""

import json
import os
import random
import resource
import signal
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from vtool.rl.checkpoint import Checkpoints, TrainState


def state(step, size=8, **more):
    """A state whose numbers tell its step."""
    tensors = {"state/w/exp_avg": torch.full((size,), float(step))}
    return TrainState(step=step, tensors=tensors, cursor={"task": step}, **more)


def model_writer(step, size=8):
    """Writes weights that tell their step."""

    def write(folder: Path) -> None:
        (folder / "config.json").write_text(json.dumps({"model_type": "qwen3_vl"}))
        save_file({"w": torch.full((size,), float(step))}, folder / "model.safetensors")

    return write


def save(folder, step, *, hook=None, keep=2, size=8, **more):
    return Checkpoints(folder, keep=keep, hook=hook).save(
        state(step, size, **more), write_model=model_writer(step, size)
    )


def step_of(loaded):
    """The step that a loaded checkpoint tells everywhere, or what disagrees."""
    weights = load_file(loaded.model / "model.safetensors")["w"][0].item()
    moment = loaded.state.tensors["state/w/exp_avg"][0].item()
    told = {int(weights), int(moment), loaded.state.step, loaded.state.cursor["task"]}
    return told.pop() if len(told) == 1 else told


def in_child(work):
    """Run `work` in a forked child that leaves nothing behind but files; its wait status."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, 1)
            os.dup2(null, 2)
            work()
            code = 0
        finally:
            os._exit(code)
    return os.waitpid(pid, 0)[1]


def killed(status):
    return os.WIFSIGNALED(status) and os.WTERMSIG(status) in (signal.SIGKILL, signal.SIGXFSZ)


def kill_at(moment):
    """A hook that ends the process as kill -9 does."""

    def hook(name):
        if name == moment:
            os.kill(os.getpid(), signal.SIGKILL)

    return hook


def limit_bytes(count, *, kill):
    """From now on, no file of this process grows beyond `count` bytes: it dies, or gets EFBIG."""
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL if kill else signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (count, count))


def flip_bit(path, seed=0):
    raw = bytearray(path.read_bytes())
    rng = random.Random(seed)
    raw[rng.randrange(len(raw))] ^= 1 << rng.randrange(8)
    path.write_bytes(raw)
