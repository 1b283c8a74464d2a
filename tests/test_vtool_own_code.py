"""`vtool --import`: code of one's own is there by name in every command, or it is told why not."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from vtool.errors import DataError
from vtool.own_code import import_own, named

ROOT = Path(__file__).parent.parent
ISOLATED = """
from vtool.media import Image
from vtool.tool import tool


@tool(isolated=True)
def sides(image: Image) -> str:
    \"\"\"Tell the size.

    Args:
        image: Of what.
    \"\"\"
    return f"{image.size[0]} by {image.size[1]}"
"""


@pytest.fixture
def mine(tmp_path):
    """The tool of the README in a file, and a picture."""
    from vtool.media import Image
    from vtool.worlds.zoom import draw

    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    example = re.findall(r"^```python\n(.*?)^```", readme, re.MULTILINE | re.DOTALL)[1]
    (tmp_path / "my_tools.py").write_text(example)
    (tmp_path / "my_sides.py").write_text(ISOLATED)
    (tmp_path / "street.png").write_bytes(Image(draw(1).pixels).encode("PNG"))
    return tmp_path


def vtool(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own: what is registered must not stay."""
    program = [sys.executable, "-W", "ignore", "-m", "vtool.cli", *words]
    return subprocess.run(program, cwd=folder, capture_output=True, text=True, check=False)


def test_a_tool_of_ones_own_is_listed_shown_and_run(mine):
    own = ("--import", "my_tools.py", "tools")
    assert "darker" in vtool(mine, *own).stdout
    assert "half its brightness" in vtool(mine, *own, "darker").stdout
    call = ("run", "darker", "-i", "street.png", "box=[40,60,300,380]")
    done = vtool(mine, *own, *call)
    assert done.returncode == 0, done.stderr
    assert (mine / "runs" / "tools" / "image_2.png").is_file()
    without = vtool(mine, "tools", *call)
    assert (without.returncode, "unknown tool 'darker'" in without.stderr) == (2, True)


def test_a_worker_process_finds_it_too(mine):
    own = ("--import", str(mine / "my_sides.py"))
    done = vtool(mine.parent, *own, "tools", "run", "sides", "-i", str(mine / "street.png"))
    assert "384 by 384" in done.stdout, done.stderr


def test_processes_of_a_comparison_import_it_again(mine):
    program = (
        "from vtool.own_code import import_own, named\n"
        "from multiprocessing import get_context\n"
        "from vtool.rl.methods import bench\n"
        "from my_check import has\n"
        "if __name__ == '__main__':\n"
        "    import_own(['my_tools.py'])\n"
        "    with get_context('spawn').Pool(1, bench.begin, (named(),)) as pool:\n"
        "        print(pool.map(has, ['darker']))\n"
    )
    (mine / "my_check.py").write_text(
        "from vtool.tool import tools\ndef has(name):\n    return name in tools\n"
    )
    (mine / "main.py").write_text(program)
    done = subprocess.run(
        [sys.executable, "main.py"], cwd=mine, capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "[True]", done.stderr


def test_a_link_is_the_file_that_it_means(mine, tmp_path_factory):
    place = tmp_path_factory.mktemp("links")
    (place / "linked.py").symlink_to(mine / "my_tools.py")
    assert "darker" in vtool(place, "--import", "linked.py", "tools").stdout
    (mine / "tools.txt").write_text("")
    (place / "other.py").symlink_to(mine / "tools.txt")
    done = vtool(place, "--import", "other.py", "tools")
    assert (done.returncode, "tools.txt cannot be found" in done.stderr) == (2, True)


def test_a_file_that_ends_the_program_is_no_success(tmp_path):
    (tmp_path / "my_exit.py").write_text("raise SystemExit(0)")
    done = vtool(tmp_path, "--import", "my_exit.py", "tools")
    assert (done.returncode, "it ends the program" in done.stderr) == (2, True)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("gone.py", None, "there is no file"),
        ("json.py", "", "another module is called json .*: rename the file"),
        ("__main__.py", "", "another module is called __main__ .*: rename the file"),
        ("my-tools.py", "", "no module can be called 'my-tools'"),
        ("my_broken.py", "1 / 0", "ZeroDivisionError: division by zero"),
        ("my_exit.py", "import sys\nsys.exit()", "it ends the program .SystemExit: .* imported"),
        ("no_such_module_of_mine", None, "ModuleNotFoundError: No module named"),
    ],
)
def test_what_cannot_be_imported_is_told(tmp_path, monkeypatch, name, text, said):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", None)  # as of the program `vtool`
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=said):
        import_own([name])
    assert not named()
