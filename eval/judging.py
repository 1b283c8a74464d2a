"""A second opinion: the rule scores first, and a judge is asked only what the rule calls wrong.

A judge that is down leaves a sample unscored. It is counted and shown as such, and never as a
wrong answer; scoring the run again asks for what is missing, and for nothing else.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from dataclasses import dataclass, field, replace
from pathlib import Path

from vtool.benchmark import Metric, accepted
from vtool.errors import DataError
from vtool.judge import MAX_ANSWER, Case, Judge, JudgeDown
from vtool.record import Episode
from vtool.task import Task

from .attempt import Attempt, judge, question


class Verdicts:
    """What a judge said, by question; kept on disk if there is a folder.

    Args:
        path: A file of JSON lines; None keeps them in memory.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._known: dict[str, float] = {}
        if path is not None and path.is_file():
            self._read(path)

    def _read(self, path: Path) -> None:
        data = path.read_bytes()
        whole = data[: data.rfind(b"\n") + 1]
        if len(whole) < len(data):  # a killed writer's last line
            with path.open("r+b") as file:
                file.truncate(len(whole))
        try:
            for line in whole.splitlines():
                row = json.loads(line)
                self._known[row["key"]] = checked(row["verdict"])
        except (ValueError, KeyError, TypeError, JudgeDown) as err:
            raise DataError(f"{path} is damaged ({err}); remove it to ask the judge again") from err

    def get(self, key: str) -> float | None:
        """The verdict, if there is one."""
        return self._known.get(key)

    def add(self, key: str, case: Case, verdict: float) -> None:
        """Keep a verdict with what was judged."""
        self._known[key] = verdict
        if self._path is not None:
            row = {"key": key, "verdict": verdict, "answer": case.answer, "asked": case.question}
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")


@dataclass(slots=True)
class Judging:
    """A judge and how it is asked.

    Args:
        judge: Whoever decides; called in a thread of its own.
        name: Of the judge, its model and its prompt: part of what a verdict is kept under.
        tries: How often a judge that is down is asked.
        wait_s: Before the second try; doubled before each further one.
        at_once: Questions under way.
        verdicts: Those that are known.
    """

    judge: Judge
    name: str
    tries: int = 3
    wait_s: float = 1.0
    at_once: int = 4
    verdicts: Verdicts = field(default_factory=Verdicts)
    give_up: int = 8
    """After so many cases in a row without a verdict each further one is asked once."""
    _down: int = 0

    async def verdict(self, case: Case) -> float:
        """What the judge says, asked once a case.

        Raises:
            JudgeDown: It could not be asked, as often as it was tried.
        """
        key = self._key(case)
        known = self.verdicts.get(key)
        if known is None:
            known = await self._ask(case)
            self.verdicts.add(key, case, known)
        return known

    def _key(self, case: Case) -> str:
        words = [self.name, case.question, list(case.accepted), case.answer, case.criterion]
        return hashlib.sha256(json.dumps(words).encode()).hexdigest()[:32]

    async def _ask(self, case: Case) -> float:
        wait = self.wait_s
        for left in reversed(range(self.tries if self._down < self.give_up else 1)):
            try:
                verdict = checked(await asyncio.to_thread(self.judge, case))
                self._down = 0
                return verdict
            except JudgeDown:
                if not left:
                    self._down += 1
                    raise
                await asyncio.sleep(wait)
                wait *= 2
            except Exception as err:  # a judge is anybody's code; no answer is wrong for its bug
                raise JudgeDown(f"{type(err).__name__}: {err}") from err
        raise JudgeDown("a judge needs at least one try")


def checked(verdict: object) -> float:
    """A verdict that can be read.

    Raises:
        JudgeDown: It is no number in [0, 1].
    """
    if not isinstance(verdict, int | float) or not 0.0 <= verdict <= 1.0:  # NaN fails both
        raise JudgeDown(f"expected a verdict in [0, 1], got {verdict!r}")
    return float(verdict)


@dataclass(slots=True)
class Scorer:
    """From a finished episode to a counted attempt.

    Args:
        metric: The rule.
        judging: Who is asked where the rule says anything but 1; None for nobody.
        later: Whether scoring is put off: answers are kept and nobody says what they are worth.
    """

    metric: Metric
    judging: Judging | None = None
    later: bool = False
    _gates: dict[asyncio.AbstractEventLoop, asyncio.Semaphore] = field(default_factory=dict)

    async def __call__(self, episode: Episode, task: Task, number: int, key: str = "") -> Attempt:
        """Count and score an attempt."""
        rule: Metric = (lambda answer, task: 0.0) if self.later else self.metric
        attempt = judge(episode, task, number, rule, key)
        if attempt.broken:
            return attempt
        if self.later:
            return replace(attempt, unscored="not scored yet")
        case = self._case(attempt, task)
        return attempt if case is None else await self._second(attempt, case)

    def _case(self, attempt: Attempt, task: Task) -> Case | None:
        """What the judge is asked; None where the rule's word stands."""
        said = accepted(task)
        answer = attempt.answer
        sure = attempt.correct >= 1.0 or not answer or len(answer) > MAX_ANSWER
        if self.judging is None or sure or not said:
            return None
        return Case(question(task), tuple(said), answer or "")

    async def _second(self, attempt: Attempt, case: Case) -> Attempt:
        assert self.judging is not None
        gate = self._gates.setdefault(
            asyncio.get_running_loop(), asyncio.Semaphore(self.judging.at_once)
        )
        async with gate:
            try:
                verdict = await self.judging.verdict(case)
            except JudgeDown as err:
                return unscored(attempt, err)
        return replace(attempt, correct=max(attempt.correct, verdict), scored_by="judge")


def unscored(attempt: Attempt, err: JudgeDown) -> Attempt:
    """An answer on which there is no verdict: not wrong, not right, counted as what it is."""
    return replace(attempt, correct=0.0, unscored=f"judge down: {err}", scored_by="nobody")
