"""Credit as markup: tokens by the sign and size of their advantage, and the report of an attempt.

Colour never speaks alone: what gained is underlined by a line, what lost by dots, and each token
says its number.
"""

from __future__ import annotations

from collections.abc import Sequence

from .credit import CreditView, StepCredit, Weighting
from .markup import Html, tag

LEVELS = 4
"""Shades of each sign."""


def strip(credit: StepCredit) -> Html:
    """A turn's credit: one number, or its tokens one by one."""
    told = f"credit {credit.mean:+.3f} a token"
    if not credit.tokens:
        return tag("p", told, class_="credit")
    most = max(abs(v) for _, v in credit.tokens) or 1.0
    tokens = [
        tag("span", text, class_=f"t {shade(value / most)}", title=f"{value:+.4f}")
        for text, value in credit.tokens
    ]
    low, high = min(v for _, v in credit.tokens), max(v for _, v in credit.tokens)
    head = f"{told}, from {low:+.3f} to {high:+.3f}"
    return tag(
        "details", tag("summary", head), tag("div", tokens, class_="tokens"), class_="credit"
    )


def shade(share: float) -> str:
    """Class of a token whose advantage is this share of the turn's largest."""
    level = min(LEVELS, max(0, round(abs(share) * LEVELS + 0.49)))
    return "z" if level == 0 else f"{'p' if share > 0 else 'n'}{level}"


def report(
    parts: Sequence[tuple[str, str]], terms: Sequence[tuple[str, float]], credit: CreditView | None
) -> Html | None:
    """How an attempt was scored, for who wants to know; None where nothing is known of it."""
    if credit is None:
        return None
    adds = dict(terms)
    rows = [
        tag("tr", tag("td", name), tag("td", mark), tag("td", _added(adds.get(name))))
        for name, mark in parts
    ]
    head = tag("tr", tag("th", "part"), tag("th", "mark"), tag("th", "adds"))
    lesson = tag("p", credit.lesson, class_="note") if credit.lesson else None
    body = [
        tag("p", credit.how, class_="note"),
        tag("div", tag("table", head, rows), class_="scroll"),
        tag("p", f"advantage: {credit.rule}", class_="note"),
        lesson,
        tag("div", _weightings(credit.weightings), class_="scroll"),
    ]
    return tag(
        "details", tag("summary", "How it was scored, and what it taught"), body, class_="scored"
    )


def _weightings(rows: Sequence[Weighting]) -> Html:
    turns = max((len(w.turns) for w in rows), default=0)
    head = tag(
        "tr",
        tag("th", "weighting"),
        tag("th", "total"),
        [tag("th", f"turn {i + 1}") for i in range(turns)],
    )
    lines = [
        tag(
            "tr",
            tag("td", w.name),
            tag("td", w.total),
            [tag("td", f"{v:+.3f}") for v in w.turns],
            [tag("td", "") for _ in range(turns - len(w.turns))],
        )
        for w in rows
    ]
    return tag("table", head, lines)


def _added(value: float | None) -> str:
    return "" if value is None else f"{value:+.3g}"
