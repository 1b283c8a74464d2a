"""The command line: commands by entry point, errors as one line, exit codes 0, 1, 2, 130."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image as PILImage

from vtool import cli
from vtool.errors import EngineError, RecipeError


@dataclass
class Point:
    """Stands for an entry point."""

    name: str
    thing: Any

    def load(self) -> Any:
        if isinstance(self.thing, Exception):
            raise self.thing
        return self.thing


def run(words: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as caught:
        cli.main(words)
    out = capsys.readouterr()
    code = caught.value.code
    return (0 if code is None else int(code)), out.out, out.err


@pytest.fixture
def offer(monkeypatch):
    def put(**things: Any) -> None:
        monkeypatch.setattr(cli, "_points", lambda: {k: Point(k, v) for k, v in things.items()})

    return put


def broken() -> None:
    """Break."""
    raise EngineError("the engine is gone")


def bad_input() -> None:
    """Refuse."""
    raise RecipeError("no such key")


def full() -> None:
    """Find no room."""
    raise OSError(28, "No space left on device", "/here")


def interrupted() -> None:
    """Be interrupted."""
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["broken"], 1, "vtool: the engine is gone"),
        (["bad"], 2, "vtool: no such key"),
        (["bad", "--nonsense"], 2, "No such option"),
        (["bda"], 2, "did you mean 'bad'?"),
        (["stop"], 130, "interrupted"),
        (["full"], 1, "vtool: No space left on device: /here"),
    ],
)
def test_exit_codes_and_one_line(offer, capsys, words, code, said):
    offer(broken=broken, bad=bad_input, stop=interrupted, full=full)
    got, _, err = run(words, capsys)
    assert got == code
    assert said in err
    assert "Traceback" not in err


def test_debug_shows_the_traceback(offer):
    offer(broken=broken)
    with pytest.raises(EngineError):
        cli.main(["--debug", "broken"])


def test_one_command_that_cannot_load_hurts_no_other(offer, capsys):
    offer(good=bad_input, gone=ImportError("no module named x"))
    code, out, _ = run(["--help"], capsys)
    assert code == 0
    assert "good     Refuse." in out
    assert "gone     (cannot be loaded: no module named x)" in out


def test_every_published_command_loads_and_says_what_it_does(capsys):
    code, out, _ = run(["--help"], capsys)
    assert code == 0
    assert "cannot be loaded" not in out
    for name in ("ask", "data", "doctor", "eval", "tools", "train", "view"):
        line = next(x for x in out.splitlines() if x.startswith(f"  {name} "))
        assert line.rstrip().endswith("."), line


def test_tools_are_listed_and_shown_as_the_model_sees_them(capsys):
    code, out, _ = run(["tools"], capsys)
    assert code == 0
    assert "zoom" in out
    code, out, _ = run(["tools", "zoom"], capsys)
    schema = json.loads(out)["function"]
    assert schema["name"] == "zoom"
    assert set(schema["parameters"]["properties"]) == {"image", "box"}
    assert "0 to 1000" in out
    _, out, _ = run(["tools", "zoom", "--units", "shown"], capsys)
    assert "pixels of the picture as shown" in out
    _, out, _ = run(["tools", "--json"], capsys)
    assert "zoom" in {t["function"]["name"] for t in json.loads(out)}
    code, _, err = run(["tools", "zom"], capsys)
    assert code == 2
    assert "did you mean 'zoom'?" in err


def test_data_make_and_check(tmp_path: Path, capsys):
    out_dir = tmp_path / "set"
    words = ["data", "make", "zoom", "--out", str(out_dir), "--one", "2", "--none", "1", "--json"]
    code, out, _ = run(words, capsys)
    assert code == 0
    tasks = json.loads(out)["tasks"]
    code, out, _ = run(["data", "check", tasks, "--json"], capsys)
    assert code == 0
    assert json.loads(out) == {"ok": True, "path": tasks, "rows": 3, "findings": []}
    code, _, err = run(words, capsys)
    assert code == 2
    assert "exists" in err
    code, _, err = run(["data", "make", "zom", "--out", str(tmp_path / "x")], capsys)
    assert code == 2
    assert "did you mean 'zoom'?" in err


def test_data_check_ends_with_2_and_names_the_line(tmp_path: Path, capsys):
    PILImage.new("RGB", (8, 8)).save(tmp_path / "p.png")
    row = {"id": "q", "image": "p.png", "messages": [{"role": "user", "content": "x"}]}
    path = tmp_path / "t.jsonl"
    path.write_text(json.dumps(row) + "\n")
    code, out, _ = run(["data", "check", str(path), "--json"], capsys)
    assert code == 2
    finding = json.loads(out)["findings"][0]
    assert (finding["line"], finding["code"], finding["level"]) == (1, "bad_row", "error")
    code, out, _ = run(["data", "check", str(path)], capsys)
    assert "not fit for use" in out


def test_ctrl_c_ends_a_real_process_with_130(tmp_path: Path):
    program = (
        "import os, signal, vtool.cli as c\n"
        # A shell that starts us in the background has SIGINT ignored, and children inherit that.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "class P:\n"
        "    def load(self):\n"
        "        def wait() -> None:\n"
        "            'Wait.'\n"
        "            os.kill(os.getpid(), signal.SIGINT)\n"
        "            import time; time.sleep(20)\n"
        "        return wait\n"
        "c._points = lambda: {'wait': P()}\n"
        "c.main(['wait'])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=60)
    assert done.returncode == 130
    assert b"Traceback" not in done.stderr


def test_vtool_is_a_module_too():
    command = [sys.executable, "-m", "vtool.cli", "tools", "zoom"]
    done = subprocess.run(command, capture_output=True, timeout=60, env={**os.environ})
    assert done.returncode == 0
    assert json.loads(done.stdout)["function"]["name"] == "zoom"
