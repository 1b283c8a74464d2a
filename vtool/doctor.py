"""The examination behind `vtool doctor`: interpreter, torch, torchvision, engines, extras.

Libraries are imported in a process of their own: a broken torchvision breaks the import of
transformers, and it must not break its own diagnosis. Nothing is installed or changed here.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, entry_points, requires, version

from vtool.errors import DISTRIBUTION, install_line
from vtool.shipped import shipped_checkpoints

_PROBE_SECONDS = 120.0


class State(StrEnum):
    """How one thing stands."""

    OK = "ok"
    ABSENT = "absent"
    """Not here, and nothing is wrong with that unless it is wanted."""
    WARN = "warn"
    BROKEN = "broken"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the examination."""

    name: str
    state: State
    detail: str
    fix: str = ""
    """What to do, as a command where there is one."""


def examine(probe: Callable[[], Mapping[str, object]] | None = None) -> list[Finding]:
    """Look at everything that vtool may use.

    Args:
        probe: Answers the questions of `PROBE`; asks a fresh interpreter by default.
    """
    seen = (probe or ask_interpreter)()
    findings = [_python(), _core(), _torch(seen), _torchvision(seen), _transformers(seen)]
    findings += [_threads(seen), *_engines(seen), *_extras(), _bubblewrap(), *_published()]
    return [*findings, _chromium(), _checkpoints()]


PROBE = """
import json, sys
seen = {}
try:
    import torch
    seen["torch"] = torch.__version__
    seen["threads"] = torch.get_num_threads()
    seen["accelerator"] = torch.cuda.get_device_name(0) if torch.cuda.is_available() else ""
except ModuleNotFoundError:
    pass
except Exception as err:
    seen["torch_error"] = f"{type(err).__name__}: {err}"
import importlib.util
if importlib.util.find_spec("torchvision") is None:
    seen["torchvision"] = "absent"
else:
    try:
        import torchvision
        from torchvision.extension import _has_ops
        seen["torchvision"] = "native" if _has_ops() else "shimmed"
        seen["torchvision_version"] = torchvision.__version__
    except Exception as err:
        seen["torchvision"] = "broken"
        seen["torchvision_error"] = f"{type(err).__name__}: {err}"
try:
    import transformers
    from transformers import Qwen2_5_VLForConditionalGeneration, Qwen3VLForConditionalGeneration
    seen["transformers"] = transformers.__version__
except ModuleNotFoundError as err:
    if err.name != "transformers":
        seen["transformers_error"] = f"{type(err).__name__}: {err}"
except Exception as err:
    seen["transformers_error"] = f"{type(err).__name__}: {err}"
sys.stdout.write("\\n" + json.dumps(seen))
"""


def ask_interpreter() -> Mapping[str, object]:
    """Run `PROBE` in a fresh interpreter; a crash there is an answer too."""
    command = [sys.executable, "-W", "ignore", "-c", PROBE]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_PROBE_SECONDS)
        seen = json.loads(done.stdout.splitlines()[-1])
    except subprocess.TimeoutExpired:
        return {"torch_error": f"the import took more than {_PROBE_SECONDS:.0f} s"}
    except (IndexError, ValueError):
        return {"torch_error": f"the interpreter ended with code {done.returncode} on import"}
    return seen if isinstance(seen, dict) else {}


def _python() -> Finding:
    found = f"{platform.python_version()} at {sys.executable}"
    if sys.version_info < (3, 11):  # noqa: UP036 - told to those who forced the installation
        return Finding("python", State.BROKEN, found, "vtool needs Python 3.11 or newer")
    return Finding("python", State.OK, found)


def _core() -> Finding:
    try:
        return Finding("vtool", State.OK, version(DISTRIBUTION))
    except PackageNotFoundError:
        return Finding("vtool", State.WARN, "not installed: commands are not found", "make install")


def _torch(seen: Mapping[str, object]) -> Finding:
    if error := seen.get("torch_error"):
        return Finding("torch", State.BROKEN, str(error), install_line("train"))
    if "torch" not in seen:
        return Finding("torch", State.ABSENT, "needed for training and the hf engine")
    where = seen.get("accelerator") or "CPU only"
    return Finding("torch", State.OK, f"{seen['torch']}, {where}")


def _torchvision(seen: Mapping[str, object]) -> Finding:
    state = seen.get("torchvision", "absent")
    if state == "broken":
        detail = f"its operators do not load here ({seen.get('torchvision_error')})"
        return Finding("torchvision", State.BROKEN, detail, "pip uninstall -y torchvision")
    if state == "absent":
        return Finding("torchvision", State.OK, "absent, as it should be: nothing here needs it")
    how = "native operators" if state == "native" else "shimmed operators, enough for processors"
    return Finding("torchvision", State.OK, f"{seen.get('torchvision_version')}, {how}")


def _transformers(seen: Mapping[str, object]) -> Finding:
    if error := seen.get("transformers_error"):
        fix = "" if seen.get("torchvision") == "broken" else install_line("train")
        return Finding("transformers", State.BROKEN, str(error).splitlines()[0], fix)
    if "transformers" not in seen:
        return Finding("transformers", State.ABSENT, "needed for training and the hf engine")
    return Finding("transformers", State.OK, f"{seen['transformers']}, both Qwen-VL classes load")


def _threads(seen: Mapping[str, object]) -> Finding:
    wanted = os.environ.get("OMP_NUM_THREADS", "unset")
    cores = os.cpu_count() or 1
    detail = f"OMP_NUM_THREADS={wanted}, torch {seen.get('threads', '-')}, {cores} cores"
    if wanted == "1" or "torch" not in seen or seen.get("accelerator"):
        return Finding("threads", State.OK, detail)
    return Finding(
        "threads",
        State.WARN,
        f"{detail}: small models are several times slower on many threads",
        "export OMP_NUM_THREADS=1",
    )


def _engines(seen: Mapping[str, object]) -> list[Finding]:
    works = "torch" in seen and "transformers" in seen
    detail = "transformers, keeps the KV cache over turns" if works else "needs torch, transformers"
    fix = "" if works else install_line("train")
    state = State.OK if works else State.ABSENT
    return [
        Finding("engine scripted", State.OK, "plays what it is told; for tests and replays"),
        Finding("engine hf", state, detail, fix),
    ]


def _extras() -> list[Finding]:
    wanted: dict[str, list[str]] = {}
    for line in requires(DISTRIBUTION) or () if _installed() else ():
        name, _, marker = line.partition(";")
        if "extra ==" in marker:
            extra = marker.split("extra ==")[1].strip().strip("\"'")
            wanted.setdefault(extra, []).append(_bare(name))
    return [_extra(name, packages) for name, packages in sorted(wanted.items())]


def _extra(name: str, packages: list[str]) -> Finding:
    missing = [p for p in packages if not _has(p)]
    if not missing:
        return Finding(f"extra [{name}]", State.OK, "complete")
    detail = f"without {', '.join(missing)}"
    return Finding(f"extra [{name}]", State.ABSENT, detail, install_line(name))


def _bubblewrap() -> Finding:
    if path := shutil.which("bwrap"):
        return Finding("bubblewrap", State.OK, path)
    detail = "no boundary for code: tools that run code stay absent"
    return Finding("bubblewrap", State.ABSENT, detail, "make system-deps")


def _published() -> list[Finding]:
    """What packages say of themselves, ours included; one that breaks is told, not raised."""
    found: list[Finding] = []
    for point in sorted(entry_points(group="vtool.doctor"), key=lambda p: p.name):
        try:
            found += point.load()()
        except Exception as err:
            said = f"its examination broke ({type(err).__name__}: {err})"
            found.append(Finding(point.name, State.BROKEN, said))
    return found


def _chromium() -> Finding:
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if path := shutil.which(name):
            return Finding("chromium", State.OK, path)
    return Finding("chromium", State.ABSENT, "only tests of pages use it", "make system-deps")


def _checkpoints() -> Finding:
    found = shipped_checkpoints()
    if found:
        return Finding("tiny policies", State.OK, ", ".join(found))
    fix = "vtool train tiny-warmstart"
    return Finding("tiny policies", State.ABSENT, "none shipped with this copy", fix)


def _installed() -> bool:
    return _has(DISTRIBUTION)


def _has(distribution: str) -> bool:
    try:
        version(distribution)
    except PackageNotFoundError:
        return False
    return True


def _bare(requirement: str) -> str:
    """Distribution name of a requirement: what stands before brackets, bounds and spaces."""
    for i, char in enumerate(requirement):
        if not (char.isalnum() or char in "-_."):
            return requirement[:i]
    return requirement
