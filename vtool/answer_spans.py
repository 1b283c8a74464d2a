"""Spans of seconds in an answer: several published ways of writing them, none of them guessed.

Read are, once or several times in one answer::

    from 3.2 to 5.0 seconds      between 3.2 and 5.0 s      3.2 s to 5.0 s
    3.2-5.0s                     3.2s - 5.0s                (any dash)
    [3.2, 5.0]                   [[3.2, 5.0], [7, 8]]
    00:03.2 - 00:05.0            01:02:03 to 01:02:05
    <time>3.2-5.0</time>         (in the tag any of the above, also without a unit)

Without a unit, numbers are seconds only where the whole answer, or the whole tag, is spans. An
answer that could be read in two ways is not read; the reason is kept.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import Final

from vtool.errors import GeometryError
from vtool.geometry import Span
from vtool.metrics import MAX_ANSWER


@dataclass(frozen=True, slots=True)
class SpanReading:
    """What an answer says about time.

    Args:
        spans: In the order written; None where nothing can be read without a guess.
        reason: Why nothing was read.
        words: The answer without its spans.
    """

    spans: tuple[Span, ...] | None
    reason: str = ""
    words: str = ""


_NUMBER = r"(?<![\w.:])(?<![0-9],)(?:[0-9]+(?:\.[0-9]+)?)(?![0-9.:]*[0-9])"
_CLOCK = r"(?<![\w.:])(?:[0-9]{1,2}:)?[0-9]{1,2}:[0-9]{2}(?:\.[0-9]+)?(?![\w:]|\.[0-9])"
_UNIT = r"(?:seconds?|secs?|s)\b"
_BOUND = rf"{_NUMBER}\s*(?:{_UNIT})?"
_SIMPLE = r"[0-9]+(?:\.[0-9]+)?"

_FORMS: Final = {
    "clock": rf"(?:from\s+|between\s+)?({_CLOCK})\s*(?:-|to|until|and)\s*({_CLOCK})",
    "bracket": rf"\[\s*({_SIMPLE})\s*,\s*({_SIMPLE})\s*\]",
    "words": rf"(?:from\s+)?({_BOUND})\s+(?:to|until)\s+({_NUMBER})\s*{_UNIT}",
    "between": rf"between\s+({_BOUND})\s+and\s+({_NUMBER})\s*{_UNIT}",
    "dash": rf"({_BOUND})\s*-\s*({_NUMBER})\s*{_UNIT}",
}
_BARE: Final = {
    **_FORMS,
    "words": rf"(?:from\s+)?({_BOUND})\s+(?:to|until)\s+({_BOUND})",
    "between": rf"between\s+({_BOUND})\s+and\s+({_BOUND})",
    "dash": rf"({_BOUND})\s*-\s*({_BOUND})",
}
"""With a unit or without: where nothing but spans is written."""
_TAG = re.compile(r"<time>(.*?)</time>", re.IGNORECASE | re.DOTALL)
_OTHER_UNIT = re.compile(
    r"[0-9]\s*(?:m|mins?|minutes?|h|hrs?|hours?|ms|millis(?:econds)?|milliseconds?|frames?|%)(?!\w)",
    re.IGNORECASE,
)
_BETWEEN_SPANS = re.compile(r"(?:[\s,;\[\].()]|\band\b)*", re.IGNORECASE)
_LOOSE = re.compile(rf"-$|/\s*$|[0-9]\s*(?:{_UNIT})?\s*[-:/]\s*$|[0-9][,.]?\s*$", re.IGNORECASE)
_DANGLING = re.compile(r"^\s*(?:[-:]\s*[0-9]|/|,?\s*[0-9]|to\s+[0-9])", re.IGNORECASE)
"""What comes before or after a span that is part of something longer."""


def read_spans(text: str | None) -> SpanReading:
    """Read the spans of an answer.

    Args:
        text: The answer; None where there was none.

    Returns:
        The spans and the words around them, or a reason.
    """
    if text is None:
        return SpanReading(None, "there is no answer")
    if len(text) > MAX_ANSWER:
        return SpanReading(None, f"the answer has more than {MAX_ANSWER} characters")
    plain = _plain(text)
    if _OTHER_UNIT.search(plain):
        return SpanReading(None, "a number has a unit other than seconds", text.strip())
    if "<time>" in plain.lower() or "</time>" in plain.lower():
        return _tagged(plain)
    whole = _whole(plain)
    return whole if whole is not None else _search(plain)


def write_span(span: Span) -> str:
    """A span as the tiny policies write it; `read_spans` reads it back, to the tenth."""
    return f"from {span.start_s:.1f} to {span.end_s:.1f} seconds"


def _plain(text: str) -> str:
    folded = unicodedata.normalize("NFKC", text)
    return re.sub(r"[\u2010-\u2015\u2212~\u301c]", "-", folded).strip()


def _tagged(text: str) -> SpanReading:
    words = _TAG.sub(" ", text)
    if re.search(r"</?time>", words, re.IGNORECASE):
        return SpanReading(None, "a <time> tag is not closed, or closed twice", words.strip())
    spans: list[Span] = []
    for tag in _TAG.finditer(text):
        inside = _whole(_plain(tag[1]))
        if inside is None or inside.spans is None:
            said = inside.reason if inside else f"no span in <time>{tag[1][:40]}</time>"
            return SpanReading(None, said, _tidy(words))
        spans += inside.spans
    return SpanReading(tuple(spans), words=_tidy(words))


def _whole(text: str) -> SpanReading | None:
    """The spans of a text that is nothing but spans, all written alike; None if it is more."""
    for form, pattern in _BARE.items():
        found = list(re.finditer(pattern, text, re.IGNORECASE))
        rest = re.sub(pattern, "\0", text, flags=re.IGNORECASE).split("\0")
        if found and all(_BETWEEN_SPANS.fullmatch(part) for part in rest):
            return _made(form, [(m[1], m[2]) for m in found], "")
    return None


def _search(text: str) -> SpanReading:
    """The spans of a text with other words in it, each with a unit or in an unmistakable form."""
    hits: list[tuple[str, re.Match[str]]] = []
    taken = re.compile("|".join(f"(?P<{n}>{p})" for n, p in _FORMS.items()), re.IGNORECASE)
    for found in taken.finditer(text):
        hits.append((str(found.lastgroup), found))
    forms = {_kind(name) for name, _ in hits}
    if not hits:
        return SpanReading(None, "no span of seconds in the answer", text)
    if len(forms) > 1:
        return SpanReading(None, f"spans are written in {len(forms)} ways: which is meant?", text)
    for _, found in hits:
        if _LOOSE.search(text[: found.start()]) or _DANGLING.search(text[found.end() :]):
            return SpanReading(None, f"more numbers hang on {found.group()!r}", text)
    pairs = []
    for name, found in hits:
        again = re.fullmatch(_FORMS[name], found.group(), re.IGNORECASE)
        if again is None:
            return SpanReading(None, f"{found.group()!r} can be read in two ways", text)
        pairs.append((again[1], again[2]))
    words = taken.sub(" ", text)
    return _made(hits[0][0], pairs, _tidy(words))


def _kind(form: str) -> str:
    """Ways of writing that may be mixed: all that name a unit."""
    return "seconds" if form in ("words", "between", "dash") else form


def _made(form: str, pairs: list[tuple[str, str]], words: str) -> SpanReading:
    try:
        read = _clock if form == "clock" else _seconds
        return SpanReading(tuple(Span(read(a), read(b)) for a, b in pairs), words=words)
    except GeometryError as err:
        return SpanReading(None, str(err), words)


def _seconds(text: str) -> float:
    return float(re.sub(r"[^0-9.]", "", text))


def _clock(text: str) -> float:
    parts = [float(p) for p in text.split(":")]
    if any(p >= 60 for p in parts[1:]):
        raise GeometryError(f"a clock time needs minutes and seconds below 60, got {text!r}")
    total = 0.0
    for part in parts:
        total = total * 60 + part
    return round(total, 6)


def _tidy(words: str) -> str:
    return re.sub(r"\s+", " ", words).strip(" ,;:-")
