"""The fault catalogue: each case gives its code, and no longer does once its guard is gone.

`tests/faults.yaml` holds one entry an id: the public entry point, the expected code, the case
(a function in `tests/support`), the guard and what it is replaced by when it is disabled: a
constant, or what a careless implementation does (`tests/support/without_guards.py`). Without the
guard a wrong code must come out; only where `crash` names an exception may that come instead.
"""

import functools
import importlib
import inspect
from pathlib import Path

import pytest
import yaml

ENTRIES = yaml.safe_load(Path(__file__).with_name("faults.yaml").read_text())

# Group P attacks a boundary that bubblewrap makes.
NEEDS = {"P": [pytest.mark.system("bubblewrap")]}
CASES = [pytest.param(e, id=e["id"], marks=NEEDS.get(e["id"][0], ())) for e in ENTRIES]

DISABLED = {
    "none": lambda *a, **k: None,
    "identity": lambda *a, **k: a[0],
    "true": lambda *a, **k: True,
    "false": lambda *a, **k: False,
    "zero": lambda *a, **k: 0,
    "empty": lambda *a, **k: (),
}


def find(path):
    """Object, attribute name and value of `module:Class.attribute`."""
    module, _, names = path.partition(":")
    owner = importlib.import_module(module)
    *parents, last = names.split(".")
    for name in parents:
        owner = getattr(owner, name)
    return owner, last, inspect.getattr_static(owner, last)


def disabled(entry):
    name = entry["disabled"]
    if name in DISABLED:
        return DISABLED[name]
    module, _, function = name.partition(":")
    return getattr(importlib.import_module(module), function)


def spied(monkeypatch, entry):
    """Counts the calls of the entry point, wherever the case has it from."""
    # First: what the case imports by name must be the real thing.
    case = importlib.import_module(entry["case"].partition(":")[0])
    owner, name, old = find(entry["entry"])
    if inspect.isclass(old):
        owner, name, old = old, "__init__", inspect.getattr_static(old, "__init__")
    plain = old.__func__ if isinstance(old, staticmethod | classmethod) else old
    calls = []

    @functools.wraps(plain)
    def spy(*args, **options):
        calls.append(1)
        return plain(*args, **options)

    wrapped = type(old)(spy) if isinstance(old, staticmethod | classmethod) else spy
    monkeypatch.setattr(owner, name, wrapped)
    if getattr(case, name, None) is old:
        monkeypatch.setattr(case, name, wrapped)
    return calls


def run(entry, folder):
    module, _, name = entry["case"].partition(":")
    case = getattr(importlib.import_module(module), name)
    return case(folder) if inspect.signature(case).parameters else case()


@pytest.mark.parametrize("entry", CASES)
def test_fault(entry, tmp_path, monkeypatch):
    calls = spied(monkeypatch, entry)
    assert run(entry, tmp_path) == entry["code"]
    assert calls, f"{entry['id']} does not go through {entry['entry']}"


@pytest.mark.parametrize("entry", CASES)
def test_without_its_guard(entry, tmp_path, monkeypatch):
    owner, name, old = find(entry["guard"])
    new = disabled(entry)
    if isinstance(old, staticmethod | classmethod):
        new = staticmethod(new)
    monkeypatch.setattr(owner, name, new)
    try:
        code, crash = run(entry, tmp_path), None
    except Exception as err:
        code, crash = repr(err), type(err).__name__
    assert crash == entry.get("crash"), f"without its guard: {code}"
    assert code != entry["code"], f"{entry['id']} does not depend on {entry['guard']}"


def test_every_entry_is_whole_and_ids_are_unique():
    ids = [e["id"] for e in ENTRIES]
    assert len(ids) == len(set(ids))
    for entry in ENTRIES:
        assert set(entry) - {"crash"} == {"id", "entry", "code", "case", "guard", "disabled"}
        find(entry["entry"])


def test_the_groups_of_the_main_job_are_complete():
    wanted = {f"T{i}" for i in range(1, 17)} | {f"B{i}" for i in range(1, 14)}
    wanted |= {f"C{i}" for i in range(1, 11)} | {f"E{i}" for i in range(1, 12)}
    wanted |= {f"P{i}" for i in range(1, 11)} | {f"V{i}" for i in range(1, 14)}
    wanted |= {f"R{i}" for i in range(1, 13)}
    wanted |= {f"I{i}" for i in range(1, 15)} | {f"N{i}" for i in range(1, 9)}
    wanted |= {"S1", "S2", "S3", "S4", "S5", "S6", "S8", "S9", "S10"}
    wanted |= {"F1", "F2", "F3", "F4", "F5", "F6", "F8", "F12", "F13"}
    assert wanted <= {e["id"] for e in ENTRIES}
