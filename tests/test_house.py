"""The architecture, guarded: import rules, weight, room sizes, forbidden calls, the wheel."""

from __future__ import annotations

import ast
import importlib.util
import os
import subprocess
import sys
import tomllib
import venv
import zipfile
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
WINGS = ("vision_tools", "rl", "eval", "demos")
HEAVY = ("torch", "transformers", "cv2", "gradio", "accelerate", "matplotlib", "pandas", "skimage")
MAX_LINES = 450


def rooms(*folders: str) -> list[Path]:
    found = [p for f in folders for p in sorted((ROOT / f).rglob("*.py"))]
    assert found
    return found


HOUSE = rooms("vtool", *WINGS)
EVERYTHING = [*HOUSE, *rooms("scripts", "tests")]


def imported(path: Path) -> Iterator[tuple[int, str]]:
    """(relative level, dotted name) of everything that a file imports, at any depth."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((0, a.name) for a in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            yield node.level, base
            yield from ((node.level, f"{base}.{a.name}".strip(".")) for a in node.names)


def wing_of(path: Path) -> str | None:
    top = path.relative_to(ROOT).parts[0]
    return top if top in WINGS else None


def wing_named(name: str) -> str | None:
    """The wing that an absolute import goes to, under either spelling."""
    parts = name.split(".")
    at = parts[1] if parts[0] == "vtool" and len(parts) > 1 else parts[0]
    return at if at in WINGS else None


def wrong_imports(path: Path) -> list[str]:
    own = wing_of(path)
    depth = len(path.relative_to(ROOT).parts) - 1
    found = []
    for level, name in imported(path):
        if level == 0 and (wing := wing_named(name)) is not None:
            found.append(f"{name} ({'say it relatively' if wing == own else 'another wing'})")
        elif level > depth:
            found.append(f"{'.' * level}{name} leaves its wing")
        if level == 0 and name.split(".")[0] in ("tests", "scripts"):
            found.append(f"{name}: nobody imports tests or scripts")
    return found


@pytest.mark.parametrize("path", HOUSE, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_run_one_way(path):
    assert wrong_imports(path) == []


def test_the_import_rule_catches_what_it_must(tmp_path, monkeypatch):
    """The rule itself is tested: a wing that imports a wing, in every spelling."""
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    bad = {
        "rl/a.py": "import vtool.eval.run",
        "rl/b.py": "from vtool import demos",
        "rl/c.py": "from eval import run",
        "eval/d.py": "def f():\n    from vtool.rl.loss import x",
        "vtool/e.py": "from vtool.rl import train",
        "rl/f.py": "from vtool.rl.loss import x",
        "rl/tiny/g.py": "from ...eval import run",
    }
    good = {
        "rl/h.py": "from . import loss\nfrom .loss import x\nfrom vtool.record import Episode",
        "rl/tiny/i.py": "from ..loss import x\nfrom . import spec",
    }
    for name, text in {**bad, **good}.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        assert bool(wrong_imports(path)) == (name in bad), name


def circles(arrows: dict[str, set[str]]) -> list[str]:
    """Names that are reachable from themselves."""
    found = []
    for start in arrows:
        seen: set[str] = set()
        todo = list(arrows[start])
        while todo:
            at = todo.pop()
            if at not in seen:
                seen.add(at)
                todo += arrows.get(at, set())
        if start in seen:
            found.append(start)
    return found


def module_name(path: Path) -> str:
    parts = list(path.relative_to(ROOT).with_suffix("").parts)
    if parts[0] in WINGS:
        parts.insert(0, "vtool")
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def at_import(path: Path) -> Iterator[str]:
    """Absolute names of modules that importing a file imports (not those inside functions)."""
    own = module_name(path).split(".")
    package = own if path.name == "__init__.py" else own[:-1]
    todo: list[ast.AST] = list(ast.parse(path.read_text(encoding="utf-8")).body)
    while todo:
        node = todo.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            continue
        if isinstance(node, ast.Import):
            yield from (a.name for a in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            full = ".".join([*base, *([node.module] if node.module else [])])
            yield full
            yield from (f"{full}.{a.name}" for a in node.names)
        todo += list(ast.iter_child_nodes(node))


def test_no_circles_between_rooms():
    names = {module_name(p) for p in HOUSE}
    arrows = {module_name(p): {n for n in at_import(p) if n in names} for p in HOUSE}
    packages = {module_name(p) for p in HOUSE if p.name == "__init__.py"}
    rooms_only = {k: v - packages for k, v in arrows.items() if k not in packages}
    assert circles(rooms_only) == []


@pytest.mark.parametrize("path", EVERYTHING, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_room_is_too_large(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_LINES


def forbidden(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ExceptHandler) and node.type is None:
            yield f"line {node.lineno}: bare except"
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [a.name for a in node.names] + [getattr(node, "module", None) or ""]
            if {"pickle", "dill", "cloudpickle", "marshal", "shelve"} & set(names):
                yield f"line {node.lineno}: pickled data run code when read"
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        if name in ("eval", "exec", "builtins.eval", "builtins.exec", "os.system"):
            yield f"line {node.lineno}: {name}()"
        if name in ("torch.load", "torch.save", "np.load", "numpy.load"):
            yield f"line {node.lineno}: {name}(): use safetensors"
        for key in node.keywords:
            if key.arg in ("trust_remote_code", "shell", "allow_pickle") and not _is(key, False):
                yield f"line {node.lineno}: {key.arg}"


def _is(key: ast.keyword, value: object) -> bool:
    return isinstance(key.value, ast.Constant) and key.value.value is value


SHIPPED = [*HOUSE, *(ROOT / "scripts").rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py")]


GUEST = ROOT / "vision_tools" / "sandbox" / "cell_runner.py"
"""Runs a model's programs, which is what it is for: bound into the boundary, imported by nobody."""


@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: str(p.relative_to(ROOT)))
def test_nothing_runs_what_it_reads(path):
    found = list(forbidden(ast.parse(path.read_text(encoding="utf-8"))))
    if path == GUEST:
        assert [f.split(": ")[1] for f in found] == ["exec()"]  # that one, and nothing else
    else:
        assert found == []


def test_nobody_imports_the_guest():
    named = {p: [n for _, n in imported(p) if "cell_runner" in n] for p in EVERYTHING}
    assert not {p: n for p, n in named.items() if n}


@pytest.mark.parametrize(
    "text",
    [
        "eval('1')",
        "exec(x)",
        "import pickle",
        "from pickle import loads",
        "torch.load(p)",
        "f(trust_remote_code=True)",
        "run(c, shell=True)",
        "run(c, shell=flag)",
        "try:\n    f()\nexcept:\n    pass",
    ],
)
def test_the_forbidden_list_catches_what_it_must(text):
    assert list(forbidden(ast.parse(text)))


def test_model_eval_is_no_eval():
    assert not list(forbidden(ast.parse("model.eval()\nf(trust_remote_code=False)")))


@pytest.mark.parametrize(
    "statement",
    [
        "import vtool",
        "import vtool.vision_tools",
        "import vtool.cli",
        "from vtool.tool import tools; [tools.get(n) for n in tools]",
        "import vtool.environment, vtool.programs.solo, vtool.trace, vtool.check, vtool.data",
    ],
)
def test_the_ground_floor_loads_nothing_heavy(statement):
    program = f"{statement}\nimport sys\nprint([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


def test_bare_spelling_in_the_checkout_is_light_too():
    program = (
        "import vision_tools.zoom, sys; print([m for m in ('torch', 'cv2') if m in sys.modules])"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=env, cwd=ROOT
    )
    assert done.stdout.strip() == "[]", done.stderr


def test_every_package_folder_is_listed():
    """setuptools is told its packages by hand: a folder left out would be missing in the wheel."""
    listed = set(
        tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    )
    found = {module_name(p) for p in HOUSE if p.name == "__init__.py"} | {"vtool.assets"}
    assert listed == found


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel, built from a copy: a build must leave nothing in the checkout."""
    out = tmp_path_factory.mktemp("wheel")
    source = out / "source"
    listed = subprocess.run(
        ["git", "ls-files", "-z", "-co", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    command = [sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", str(out)]
    done = subprocess.run([*command, str(source)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return next(out.glob("*.whl"))


def test_the_wheel_has_one_top_level_name(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    tops = {n.split("/")[0] for n in names}
    assert {t for t in tops if not t.endswith(".dist-info")} == {"vtool"}
    for needed in (
        "py.typed",
        "vision_tools/zoom.py",
        "rl/recipes/zoom.yaml",
        "demos/page.css",
        "assets/tiny/clean/model.safetensors",
        "assets/tiny/weak/tokenizer.json",
        "assets/tiny/moments/model.safetensors",
        "assets/tiny/joint/model.safetensors",
        "assets/tiny/examples/model.safetensors",
        "assets/tiny/idle/model.safetensors",
        "assets/tiny/restless/model.safetensors",
    ):
        assert f"vtool/{needed}" in names


def test_the_wheel_works_outside_the_checkout_without_torch(wheel, tmp_path):
    """A bare environment: the wheel, and the core's dependencies lent from this one by name."""
    venv.create(tmp_path / "env", with_pip=False)
    python = tmp_path / "env" / "bin" / "python"
    site = next((tmp_path / "env" / "lib").glob("python3*/site-packages"))
    zipfile.ZipFile(wheel).extractall(site)
    lend_core(site)
    program = (
        "import importlib.util as u, vtool, vtool.vision_tools, vtool.dialects\n"
        "assert u.find_spec('torch') is None and u.find_spec('transformers') is None\n"
        f"assert {str(ROOT)!r} not in vtool.__file__, vtool.__file__\n"
        "from vtool.cli import main\nmain(['tools', 'zoom'])\n"
    )
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL_ENV"))}
    done = subprocess.run(
        [str(python), "-c", program], capture_output=True, text=True, cwd=tmp_path, env=clean
    )
    assert done.returncode == 0, done.stderr
    assert '"name": "zoom"' in done.stdout


def lend_core(site: Path) -> None:
    """Link the core's dependencies (and what they need) into another environment."""
    todo, done = ["vtool-agent"], set()
    while todo:
        name = todo.pop()
        if name not in done and (needs := core_needs(name)) is not None:
            done.add(name)
            todo += needs
    for top, owners in packages_distributions().items():
        if any(canonicalize_name(o) in done for o in owners) and top != "vtool":
            link(top, site)


def core_needs(distribution: str) -> list[str] | None:
    """What a distribution needs here without extras; None if it is not installed."""
    try:
        lines = [Requirement(line) for line in requires(distribution) or ()]
    except PackageNotFoundError:
        return None
    here = [r for r in lines if r.marker is None or r.marker.evaluate({"extra": ""})]
    return [canonicalize_name(r.name) for r in here]


def link(top: str, site: Path) -> None:
    """Link one top-level module or package, and the shared libraries beside it."""
    spec = importlib.util.find_spec(top)
    if spec is None or spec.origin is None:
        return
    origin = Path(spec.origin)
    source = origin.parent if spec.submodule_search_locations else origin
    for path in (source, source.parent / f"{top}.libs", source.parent / f"{top.lower()}.libs"):
        if path.exists() and not (site / path.name).exists():
            (site / path.name).symlink_to(path)
