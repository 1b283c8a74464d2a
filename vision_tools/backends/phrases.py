"""Words that a model asks a detector for."""

from __future__ import annotations

from collections.abc import Sequence

from vtool.errors import FaultCode, ModelFault

MOST, LONGEST = 32, 200


def checked(phrases: Sequence[str], field: str) -> list[str]:
    """Phrases without surrounding space, each once, in order.

    Raises:
        ModelFault: `bad_args`: none, too many, an empty one or a very long one.
    """
    found = list(dict.fromkeys(" ".join(p.split()) for p in phrases))
    if not found or len(found) > MOST:
        raise _refused(f"expected 1 to {MOST} phrases, got {len(found)}", field)
    for phrase in found:
        if not any(c.isalnum() for c in phrase):
            raise _refused(f"expected words for what to find, got {phrase!r}", field)
        if len(phrase) > LONGEST:
            raise _refused(f"a phrase has at most {LONGEST} letters, got {len(phrase)}", field)
    return found


def _refused(message: str, field: str) -> ModelFault:
    return ModelFault(FaultCode.BAD_ARGS, message, field=field)


def in_words(phrases: Sequence[str]) -> str:
    """`a`, `a or b`, `a, b or c`."""
    *rest, last = phrases
    return f"{', '.join(rest)} or {last}" if rest else last
