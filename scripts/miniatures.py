"""Write a miniature folder of every benchmark, in every layout that it is read in.

    python scripts/miniatures.py FOLDER

Each lies in `FOLDER/<benchmark>/<number of the layout>`; pictures, films, questions and answers
are made up, names of files and columns are those of the published ones. `FOLDER/answers.json`
holds a made-up answer to each question, for scorers of others to judge.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "support"))

import miniatures

from vtool.benchmark import benchmarks


def main(out: Path) -> None:
    """Write them all, and say how many questions each holds."""
    sheets = {}
    for name, at in miniatures.layouts():
        found = benchmarks.get(name)
        tasks = list(found.read(miniatures.write(name, at, out / name / str(at))))
        print(f"{name}/{at}: {len(tasks)} questions, {found.layouts[at].form}")
        if at == 0:
            sheets[name] = miniatures.sheet(found, tasks)
    (out / "answers.json").write_text(json.dumps(sheets, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
