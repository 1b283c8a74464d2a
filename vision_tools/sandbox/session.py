"""One guest from its start to its end: started, asked cell by cell, watched, and ended.

Between cells it is stopped, and whatever it started beside itself is gone: nothing of a guest
runs while no cell does.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import math
import os
import secrets
import signal
import subprocess
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from vtool.errors import FaultCode, ModelFault, VToolError
from vtool.media import Image

from ..zoom import check_aspect
from .boundary import FLAGS, PACKAGES, RUNNER, interpreter, rootfs, site_folder, wrap
from .limits import MB, Cgroup, Limits, cpu_seconds, rlimits
from .pictures import read_picture
from .processes import end_strays, family_of, leaf_of
from .wire import Answer, Channel, GuestLost, Loss

START_SECONDS = 30.0
_PIPE_BYTES = 1 << 20


class SandboxError(VToolError, RuntimeError):
    """A guest that could not be started: ours to mend, never the model's."""


@dataclass(frozen=True, slots=True)
class Kind:
    """Guests of one kind can stand in for one another."""

    limits: Limits = field(default_factory=Limits)
    packages: tuple[str, ...] = PACKAGES
    preload: tuple[str, ...] = ("numpy", "PIL.Image", "PIL.PngImagePlugin")
    """Modules that are loaded before the first cell comes."""


@dataclass(frozen=True, slots=True)
class Cell:
    """What is run."""

    code: str
    images: Mapping[str, Image] = field(default_factory=dict)
    """Pictures that the guest has not seen yet, by name."""
    seed: int | None = None
    """Begins the global generators, in a guest's first cell."""


@dataclass(frozen=True, slots=True)
class Result:
    """What came of it."""

    printed: str
    error: str
    images: tuple[Image, ...] = ()
    refused: tuple[str, ...] = ()
    """Why pictures that the cell showed are not among `images`; all else of the cell stands."""

    @property
    def failed(self) -> bool:
        """Whether the cell raised something."""
        return bool(self.error)


class Session:
    """A guest.

    Args:
        kind: Its bounds and what it can import.
    """

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.used = False
        self._lock, self._ending = threading.Lock(), threading.Lock()
        self._closed = self._is_ready = False
        self._group = Cgroup.make(kind.limits)
        self._family: set[int] = set()
        self._runner = -1
        try:
            self._process, self._channel = _start(kind)
        except OSError as err:
            self._leave_group()
            raise SandboxError(f"no guest could be started: {err}") from err

    @property
    def alive(self) -> bool:
        """Whether it can still be asked."""
        return not self._closed and self._process.poll() is None

    def wait(self) -> None:
        """Until it is ready to be asked.

        Raises:
            SandboxError: It did not get there.
        """
        if self._is_ready:
            return
        try:
            self._channel.ready(time.monotonic() + START_SECONDS)
            self._enclose()
        except (GuestLost, OSError) as err:
            said = self._channel.heard[-500:]
            self.close()
            raise SandboxError(f"a guest did not start: {err}. {said}") from err
        self._is_ready = True

    def run(self, cell: Cell, seconds: float | None = None) -> Result:
        """Run a cell.

        Args:
            cell: What, and the pictures that are new to it.
            seconds: Deadline, where it is less than the limits'.

        Raises:
            ModelFault: `timeout`, `tool_crashed`, `too_large`, `too_many_images`, `bad_image`;
                the guest is gone then, with all that it held.
            SandboxError: It could not be started.
        """
        with self._lock:
            try:
                self.wait()
                return self._run(cell, min(self.kind.limits.seconds, seconds or math.inf))
            finally:
                if self._closed:  # whoever closed it could not take the pipes from under us
                    self._channel.close()

    def close(self) -> None:
        """End it, and everything that it started. Any thread may call this at any time."""
        with self._ending:
            if self._closed:
                return
            self._closed = True
            # From within, so that the outermost ends by itself and leaves nobody to be reaped.
            end_strays(lambda: self._members() - {self._process.pid}, set())
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(1.0)
            self._process.kill()
            self._process.wait()
            if self._runner >= 0:
                os.close(self._runner)
            self._leave_group()
        # A cell that waits in another thread finds the pipes at their end, and closes them then.
        if self._lock.acquire(blocking=False):
            self._channel.close()
            self._lock.release()

    def _run(self, cell: Cell, seconds: float) -> Result:
        self.used = True
        self._signal(signal.SIGCONT)
        try:
            answer = self._ask(cell, seconds)
            if not end_strays(self._members, self._family):
                raise GuestLost(Loss.GARBLED, "the cell left processes that could not be ended")
            self._signal(signal.SIGSTOP)
            return self._result(answer)
        except (GuestLost, ModelFault, OSError) as err:
            fault = self._fault(err, seconds)
            self.close()
            raise fault from None

    def _ask(self, cell: Cell, seconds: float) -> Answer:
        limits = self.kind.limits
        head: dict[str, object] = {
            "id": secrets.token_hex(8),
            "code": cell.code,
            "seed": cell.seed,
            "images": [[name, *image.size] for name, image in cell.images.items()],
            "figures": limits.figures,
            "pixels": limits.pixels,
            "room": limits.result_mb * MB,
            "cpu_seconds": cpu_seconds(limits),
        }
        body = [memoryview(np.ascontiguousarray(i.pixels)).cast("B") for i in cell.images.values()]
        return self._channel.ask(head, body, time.monotonic() + seconds)

    def _result(self, answer: Answer) -> Result:
        images: list[Image] = []
        refused: list[str] = []
        for number, file in enumerate(answer.files, 1):
            image = read_picture(file, self.kind.limits)
            try:
                check_aspect(*image.size)
            except ModelFault as fault:
                refused.append(f"picture {number} is not shown: {fault.message}")
            else:
                images.append(image)
        printed = answer.printed.decode("utf-8", "replace")
        return Result(printed, answer.error, tuple(images), tuple(refused))

    def _fault(self, err: Exception, seconds: float) -> ModelFault:
        """What the model is told of a guest that is lost."""
        if isinstance(err, ModelFault):
            return err
        loss = err.loss if isinstance(err, GuestLost) else Loss.ENDED
        lost = "the session was ended and its variables are lost"
        hint = "the next call starts a new session"
        if loss is Loss.LATE:
            said = f"the cell ran longer than {seconds:g} s; {lost}"
            return ModelFault(FaultCode.TIMEOUT, said, hint=hint)
        if loss is Loss.FLOOD:
            return ModelFault(FaultCode.TOO_LARGE, f"{err}; {lost}", hint="print less")
        if loss is Loss.FIGURES:
            return ModelFault(FaultCode.TOO_MANY_IMAGES, f"{err}; {lost}", hint="show less")
        code, why = self._death() if loss is Loss.ENDED else (FaultCode.TOOL_CRASHED, str(err))
        return ModelFault(code, f"{why}; {lost}", hint=hint)

    def _death(self) -> tuple[FaultCode, str]:
        """Why the process ended by itself."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(0.5)
        code = self._process.poll()
        if code is None:
            return FaultCode.TOOL_CRASHED, "the cell cut its own connection"
        number = -code if code < 0 else code - 128
        if number == signal.SIGXCPU:
            used = f"the cell used more than {cpu_seconds(self.kind.limits)} s of processor time"
            return FaultCode.TIMEOUT, used
        if self._group is not None and self._group.ran_out():
            return FaultCode.TOOL_CRASHED, "the cell ran out of memory"
        if 0 < number < 65:
            return FaultCode.TOOL_CRASHED, f"the cell was ended by signal {number}"
        return FaultCode.TOOL_CRASHED, f"the cell ended the session with code {code}"

    def _enclose(self) -> None:
        """Into its control group, before it has read any cell; what is its own is known now."""
        self._family = family_of(self._process.pid)
        if self._group is not None:
            self._group.admit(self._family)
        self._runner = os.pidfd_open(leaf_of(self._family))
        self._signal(signal.SIGSTOP)

    def _members(self) -> set[int]:
        listed = self._group.members if self._group is not None else set()
        return listed | family_of(self._process.pid)

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._runner, number)

    def _leave_group(self) -> None:
        if self._group is not None:
            self._group.remove()


def is_spent(session: Session) -> bool:
    """Whether it has run anything: then it serves nobody else."""
    return session.used


def _start(kind: Kind) -> tuple[subprocess.Popen[bytes], Channel]:
    """Start the guest, and keep our ends of its three pipes."""
    in_guest, in_host = os.pipe()
    out_host, out_guest = os.pipe()
    said_host, said_guest = os.pipe()
    for fd in (in_host, out_host):
        with contextlib.suppress(OSError):  # what all pipes of a user may hold is bounded
            fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    start = json.dumps({"rlimits": rlimits(kind.limits), "preload": kind.preload})
    command = [
        interpreter(),
        *FLAGS,
        str(RUNNER),
        str(in_guest),
        str(out_guest),
        site_folder(),
        start,
    ]
    try:
        process = subprocess.Popen(
            wrap(command, rootfs(kind.packages), kind.limits),
            stdin=subprocess.DEVNULL,
            stdout=said_guest,
            stderr=said_guest,
            pass_fds=(in_guest, out_guest),
            start_new_session=True,
        )
    except BaseException:
        for fd in (in_host, out_host, said_host):
            os.close(fd)
        raise
    finally:
        for fd in (in_guest, out_guest, said_guest):
            os.close(fd)
    return process, Channel(in_host, out_host, said_host, kind.limits)
