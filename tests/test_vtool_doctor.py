"""`vtool doctor`: every state of torch and torchvision, and a fix that can be pasted."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from vtool import doctor, errors
from vtool.doctor import State, examine
from vtool.needs import Package

FULL = {
    "torch": "2.13.0",
    "threads": 1,
    "accelerator": "",
    "torchvision": "absent",
    "transformers": "5.19.0",
}


def finding(seen: dict, name: str):
    return next(f for f in examine(lambda: seen) if f.name == name)


@pytest.mark.parametrize(
    ("change", "state", "said", "fix"),
    [
        ({}, State.OK, "absent", ""),
        ({"torchvision": "native", "torchvision_version": "0.28.0"}, State.OK, "native", ""),
        ({"torchvision": "shimmed", "torchvision_version": "0.28.0"}, State.OK, "shimmed", ""),
        (
            {"torchvision": "broken", "torchvision_error": "operator does not exist"},
            State.BROKEN,
            "operator does not exist",
            "pip uninstall -y torchvision",
        ),
    ],
)
def test_torchvision(change, state, said, fix):
    found = finding({**FULL, **change}, "torchvision")
    assert found.state is state
    assert said in found.detail
    assert found.fix == fix


def test_without_torch_nothing_is_broken_and_the_line_is_told():
    findings = {f.name: f for f in examine(lambda: {"torchvision": "absent"})}
    assert findings["torch"].state is State.ABSENT
    assert findings["engine hf"].state is State.ABSENT
    assert "[train]" in findings["engine hf"].fix
    assert findings["engine scripted"].state is State.OK
    assert not any(f.state is State.BROKEN for f in findings.values())


def test_torch_that_does_not_import_is_broken():
    assert finding({"torch_error": "OSError: libgomp"}, "torch").state is State.BROKEN


def test_transformers_broken_by_torchvision_has_no_second_fix():
    seen = {**FULL, "torchvision": "broken", "transformers_error": "RuntimeError: nms"}
    assert finding(seen, "transformers").fix == ""
    assert "[train]" in finding({**FULL, "transformers_error": "x"}, "transformers").fix


def test_many_threads_are_warned_of(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    found = finding({**FULL, "threads": 8}, "threads")
    assert (found.state, found.fix) == (State.WARN, "export OMP_NUM_THREADS=1")
    assert finding({**FULL, "accelerator": "a GPU"}, "threads").state is State.OK


def test_an_interpreter_that_dies_on_import_is_an_answer(monkeypatch):
    monkeypatch.setattr(doctor, "PROBE", "import os; os.abort()")
    assert "ended with code" in str(doctor.ask_interpreter()["torch_error"])
    monkeypatch.setattr(doctor, "PROBE", "import time; time.sleep(30)")
    monkeypatch.setattr(doctor, "_PROBE_SECONDS", 0.5)
    assert "more than" in str(doctor.ask_interpreter()["torch_error"])


def test_what_is_missing_is_answered_with_one_line_everywhere(tmp_path, monkeypatch):
    monkeypatch.setattr(errors, "HOME", tmp_path)
    assert errors.install_line("train") == 'pip install "vtool-agent[train]"'
    (tmp_path / "constraints").mkdir()
    (tmp_path / "constraints" / "cpu.txt").touch()
    (tmp_path / "pyproject.toml").touch()
    line = errors.install_line("train")
    assert line == f'pip install -c "{tmp_path}/constraints/cpu.txt" -e "{tmp_path}[train]"'
    monkeypatch.chdir(tmp_path)
    line = errors.install_line("train")
    assert line == 'pip install -c constraints/cpu.txt -e ".[train]"'
    # The doctor, the list of tools and who imports: all three.
    lack = Package("no_such_library", "train").lack(None)
    assert lack is not None
    assert finding({}, "engine hf").fix == lack.fix == line
    with pytest.raises(errors.MissingExtra) as told:
        errors.require("no_such_library", "train")
    assert f"run `{line}`" in str(told.value)


def test_the_real_thing():
    command = [sys.executable, "-m", "vtool.cli", "doctor", "--json"]
    done = subprocess.run(command, capture_output=True, timeout=120)
    states = {f["name"]: f["state"] for f in json.loads(done.stdout)}
    assert done.returncode == 0, states
    assert states["torch"] == states["transformers"] == states["torchvision"] == "ok"
