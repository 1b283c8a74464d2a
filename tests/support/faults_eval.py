"""Group S of the fault catalogue, as far as it is the evaluation's: S1 to S3."""

import asyncio
import io
import json
from dataclasses import replace
from unittest import mock

from oracles import RENDERER, Oracle, tasks
from pictures import textured
from vtool.eval.http_judge import HttpJudge
from vtool.eval.judging import Judging
from vtool.eval.run import evaluate

from vtool.benchmark import Benchmark
from vtool.benchmark_check import check_benchmark
from vtool.data_check import check_data
from vtool.errors import DataError
from vtool.judge import Case, JudgeDown
from vtool.media import Image
from vtool.toolbox import Toolbox


def run(engine, some, **options):
    """Through this module's own name of the entry point."""
    box = Toolbox(["zoom"])
    return asyncio.run(evaluate(some, renderer=RENDERER, engine=engine, toolbox=box, **options))


def _torn(folder, some):
    """An evaluation that was killed after two questions, in the middle of writing the third."""
    run(Oracle(some), some[:3], out=folder)
    lines = folder / "trace" / "episodes.jsonl"
    first, second, third = lines.read_bytes().splitlines(keepends=True)
    lines.write_bytes(first + second + third[: len(third) // 2])
    (folder / "samples.jsonl").unlink()


def s1(folder):
    some = tasks()
    whole = run(Oracle(some), some, out=folder / "whole")
    _torn(folder / "torn", some)
    engine = Oracle(some)
    resumed = run(engine, some, out=folder / "torn")
    lines = (folder / "torn" / "trace" / "episodes.jsonl").read_bytes().splitlines()
    equal = "equal" if resumed.total == whole.total else "other"
    return f"{len(engine.asked)} played, {len(lines)} kept, {equal} totals"


def _row(folder, name, picture):
    (folder / picture).write_bytes(Image(textured(40, 30, 1)).encode())
    return {"id": name, "image": picture, "question": "what?", "answer": "a"}


def s2(folder):
    rows = [_row(folder, name, "p.png") for name in ("a", "b", "a")]
    path = folder / "tasks.jsonl"
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    return ", ".join(f"{f.code} {f.line}" for f in check_data(path).findings)


def s2_missing(folder):
    rows = [_row(folder, name, "p.png") for name in ("a", " ", None)]
    path = folder / "tasks.jsonl"
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    return ", ".join(f"{f.code} {f.line}" for f in check_data(path).findings)


def _benchmark(names):
    some = [replace(t, id=n) for t, n in zip(tasks(len(names)), names, strict=True)]
    return Benchmark(name="b", read=lambda root: some, metric="exact_match")


def s2_benchmark(folder):
    found = check_benchmark(_benchmark(["a", "b", "a", " "]), folder).findings
    return ", ".join(f"{f.code} {f.line}" for f in found)


def s2_run():
    some = tasks(2)
    some = [some[0], replace(some[1], id=some[0].id)]
    try:
        return f"{run(Oracle(some), some).total.n} counted"
    except DataError:
        return "refused"


def _judged(judge):
    some = tasks()
    asked = Judging(judge, "j", tries=2, wait_s=0.0)
    report = run(Oracle(some, right=False), some, judging=asked)
    return f"{report.unscored} unscored, {report.total.n} counted"


def s3():
    """The rule says no to every answer, and nobody is there for the second opinion."""

    def down(case):
        raise JudgeDown("gone")

    return _judged(down)


def s3_odd():
    """A judge that says what is no verdict was not heard either."""
    return _judged(lambda case: float("nan"))


def s3_words():
    """A reply that only contains the word is none."""
    judge, case = HttpJudge("http://127.0.0.1:9/v1", "m"), Case("q", ("a",), "b")
    said = []
    for words in ("INCORRECT", "I cannot say whether it is correct"):
        body = json.dumps({"choices": [{"message": {"content": words}}]}).encode()
        with mock.patch("urllib.request.urlopen", return_value=io.BytesIO(body)):
            try:
                said.append(str(judge(case)))
            except JudgeDown:
                said.append("down")
    return ", ".join(said)


async def nothing(*args):
    """Whoever goes on without looking at what is there."""
    return {}


def counted_wrong(attempt, err):
    """A judge that is down, taken for one that says no."""
    return attempt


def as_it_comes(verdict):
    """A verdict that nobody looked at."""
    return 0.0 if verdict != verdict else float(verdict)


def word_somewhere(said):
    """A verdict wherever the word stands."""
    return float("CORRECT" in said.upper())


def all_ids(tasks):
    """Ids that nobody compared."""
    return [t.id for t in tasks]
