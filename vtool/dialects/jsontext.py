"""Strict JSON out of a model's text: bounded before it is decoded, nothing coerced or guessed.

Every refusal is a `ModelFault`. Nothing here evaluates anything.
"""

from __future__ import annotations

import json
import math
import re

from vtool.errors import FaultCode, ModelFault
from vtool.message import Json

MAX_CHARS = 65_536
"""Longest JSON text that is decoded; a code argument fits, a pasted file does not."""
MAX_DEPTH = 32
"""Deepest nesting that is decoded; far below where the decoder would run out of stack."""
MAX_DIGITS = 40
"""Most digits of an integer; more is no coordinate, index or count."""

_BRACKET = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"?|[\[{]|[\]}]', re.DOTALL)
"""A string (to the end, where it is not closed: that keeps the search linear) or a bracket."""


def read_json(text: str) -> Json:
    """Decode exactly one JSON value.

    Args:
        text: What stands between two tags; space around the value is allowed.

    Raises:
        ModelFault: `too_large` (checked before decoding) or `bad_json`, with the position.
    """
    check_size(text)
    check_depth(text)
    value, end = decode(text)
    check_single(text, end)
    return value


def check_size(text: str) -> None:
    """Refuse long text before anybody decodes it.

    Raises:
        ModelFault: `too_large`.
    """
    if len(text) > MAX_CHARS:
        raise ModelFault(
            FaultCode.TOO_LARGE, f"a call has at most {MAX_CHARS} characters, this has {len(text)}"
        )


def check_depth(text: str) -> None:
    """Refuse deep nesting before anybody decodes it.

    Raises:
        ModelFault: `too_large`.
    """
    depth = 0
    for found in _BRACKET.finditer(text):
        mark = found.group()
        depth += (mark in "[{") - (mark in "]}")
        if depth > MAX_DEPTH:
            raise ModelFault(
                FaultCode.TOO_LARGE, f"a call nests at most {MAX_DEPTH} brackets, this nests more"
            )


def decode(text: str) -> tuple[Json, int]:
    """The first JSON value of a text, and where it ends.

    Raises:
        ModelFault: `bad_json`, with the position.
    """
    start = len(text) - len(text.lstrip(" \t\n\r"))
    decoder = json.JSONDecoder(
        object_pairs_hook=_object,
        parse_constant=_constant,
        parse_int=_integer,
        parse_float=_number,
    )
    try:
        value, end = decoder.raw_decode(text, start)
    except json.JSONDecodeError as err:
        raise bad_json(f"{err.msg.lower()} at character {err.pos}", text, err.pos) from None
    return value, end


def check_single(text: str, end: int) -> None:
    """Nothing may follow the value.

    Raises:
        ModelFault: `bad_json`.
    """
    rest = text[end:].lstrip(" \t\n\r")
    if rest:
        at = len(text) - len(rest)
        raise bad_json(f"more text after the end of the object, at character {at}", text, at)


def check_unique(pairs: list[tuple[str, Json]]) -> None:
    """A key may stand once.

    Raises:
        ModelFault: `bad_json`.
    """
    seen: set[str] = set()
    for key, _ in pairs:
        if key in seen:
            raise ModelFault(FaultCode.BAD_JSON, f"the key {key[:40]!r} stands twice", field=key)
        seen.add(key)


def check_constant(name: str) -> None:
    """NaN and Infinity are no JSON.

    Raises:
        ModelFault: `bad_json`.
    """
    raise ModelFault(FaultCode.BAD_JSON, f"{name} is no JSON number")


def check_digits(digits: str) -> None:
    """Long integers are refused before they are converted.

    Raises:
        ModelFault: `bad_json`.
    """
    if len(digits) > MAX_DIGITS:
        raise ModelFault(
            FaultCode.BAD_JSON,
            f"a number has at most {MAX_DIGITS} digits, this has {len(digits)}",
        )


def check_finite(digits: str) -> None:
    """A number must fit a float.

    Raises:
        ModelFault: `bad_json`.
    """
    if not math.isfinite(float(digits)):
        raise ModelFault(FaultCode.BAD_JSON, f"the number {digits[:20]} is too large")


def bad_json(what: str, text: str, at: int) -> ModelFault:
    """A `bad_json` fault that quotes the place."""
    near = text[max(0, at - 10) : at + 10].replace("\n", " ")
    return ModelFault(
        FaultCode.BAD_JSON,
        f"{what}, near {near!r}",
        hint="write one JSON object a call, with double quotes",
    )


def write_json(value: Json) -> str:
    r"""JSON as the house writes it; no tag can be spelt by its strings.

    `</` becomes `<\\/`, which is the same string to every JSON reader.

    Raises:
        ValueError: NaN or infinity.
    """
    return json.dumps(value, ensure_ascii=False, allow_nan=False).replace("</", "<\\/")


def _object(pairs: list[tuple[str, Json]]) -> Json:
    check_unique(pairs)
    return dict(pairs)


def _constant(name: str) -> Json:
    check_constant(name)
    return float(name.replace("Infinity", "inf"))


def _integer(digits: str) -> Json:
    check_digits(digits)
    # Python itself refuses to convert thousands of digits; a disabled guard must not crash.
    return int(digits) if len(digits) < 4000 else math.inf


def _number(digits: str) -> Json:
    check_digits(digits)
    check_finite(digits)
    return float(digits)
