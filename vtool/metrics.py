"""Metrics: pure functions of strings and shapes, shared by training and evaluation."""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Iterable

MAX_ANSWER = 1000
"""Longer answers are wrong: they are written for lenient judges, not for people."""

_ARTICLES = re.compile(r"\b(a|an|the)\b")


def normalize_answer(text: str) -> str:
    """Case, width, articles, punctuation and spaces made alike.

    Source: the SQuAD v1.1 evaluation's rule, after Unicode NFKC, but for what makes another
    answer: numbers keep point, comma, sign and per cent wherever they stand ("-3 m" is not
    "3 m", "3/4" not "3-4"), and a word keeps a plus or sharp after it ("C++" is not "C").
    """
    folded = unicodedata.normalize("NFKC", text).casefold().strip().replace("\u2212", "-")
    folded = re.sub(r"(?<=\d)\s+%", "%", folded)
    words = "".join(c if _tells(folded, i) else " " for i, c in enumerate(folded)).split()
    bare = " ".join(_plain_number(w) if _is_number(w) else w for w in words)
    # What would vanish is kept: "A" is a choice, and "?" is not the same as no answer.
    return " ".join(_ARTICLES.sub(" ", bare).split()) or bare or folded


def too_long(answer: str) -> bool:
    """Whether an answer is wrong for its length alone."""
    return len(answer) > MAX_ANSWER


def exact_match(answer: str | None, accepted: Iterable[str]) -> float:
    """1.0 if the answer is one of those accepted, after normalising; else 0.0."""
    if answer is None or too_long(answer):
        return 0.0
    given = normalize_answer(answer)
    return float(any(given == normalize_answer(a) for a in accepted))


def _tells(text: str, at: int) -> bool:
    """Whether the character makes a difference to the answer, rather than to its looks."""
    c, before, after = text[at], text[at - 1 : at], text[at + 1 : at + 2]
    if c not in string.punctuation:
        return True
    if before.isdigit() and (after.isdigit() or c == "%"):
        return True
    if c in "+#" and (before.isalnum() or (at > 1 and before == c and _tells(text, at - 1))):
        return True
    starts = after.isdigit() or (after == "." and text[at + 2 : at + 3].isdigit())
    return c in "+-." and starts and not before.isalnum()


def _is_number(text: str) -> bool:
    return re.fullmatch(r"[+-]?(\d{1,3}(,\d{3})+|\d+)?(\.\d+)?%?", text) is not None and any(
        c.isdigit() for c in text
    )


def _plain_number(text: str) -> str:
    percent = "%" if text.endswith("%") else ""
    bare = text.rstrip("%").replace(",", "").lstrip("+")
    if "." in bare:
        bare = bare.rstrip("0").rstrip(".")
    sign = "-" if bare.startswith("-") else ""
    digits = bare.lstrip("-")
    whole, _, rest = digits.partition(".")
    whole = whole.lstrip("0") or "0"
    value = whole + (f".{rest}" if rest else "")
    return ("" if value == "0" else sign) + value + percent
