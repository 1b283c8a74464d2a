"""Metrics of words: ANLS, relaxed accuracy, the ten-annotator VQA accuracy, macro-F1.

Each has a `rule`. The strict one is ours and the default wherever a published scorer is wrong or
can be gamed; the others give a published scorer's number, its quirks included, so that tables
can be compared. `docs/eval/metrics.md` lists every difference.
"""

from __future__ import annotations

import math
import re
import string
from collections import Counter
from collections.abc import Sequence
from enum import StrEnum


class Rule(StrEnum):
    """Whose reading of a metric."""

    STRICT = "strict"
    LMMS_EVAL = "lmms_eval"
    """lmms-eval 0.7.3."""
    VLMEVALKIT = "vlmevalkit"
    """VLMEvalKit as published in ms-vlmeval 0.0.20."""


def edit_distance(a: str, b: str) -> int:
    """Least number of insertions, deletions and replacements of characters.

    Source: Levenshtein 1966; one row of the table at a time.
    """
    before = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        row = [i]
        for j, y in enumerate(b, 1):
            row.append(min(before[j] + 1, row[-1] + 1, before[j - 1] + (x != y)))
        before = row
    return before[-1]


def anls(
    answer: str, accepted: Sequence[str], *, threshold: float = 0.5, rule: Rule = Rule.STRICT
) -> float:
    """Average normalised Levenshtein similarity of one answer, in [0, 1].

    The best of the accepted answers counts; below the threshold it is 0. The published scorers
    divide the distance of normalised texts by the length of the raw ones, so that spaces added to
    an answer raise its score; strictly, both are normalised.

    Source: Biten et al. 2019 (ST-VQA), equation 1; the DocVQA evaluation.
    """
    given = _squeezed(answer)
    shares = []
    for text in accepted:
        wanted = _squeezed(text)
        pair = (wanted, given) if rule is Rule.STRICT else (text.upper(), answer.upper())
        length = max(map(len, pair))
        shares.append(edit_distance(wanted, given) / length if length else 0.0)
    score = 1 - min(shares, default=1.0)
    return score if score >= threshold else 0.0


def _squeezed(text: str) -> str:
    return " ".join(text.strip().lower().split())


_NUMBER = re.compile(r"[+-]?(?:\d{1,3}(?:,\d{3})+|\d+)?(?:\.\d*)?(?:[eE][+-]?\d+)?")


def relaxed_accuracy(
    answer: str, wanted: str, *, tolerance: float = 0.05, rule: Rule = Rule.STRICT
) -> float:
    """1.0 for the same text, or for a number within a share of the wanted one.

    A per cent sign divides by a hundred. Strictly, white space around and commas between
    thousands do not matter, a wanted 0 is met by 0 in any spelling, and what is no finite number
    is text. The published scorers compare texts where the wanted number is 0 ("0.0" is not "0"),
    read "1_0" as 10, and know no commas; VLMEvalKit strips the answer, lmms-eval does not.

    Source: Masry et al. 2022 (ChartQA), section 5.1; Methani et al. 2020.
    """
    if rule is Rule.VLMEVALKIT:
        answer = answer.strip()
    if rule is Rule.STRICT:
        answer, wanted = answer.strip(), wanted.strip()
        given, gold = _number(answer), _number(wanted)
    else:
        given, gold = _python_float(answer), _python_float(wanted)
    if rule is Rule.STRICT and gold == 0 and given is not None:
        return float(given == 0)
    if given is not None and gold:
        return float(abs(given - gold) / abs(gold) <= tolerance)
    return float(answer.lower() == wanted.lower())


def _number(text: str) -> float | None:
    bare = text.removesuffix("%").strip()
    if not any(c.isdigit() for c in bare) or not (bare.isascii() and _NUMBER.fullmatch(bare)):
        return None
    value = float(bare.replace(",", "")) / (100.0 if text.endswith("%") else 1.0)
    return value if math.isfinite(value) else None


def _python_float(text: str) -> float | None:
    try:
        return float(text.rstrip("%")) / 100.0 if text.endswith("%") else float(text)
    except ValueError:
        return None


_ONE_APART = """
ain't aren't can't could've couldn't didn't doesn't don't hadn't hasn't haven't he'd he's how'd
how'll how's isn't it'd it'll ma'am mightn't might've mustn't must've needn't not've o'clock
oughtn't shan't should've shouldn't somebody'll somebody's someone'd someone'll someone's
something'd something'll that's there'd there're there's they'd they'll they're they've 'twas
wasn't we've weren't what'll what're what's what've when's where'd where's where've who'd who'll
who's who've why'll why're why's won't would've wouldn't y'all you'd you'll you're you've
couldn't've hadn't've he'd've it'd've mightn't've shouldn't've she'd've somebody'd've someone'd've
something'd've there'd've they'd've we'd've who'd've wouldn't've y'all'll y'all'd've you'd've
'ow's'at
"""


def _contractions() -> dict[str, str]:
    """Spellings that lack one apostrophe, and what they stand for."""
    lacking = {
        w[:i] + w[i + 1 :]: w for w in _ONE_APART.split() for i, c in enumerate(w) if c == "'"
    }
    return {**lacking, "somebody'd": "somebodyd"}  # the published table has this one reversed


_CONTRACTIONS = _contractions()
_TEN = "zero one two three four five six seven eight nine ten"
_NUMERALS = {word: str(value) for value, word in enumerate(_TEN.split())}
_NUMERALS["none"] = "0"
_PUNCTUATION = ';/[]"{}()=+\\_-><@`,?!'
_BETWEEN_DIGITS = re.compile(r"(?<=\d),+(?=\d)")
_PERIOD = re.compile(r"(?!<=\d)\.(?!\d)")
"""As published: the look-behind is mistyped, so that every period without a digit after it goes."""
_LONE_PERIOD = re.compile(r"(?<!\d)\.(?!\d)")
_PERIODS = 32
"""As published: a flag stands where the count belongs, and its value is this number."""


def vqa_words(text: str, *, rule: Rule = Rule.LMMS_EVAL) -> str:
    """An answer as the VQA evaluation compares it.

    VLMEvalKit starts at the punctuation, and keeps a period that has a digit before it.

    Source: the VQA v2 evaluation and its processor in mmf.
    """
    if rule is not Rule.VLMEVALKIT:
        text = text.lower().replace(",", "").replace("?", "").replace("'s", " 's").strip()
    flat = text.replace("\n", " ").replace("\t", " ").strip()
    commas = _BETWEEN_DIGITS.search(flat) is not None
    out = flat
    for mark in _PUNCTUATION:
        loose = commas or f"{mark} " in flat or f" {mark}" in flat
        out = out.replace(mark, "" if loose else " ")
    period = _LONE_PERIOD if rule is Rule.VLMEVALKIT else _PERIOD
    out = period.sub("", out, count=_PERIODS)
    words = [_NUMERALS.get(w, w) for w in out.lower().split()]
    return " ".join(_CONTRACTIONS.get(w, w) for w in words if w not in ("a", "an", "the"))


def vqa_accuracy(answer: str, answers: Sequence[str], *, rule: Rule = Rule.STRICT) -> float:
    """Mean over annotators of min(1, how many of the others said the same, over 3).

    An answer that everybody gave counts 1; the reference itself, if it is the most common of ten.
    There is no stricter reading: the quirks of the words belong to the metric.

    Args:
        answer: What was said.
        answers: What the annotators said, ten as a rule.
        rule: Whose processing of words.

    Source: Antol et al. 2015, section 4; the VQA v2 evaluation (leave one annotator out).
    """
    given = vqa_words(answer, rule=rule)
    golds = Counter(vqa_words(a, rule=rule) for a in answers)
    same, n = golds[given], len(answers)
    if n == 0:
        return 0.0
    # Who said the same leaves one fewer among the others.
    out = same * min(1.0, (same - 1) / 3) + (n - same) * min(1.0, same / 3)
    return out / n


_STRIP = str.maketrans("", "", string.punctuation)


def plain_match(answer: str, wanted: str, *, rule: Rule = Rule.STRICT) -> float:
    """1.0 for the same text but for case and punctuation; strictly, but for white space too.

    Source: the GQA task of lmms-eval (`ignore_case`, `ignore_punctuation`).
    """
    pair = [t.lower().translate(_STRIP) for t in (answer, wanted)]
    if rule is Rule.STRICT:
        pair = [" ".join(t.split()) for t in pair]
    return float(pair[0] == pair[1])


def macro_f1(answers: Sequence[str | None], wanted: Sequence[str]) -> float:
    """Mean over classes of the harmonic mean of precision and recall.

    Classes are those wanted at least once; an answer outside them is a miss of the wanted class
    and makes no class of its own (scikit-learn with `labels` fixed to the wanted ones).

    Raises:
        ValueError: Counts differ.
    """
    pairs = Counter(zip(answers, wanted, strict=True))
    said, asked = Counter(answers), Counter(wanted)
    scores = [2 * pairs[(c, c)] / (said[c] + asked[c]) for c in sorted(asked)]
    return math.fsum(scores) / len(scores) if scores else 0.0
