"""The demo: a few held-out questions answered by the shipped policy, laid out as a page."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from vtool.demos.view import page_of_trace, write_page
from vtool.eval.run import Settings
from vtool.eval.suite import Measurement, measure

from vtool.environment import Limits
from vtool.errors import VToolError
from vtool.worlds.dataset import make

OUT = Path("runs/demo")


def main() -> int:
    """Make questions, answer them, write the page; the exit code."""
    shutil.rmtree(OUT, ignore_errors=True)
    tasks = make(OUT / "data", seed=77, one=6, none=2, two=4, split="held_out")
    settings = Settings(name="demo", limits=Limits(max_turns=4, max_tokens=1024))
    try:
        report = measure(
            "tiny/clean", tasks, [Measurement(settings=settings, out=str(OUT / "eval"))]
        )[0]
    except VToolError as err:
        print(f"demo: {err}", file=sys.stderr)
        return 1
    page = write_page(page_of_trace(OUT / "eval"), OUT / "page.html")
    print(f"{report.total.accuracy:.0%} of {report.total.n} questions right; open {page}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
