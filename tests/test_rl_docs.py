"""Pages on rewards, methods and benchmarks are as the code; what they tell to type works."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from vtool.rl.credit_rules import credit_rules
from vtool.rl.loss_spec import Objective
from vtool.rl.recipe import load_recipe, recipe_names
from vtool.rl.recipe_about import Certainty

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"


@pytest.mark.parametrize("script", ["reward_pages", "method_pages", "benchmark_pages"])
def test_pages_are_as_the_code(script):
    """In a process of its own: other tests register parts of theirs."""
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT / 'scripts')!r}); import {script} as s\n"
        "for name, text in s.pages().items():\n"
        "    path = s.DOCS / name\n"
        "    assert path.read_text(encoding='utf-8') == text, f'{name} differs from the code'\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, f"{ran.stderr}\nwrite them with `python scripts/{script}.py`"


def test_every_name_stands_on_its_page():
    advantages = (DOCS / "rl" / "advantages.md").read_text()
    named = [n for n in credit_rules if credit_rules.get(n).__module__.startswith("vtool.")]
    assert named
    assert all(f"`{name}`" in advantages for name in named)
    assert all(f"`{o.value}`" in (DOCS / "rl" / "losses.md").read_text() for o in Objective)
    told = (DOCS / "rl" / "recipes.md").read_text()
    for name in recipe_names():
        published = load_recipe(name).about.certainty is not Certainty.OURS
        assert (f"| `{name}` |" in told) is published


def blocks(page, language):
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(), re.DOTALL)


@pytest.mark.parametrize(
    ("page", "module", "lines"),
    [("rewards/index.md", "my_rewards", 5), ("rl/own.md", "my_credit", 10)],
)
def test_what_the_pages_tell_to_write_works(tmp_path, page, module, lines):
    """Outside the package: the module, the recipe that names it, and the lines that train."""
    own, launch = blocks(DOCS / page, "python")
    assert len([line for line in own.splitlines() if line.strip()]) <= lines
    recipe = next(b for b in blocks(DOCS / page, "yaml") if b.startswith("# "))
    name = recipe.splitlines()[0].removeprefix("# ")
    (tmp_path / f"{module}.py").write_text(own)
    (tmp_path / name).write_text(recipe)
    (tmp_path / "launch.py").write_text(launch)
    ran = subprocess.run(
        [sys.executable, "launch.py"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    (done,) = tmp_path.glob("runs/*/metrics.jsonl")
    assert '"reward/total"' in done.read_text()
