"""Which option of a multiple choice an answer picks."""

from __future__ import annotations

import re
from collections.abc import Sequence

from vtool.metrics import MAX_ANSWER, normalize_answer

_LETTER = re.compile(r"\(?([A-Za-z])\s*(?:[).:]\s*(.*))?", re.DOTALL)
_MARKED = re.compile(r"(?<![A-Za-z])\(?([A-Z])[).:](?![A-Za-z])")


def chosen(answer: str | None, options: Sequence[str]) -> int | None:
    """Index of the option that an answer picks, 0-based; None where it picks none or several.

    A letter ("B", "(b)", "B."), an option's own words, or a letter followed by them. A letter
    with the words of another option picks neither, and a letter is no option's first word.
    """
    if answer is None or len(answer) > MAX_ANSWER:
        return None
    words = [normalize_answer(option) for option in options]
    given = normalize_answer(answer)
    same = [i for i, option in enumerate(words) if option == given]
    if len(same) == 1:
        return same[0]
    found = _LETTER.fullmatch(answer.strip())
    if found is None:
        return None
    index = ord(found.group(1).upper()) - ord("A")
    rest = (found.group(2) or "").strip()
    if index >= len(options):
        return None
    return index if not rest or normalize_answer(rest) == words[index] else None


def options_named(answer: str, options: Sequence[str]) -> int:
    """How many different options an answer names, by letter or by words."""
    text = f" {normalize_answer(answer)} "
    letters = {ord(m) - ord("A") for m in _MARKED.findall(answer)}
    bare = re.fullmatch(r"\W*(?:[A-Z]\W+)*[A-Z]\W*", answer)
    if bare:
        letters |= {ord(c) - ord("A") for c in answer if c.isascii() and c.isupper()}
    said = {i for i, o in enumerate(options) if (w := normalize_answer(o)) and f" {w} " in text}
    return len({i for i in letters if i < len(options)} | said)
