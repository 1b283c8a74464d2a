"""What the documents show runs, and what they name exists."""

from __future__ import annotations

import inspect
import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import miniatures
import pytest

from vtool.cli import main
from vtool.worlds.zoom import draw

ROOT = Path(__file__).parent.parent
PAGES = ("README.md", "CONTRIBUTING.md", "SECURITY.md", "docs/architecture.md")


def blocks(page: str, language: str) -> list[str]:
    text = (ROOT / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def run(program: str, folder: Path) -> str:
    """Run in a process of its own: what the examples register must not stay."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_examples_of_contributing_pass_their_own_checks(tmp_path):
    tool, part, bench = blocks("CONTRIBUTING.md", "python")
    (tmp_path / "sign.png").write_bytes(picture())
    row = {"id": "a", "image": "sign.png", "question": "what?", "label": "STOP"}
    (tmp_path / "test.jsonl").write_text(json.dumps(row) + "\n")
    checks = (
        "from vtool.check import check_benchmark, check_tool\n"
        "from vtool.reward import parts\n"
        "check_tool(mirror)\n"
        "check_benchmark(small_signs, Path('.'))\n"
        "print(parts.get('brief').name)\n"
    )
    assert run("\n".join((tool, part, bench, checks)), tmp_path).strip() == "brief"


def test_example_of_the_readme_answers(tmp_path):
    example, tool = blocks("README.md", "python")
    assert len(example.strip().splitlines()) <= 17
    run(tool + "\nfrom vtool.check import check_tool\ncheck_tool(darker)", tmp_path)
    scene = draw(11, kind="one", split="held_out")
    shown = tmp_path / "runs" / "quickstart" / "held_out" / "images" / "000001.png"
    shown.parent.mkdir(parents=True)
    shown.write_bytes(picture(11))
    program = example.replace("what digit is in the blue circle?", scene.question)
    out = run(program, tmp_path)
    assert "box" in out
    assert scene.answer in out.split("\n")[0]


def picture(seed: int = 11) -> bytes:
    from vtool.media import Image

    return Image(draw(seed, kind="one", split="held_out").pixels).encode("PNG")


@pytest.mark.parametrize("page", PAGES)
def test_files_that_a_page_names_exist(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    names = set(
        re.findall(r"`((?:vtool|rl|eval|demos|tests|docs|scripts|vision_tools)/[\w./-]*)`", text)
    )
    names |= set(re.findall(r"\]\(([^)#:]+)\)", text))
    missing = [n for n in names if not (ROOT / n).exists()]
    assert missing == []


@pytest.mark.parametrize("page", PAGES)
def test_commands_that_a_page_names_exist(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"\bmake ([a-z-]+)\b(?=[`\s])", text):
        if f"`make {target}" in text or f"\nmake {target}" in text:
            assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    known = set(project["entry-points"]["vtool.commands"])
    for command in re.findall(r"(?:^|`)vtool ([a-z]+)", text, re.MULTILINE):
        assert command in known, command


def test_the_page_on_measuring_runs(tmp_path):
    """Its Python prints an accuracy with its interval; every option it names is one."""
    from vtool.eval.commands import evaluate

    from vtool.worlds.dataset import make

    make(tmp_path / "w", seed=0, one=3, split="held_out")
    (program,) = blocks("docs/eval/running.md", "python")
    numbers = [float(word) for word in run(program, tmp_path).split()]
    assert numbers[1] <= numbers[0] <= numbers[2]
    text = (ROOT / "docs/eval/running.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(--[a-z-]+)", text)) - {"--model_args"}
    told = inspect.getsource(evaluate)
    unknown = {n for n in named if n[2:].replace("-", "_") not in told and n not in told}
    assert unknown <= {"--runs", "--tasks"}, unknown


def test_commands_on_the_page_on_measuring_print_what_it_shows(tmp_path, monkeypatch, capsys):
    """In the order of the page, in one folder; what it leaves out may be printed beside."""
    monkeypatch.chdir(tmp_path)
    miniatures.write("vstar", 0, tmp_path / "data" / "vstar")
    shown: list[tuple[str, list[str]]] = []
    for block in blocks("docs/eval/running.md", ""):
        for line in filter(None, block.splitlines()):
            if line.startswith("$ "):
                shown.append((line.removeprefix("$ "), []))
            else:
                shown[-1][1].append(_timeless(line))
    assert len(shown) >= 10
    for command, wanted in shown:
        program, *words = shlex.split(command)
        assert program == "vtool"
        with pytest.raises(SystemExit) as caught:
            main(words)
        assert not caught.value.code, command
        printed = [_timeless(line) for line in capsys.readouterr().out.splitlines()]
        assert [line for line in wanted if line not in printed] == [], command


def _timeless(line: str) -> str:
    return re.sub(r"\b\d+\.\d s\b", "T s", line)
