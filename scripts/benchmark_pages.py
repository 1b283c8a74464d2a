"""Write `docs/eval/benchmarks.md` from the registry: `python scripts/benchmark_pages.py`."""

from __future__ import annotations

import json
from pathlib import Path

from vtool.benchmark import Benchmark, benchmarks

DOCS = Path(__file__).parent.parent / "docs" / "eval"
GOLDEN = Path(__file__).parent.parent / "tests" / "golden" / "eval_loaders.json"

HEAD = """# Benchmarks

Read from the files that people have, by name and folder:

```
vtool data check data/vstar --benchmark vstar       # ids, media; the reference must score 1
vtool eval vstar --root data/vstar --model path/to/model
vtool eval refcoco --split testA --root data/refcoco --model path/to/model
vtool eval vstar --root data/vstar --published              # judged as the published scorer does
```

[Measuring](running.md) says what else a run can be asked.

Nothing is fetched: you bring the files. Each way in which they may lie on disk is a *layout*, and
the table says how we know it: **verified** (by a reader of somebody else that takes the same
folder) or **documented** (from the publishers' words only; no file of theirs was at hand).
`python scripts/miniatures.py FOLDER` writes a miniature of every one of them, with made-up
contents, to see how they must look.

lmms-eval 0.7.3 opens the miniatures of {count} benchmarks and splits with its own loaders and comes
to the same questions and targets (`scripts/golden_lmms_loaders.py`, `tests/test_eval_loaders.py`).
Not compared: targets that are masks (RefSpatial), and how a question is worded around the strings
that the files hold.

"""


def pages() -> dict[str, str]:
    """The page by its file name."""
    found = [benchmarks.get(name) for name in benchmarks.names()]
    rows = [row for b in found if b.layouts for row in _rows(b)]
    table = ["| benchmark | metric | files | where | known how |", "|---|---|---|---|---|", *rows]
    about = [f"* `{b.name}`: {b.about}" for b in found if b.about]
    told = json.loads(GOLDEN.read_text(encoding="utf-8"))["benchmarks"]
    parts = [
        HEAD.format(count=len(told)) + "\n".join(table),
        "## What they measure",
        "\n".join(about),
    ]
    return {"benchmarks.md": "\n\n".join(parts) + "\n"}


def _rows(found: Benchmark) -> list[str]:
    metric = f"`{found.metric}`" + (f" (`{found.published}`)" if found.published else "")
    rows = []
    for at, layout in enumerate(found.layouts):
        name = f"`{found.name}`" if at == 0 else ""
        cells = [name, metric if at == 0 else "", layout.form, layout.where, layout.seen]
        rows.append("| " + " | ".join(c.replace("|", "\\|") for c in cells) + " |")
    return rows


if __name__ == "__main__":
    for name, text in pages().items():
        (DOCS / name).write_text(text, encoding="utf-8")
        print(DOCS / name)
