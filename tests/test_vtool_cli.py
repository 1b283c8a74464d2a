"""The command line: commands by entry point, errors as one line, exit codes 0, 1, 2, 130."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as PILImage

from vtool import cli
from vtool.camera import Camera
from vtool.commands.run_tool import keep, read_value
from vtool.errors import EngineError, MediaError, RecipeError, install_line
from vtool.geometry import Mask
from vtool.media import Image
from vtool.needs import Package, Program
from vtool.store import Cloud, DepthMap, Store, Table, value_digest
from vtool.tool import tool, tools
from vtool.toolspec import Kind, Param


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
    assert "did you mean 'zoom'" in err


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


def test_a_tool_is_run_by_hand_on_files(tmp_path: Path, capsys):
    file = tmp_path / "a.png"
    PILImage.new("RGB", (100, 80), (10, 200, 30)).save(file)
    words = ["tools", "run", "zoom", "-i", str(file), "--out", str(tmp_path / "out")]
    code, out, _ = run([*words, "box=[10, 20, 60, 60]"], capsys)
    assert (code, out.strip()) == (0, str(tmp_path / "out" / "image_2.png"))
    assert PILImage.open(tmp_path / "out" / "image_2.png").size == (50, 40)
    code, out, _ = run([*words, "box=[0, 0, 0.5, 1]", "--units", "unit", "--json"], capsys)
    assert json.loads(out)["files"] == [str(tmp_path / "out" / "image_2.png")]
    assert PILImage.open(tmp_path / "out" / "image_2.png").size == (50, 80)
    code, _, err = run([*words, "box=[60, 20, 10, 60]"], capsys)
    assert (code, "zoom refused the call, bad_box" in err) == (2, True)
    code, _, err = run([*words[:3], "-i", str(tmp_path / "none.png")], capsys)
    assert (code, "cannot read picture" in err) == (2, True)
    code, _, err = run([*words, "box=[0, 0, 9, 9]", "--set", "size=3"], capsys)
    assert (code, "has no settings" in err) == (2, True)


def test_values_of_tools_go_through_files(tmp_path: Path):
    cells = np.zeros((4, 6), bool)
    cells[1:3, 2:5] = True
    far = np.arange(24, dtype=np.float32).reshape(4, 6)
    depth = DepthMap(far, metric=True, camera=Camera(9.0, 9.0, 3.0, 2.0))
    values = [Mask(cells), depth, Cloud(np.ones((5, 3), np.float32)), Table(({"a": 1},))]
    for kind, value in zip((Kind.MASK, Kind.DEPTH, Kind.CLOUD, Kind.TABLE), values, strict=True):
        file = keep(Store().add(value), tmp_path)
        assert value_digest(read_value(file, Param("x", kind))) == value_digest(value)
    with pytest.raises(MediaError, match="tensor 'cloud'"):
        read_value(tmp_path / "depth_1.safetensors", Param("x", Kind.CLOUD))


def test_what_a_tool_lacks_is_listed_with_its_fix(monkeypatch, capsys):
    monkeypatch.setattr(tools, "_things", dict(tools._things))

    @tool(needs=(Package("no_such_library", "vision"), Program("no-such-program", "get it")))
    def look(image: Image) -> str:
        """Look.

        Args:
            image: At what.
        """
        return ""

    code, out, _ = run(["tools"], capsys)
    assert code == 0
    assert "needs extra" in out
    assert f"look lacks no_such_library: {install_line('vision')}" in out
    code, out, _ = run(["tools", "--json"], capsys)
    found = {t["name"]: t for t in json.loads(out)}
    assert found["zoom"]["state"] == "ready"
    assert [k["kind"] for k in found["look"]["lacks"]] == ["extra", "program"]
    code, _, err = run(["tools", "run", "look"], capsys)
    assert (code, "no_such_library" in err) == (1, True)
