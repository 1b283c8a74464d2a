"""R1, the answer: is it right? By rule, by token overlap, by quantity, by choice, by judge."""

from __future__ import annotations

from collections import Counter

from vtool.choice import chosen
from vtool.equivalence import equivalent
from vtool.judge import Case, JudgeDown, judges
from vtool.metrics import MAX_ANSWER, exact_match, normalize_answer, too_long
from vtool.record import Episode, StopReason
from vtool.reward import Unscored, reward
from vtool.task import Answer, Attributes, Choice, Task


@reward("answer")
def answer(episode: Episode, task: Task, *, longest: int = MAX_ANSWER + 1) -> float | None:
    """1 if the answer is one of those accepted; for multiple choice, if it picks the right one.

    Source: exact match after normalising, as every visual question answering recipe begins.
    Trap: only the answer of the final turn counts; what tools said is never read, and an answer
    that lists several options picks none. Answers of `longest` characters or more are wrong:
    1000 in DeepEyes, 300 in DeepEyesV2.
    """
    given = said(episode)
    if given is not None and len(given) >= longest:
        given = None
    if isinstance(task.reference, Choice):
        picked = chosen(given, task.reference.options)
        return float(picked == task.reference.correct)
    if not isinstance(task.reference, Answer):
        return None
    return exact_match(given, task.reference.texts)


@reward("answer_f1")
def answer_f1(episode: Episode, task: Task) -> float | None:
    """Best token F1 with an accepted answer, in [0, 1].

    Source: SQuAD's F1; the outcome of ARPO, Tool-Star and of MatchTIR's answer turn.
    Trap: a long answer that holds every candidate scores above 0: cap its length.
    """
    if not isinstance(task.reference, Answer):
        return None
    given = said(episode)
    if given is None or too_long(given):
        return 0.0
    return max((token_f1(given, text) for text in task.reference.texts), default=0.0)


def token_f1(given: str, wanted: str) -> float:
    """F1 of the two bags of normalised words."""
    a, b = Counter(normalize_answer(given).split()), Counter(normalize_answer(wanted).split())
    shared = sum((a & b).values())
    if not shared:
        return 0.0
    precision, recall = shared / a.total(), shared / b.total()
    return 2 * precision * recall / (precision + recall)


@reward("answer_equivalent")
def answer_equivalent(episode: Episode, task: Task, *, tolerance: float = 1e-6) -> float | None:
    """1 if the answer matches by rule or is the same quantity: 5 km is 5000 m.

    Source: the executing verifier of CoSineVerifier, as safe arithmetic without any execution.
    Trap: `tolerance` is relative to the accepted value; .5 is never .05.
    """
    if not isinstance(task.reference, Answer):
        return answer(episode, task)
    given = said(episode)
    if given is None:
        return 0.0
    right = exact_match(given, task.reference.texts)
    return right or float(equivalent(given, task.reference.texts, tolerance=tolerance))


@reward("answer_judge")
def answer_judge(episode: Episode, task: Task, *, judge: str = "llm") -> float | Unscored | None:
    """Rule first; what no rule accepts goes to a judge, whose absence leaves it unscored.

    Source: DeepEyes and Mini-o3 (a model as judge of free answers).
    Trap: answers of more than 1000 characters are wrong without being shown: they are written to
    persuade the judge.
    """
    if not isinstance(task.reference, Answer):
        return answer(episode, task)
    given, accepted = said(episode), task.reference.texts
    if given is None or too_long(given):
        return 0.0
    if exact_match(given, accepted) or equivalent(given, accepted):
        return 1.0
    question = "".join(p for p in task.prompt if isinstance(p, str))
    try:
        return judges.get(judge)(Case(question, accepted, given))
    except JudgeDown as down:
        return Unscored(f"judge {judge}: {down}")


@reward("attributes")
def attributes(episode: Episode, task: Task) -> float | None:
    """Mean over the attributes asked for of the token F1 of each; one left out counts 0.

    Source: CiQi-Agent (per-attribute F1, averaged). Trap: the mean is over what was asked, not
    over what was answered, or silence would pay.
    """
    if not isinstance(task.reference, Attributes):
        return None
    if episode.reading is None or episode.stop is not StopReason.ANSWERED:
        return 0.0
    told = episode.reading.attributes
    marks = [
        max((token_f1(told.get(name.casefold(), ""), text) for text in accepted), default=0.0)
        for name, accepted in task.reference.values.items()
    ]
    return sum(marks) / len(marks) if marks else None


def said(episode: Episode) -> str | None:
    """The final answer of an episode that ended with one."""
    return episode.answer if episode.stop is StopReason.ANSWERED else None
