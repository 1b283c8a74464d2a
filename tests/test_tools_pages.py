"""The pages of the tools are as their code, and what checks them catches what it must."""

import importlib
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from vtool.tool import tools

ROOT = Path(__file__).parent.parent


def test_pages_are_as_the_code():
    done = subprocess.run(
        [sys.executable, "scripts/tool_pages.py", "--check"],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert done.returncode == 0, (
        f"{done.stdout}{done.stderr}\nwrite them with `python scripts/tool_pages.py`"
    )


@pytest.fixture
def script(monkeypatch, tmp_path):
    """The script, on a copy of the pages."""
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    module = importlib.import_module("tool_pages")
    folder = tmp_path / "tools"
    shutil.copytree(ROOT / "docs" / "tools", folder)
    monkeypatch.setattr(module, "FOLDER", folder)
    monkeypatch.setattr(module, "PICTURES", folder / "images")
    monkeypatch.setattr(module, "WORDS", folder / "examples.json")
    return module


def changed_page(folder):
    page = folder / "zoom.md"
    page.write_text(page.read_text().replace("200 times", "300 times"))


def lost_page(folder):
    (folder / "zoom.md").unlink()


def page_of_no_tool(folder):
    (folder / "zomo.md").write_text("# zomo\n")


def lost_picture(folder):
    (folder / "images" / "zoom.jpg").unlink()


def empty_picture(folder):
    (folder / "images" / "zoom.jpg").write_bytes(b"")


def large_picture(folder):
    (folder / "images" / "zoom.jpg").write_bytes(bytes(60_001))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (changed_page, "zoom.md: differs"),
        (lost_page, "zoom.md: differs"),
        (page_of_no_tool, "zomo.md: no such tool"),
        (lost_picture, "zoom.jpg: not there"),
        (empty_picture, "zoom.jpg: not there, empty"),
        (large_picture, "above 60000 bytes"),
    ],
)
def test_what_differs_is_found(script, change, says):
    assert script.check() == []
    change(script.FOLDER)
    (line,) = script.check()
    assert says in line


def test_a_tool_without_an_example_is_named(script, monkeypatch):
    monkeypatch.setattr(
        script, "EXAMPLES", {k: v for k, v in script.EXAMPLES.items() if k != "zoom"}
    )
    assert "zoom: no example; add a row" in "\n".join(script.check())


def test_an_example_that_never_ran_is_named(script):
    words = script.WORDS.read_text()
    script.WORDS.write_text(words.replace('"zoom": ', '"zomo": '))
    assert "zoom: its example was never run" in "\n".join(script.check())


def test_pages_hold_what_their_code_says(script):
    page = script.page(tools.get("zoom"), None)
    assert "`too_small` | the picture is {width}x{height} pixels: nothing smaller than 16" in page
    assert "sides differ more than 200 times" in page
    assert "| `box` | box, of `image` | required | Part to look at. |" in page
    depth = script.page(tools.get("depth"), None)
    assert "Local folder or hub name of a depth estimation checkpoint." in depth
    assert "pip install" in depth
    assert "a checkpoint of yours" in depth
    assert "Not run for this page" in depth


def test_settings_told_in_either_style_are_found(script):
    from dataclasses import dataclass

    from vtool.tool import Settings

    @dataclass(frozen=True)
    class Both(Settings):
        """Some.

        Args:
            first: Told in
                the class.
            second: Also.
        """

        first: int = 1
        second: int = 2
        third: int = 3
        """Told below."""

    assert script.field_docs(Both) == {
        "first": "Told in the class.",
        "second": "Also.",
        "third": "Told below.",
    }


def test_writing_runs_the_example(script):
    before = (script.PICTURES / "flip.jpg").read_bytes()
    (script.PICTURES / "flip.jpg").unlink()
    script.write(["flip"])
    after = (script.PICTURES / "flip.jpg").read_bytes()
    assert after[:2] == b"\xff\xd8"
    assert 0.8 < len(after) / len(before) < 1.25
    assert not [line for line in script.check() if "flip" in line]
