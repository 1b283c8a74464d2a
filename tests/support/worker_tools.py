"""Isolated tools for tests: a worker imports this module by name, so it loads nothing heavy."""

import contextlib
import ctypes
import os
import signal
import time
from dataclasses import dataclass

import numpy as np

from vtool.errors import FaultCode, ModelFault
from vtool.geometry import Box, Mask
from vtool.media import Image
from vtool.observation import Finding, Observation, Way
from vtool.tool import Call, Settings, Tool, tool, tools


@contextlib.contextmanager
def _unregistered():
    """These must not be listed beside the real ones in the test process."""
    before = dict(tools._things)
    yield
    tools._things.clear()
    tools._things.update(before)


@dataclass(frozen=True)
class Gain(Settings):
    gain: int = 2


with _unregistered():

    @tool(isolated=True)
    def far_crop(image: Image, box: Box) -> Observation:
        """Cut a part out and say where.

        Args:
            image: Of what.
            box: Which part.
        """
        part = image.crop(box)
        marked = Image(255 - image.pixels)
        cells = Mask(image.pixels.max(axis=2) > 127)
        return Observation(
            (part, marked, cells),
            text=f"pid {os.getpid()}",
            ways=((), (Way(image),), (Way(image),)),
            found=(Finding(box, "part", 0.5), Finding(Box(0, 0, 0.5, 0.5), of=part)),
        )

    @tool(isolated=True, pure=False)
    def far_act(act: str, image: Image | None = None) -> str:
        """Do what a broken tool does.

        Args:
            act: What.
            image: To carry.
        """
        if act == "segfault":
            ctypes.string_at(0)
        if act == "sleep":
            time.sleep(60)
        if act == "nap":
            time.sleep(1.5)
        if act == "stuck":  # in C, holding the interpreter
            ctypes.PyDLL(None).sleep(60)
        if act == "memory":
            return str(len(bytearray(1 << 40)))
        if act == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if act == "print":
            print("this goes where people look, not between the frames", flush=True)
            os.write(1, b"nor does this\n")
        if act == "raise":
            raise ValueError("broken inside")
        if act == "timeout":
            raise TimeoutError("its own")
        if act == "refuse":
            raise ModelFault(FaultCode.BAD_ARGS, "not this", hint="that", field="act")
        if act == "number":
            return 3  # type: ignore[return-value]
        return f"{act} {os.getpid()}"

    @tool(isolated=True, batch=4, pure=False)
    def far_batch(word: str, settings: Gain = Gain()) -> str:
        """Say how many were answered together.

        Args:
            word: What to say.
        """
        if word == "segfault":
            ctypes.string_at(0)
        if word == "slow":
            time.sleep(0.3)
        if word == "bad":
            raise ModelFault(FaultCode.BAD_ARGS, "bad alone")
        return f"{word * settings.gain} alone"

    @tool(isolated=True)
    def far_seed(image: Image, call: Call) -> str:
        """Say the seed and where it runs.

        Args:
            image: Of what.
        """
        rng = np.random.default_rng(call.seed)
        return f"{call.seed} {rng.integers(1000)} {image.digest[:8]}"


far_batch_tool: Tool = far_batch


@far_batch.batch
def _far_batch_many(calls):
    if any(c["word"] == "segfault" for c in calls):
        ctypes.string_at(0)
    if any(c["word"] == "poison" for c in calls):
        raise RuntimeError("the whole batch")
    return [
        ModelFault(FaultCode.BAD_ARGS, "bad in a batch")
        if c["word"] == "bad"
        else f"{c['word'] * c['settings'].gain} of {len(calls)}"
        for c in calls
    ]


@far_seed.warm
def _far_seed_warm():
    os.environ["WARMED"] = "1"
