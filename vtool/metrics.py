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

    Source: the SQuAD v1.1 evaluation's rule, after Unicode NFKC. Numbers keep their point,
    comma and sign, so that "1.5" and "15" stay two answers.
    """
    folded = unicodedata.normalize("NFKC", text).casefold().strip()
    if _is_number(folded):
        return _plain_number(folded)
    bare = " ".join("".join(" " if c in string.punctuation else c for c in folded).split())
    # What would vanish is kept: "A" is a choice, and "?" is not the same as no answer.
    return " ".join(_ARTICLES.sub(" ", bare).split()) or bare or folded


def exact_match(answer: str | None, accepted: Iterable[str]) -> float:
    """1.0 if the answer is one of those accepted, after normalising; else 0.0."""
    if answer is None or len(answer) > MAX_ANSWER:
        return 0.0
    given = normalize_answer(answer)
    return float(any(given == normalize_answer(a) for a in accepted))


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
