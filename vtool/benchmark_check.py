"""Checks a folder of a benchmark without a model: ids, media, and that its own answers score 1."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from vtool.benchmark import Benchmark, metrics
from vtool.data_check import CONTROL_TOKENS, DataReport, Finding, Level
from vtool.errors import DataError, MediaError
from vtool.task import Task
from vtool.video.source import Video


def check_benchmark(found: Benchmark, root: str | Path) -> DataReport:
    """Open every question below a root and ask the metric about its reference.

    Args:
        found: The benchmark.
        root: Folder that holds its files.

    Raises:
        DataError: No layout of the benchmark fits the folder, or a file cannot be read.
    """
    tasks = (found.draft or found.read)(Path(root))
    if not isinstance(tasks, Sequence):
        tasks = tuple(tasks)
    names = getattr(tasks, "ids", None) or [t.id for t in tasks]
    findings = list(_ids(names))
    for at, name in enumerate(names, 1):
        findings += _question(found, tasks, at, name)
    return DataReport(str(root), len(names), tuple(findings))


def _ids(names: Sequence[str]) -> Iterator[Finding]:
    """Every question has an id of its own: samples are kept, gone on with and compared by it."""
    seen: dict[str, int] = {}
    for at, name in enumerate(names, 1):
        if not name.strip():
            said = "the question has no id; expected one id per question"
            yield Finding(Level.ERROR, "missing_id", at, name, said)
        elif name in seen:
            said = f"id was used by question {seen[name]}; expected one id per question"
            yield Finding(Level.ERROR, "duplicate_id", at, name, said)
        seen.setdefault(name, at)


def _question(found: Benchmark, tasks: Sequence[Task], at: int, name: str) -> Iterator[Finding]:
    try:
        task = tasks[at - 1]
        for video in task.media:
            if isinstance(video, Video):
                video.clip([video.duration_s / 2])
    except (DataError, MediaError) as err:
        yield Finding(Level.ERROR, "bad_question", at, name, str(err))
        return
    yield from _answers(found, task, at)
    words = " ".join(p for p in task.prompt if isinstance(p, str))
    spelt = [token for token in CONTROL_TOKENS if token in words]
    if spelt:
        said = f"the question spells control tokens: {', '.join(spelt)}"
        yield Finding(Level.WARNING, "control_tokens", at, name, said)


def _answers(found: Benchmark, task: Task, at: int) -> Iterator[Finding]:
    """The reference must be an answer, and score 1 by our metric; by the published one, it should.

    An answer nobody can give is the benchmark's fault and still ours to tell.
    """
    answers = list(found.says(task))
    if not answers:
        said = "the reference says nothing that could be answered"
        yield Finding(Level.ERROR, "no_answer", at, task.id, said)
    for answer in answers:
        score = metrics.get(found.metric)(answer, task)
        if score < 1.0:
            said = f"its reference {answer[:80]!r} scores {score:.3f} by {found.metric!r}, not 1"
            yield Finding(Level.ERROR, "bad_reference", at, task.id, said)
        elif found.published and (theirs := metrics.get(found.published)(answer, task)) < 1.0:
            said = f"its reference {answer[:80]!r} scores {theirs:.3f} as published"
            yield Finding(Level.WARNING, "published_quirk", at, task.id, said)
