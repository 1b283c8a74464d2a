"""Whether two answers are the same quantity: arithmetic, roots, fractions, units. No eval.

A recursive descent over at most `MAX_CHARS` characters, in floats: nothing that a model writes
can make it slow, deep or large. What it cannot read is not equal to anything here; compare its
words instead (`vtool.metrics.exact_match`).
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

MAX_CHARS = 200
"""Longer answers are no quantities."""
MAX_DEPTH = 20

Dimensions = tuple[float, float, float, float]
"""Powers of length, mass, time and angle."""
_NONE: Dimensions = (0.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number with its dimensions, in SI units."""

    value: float
    dimensions: Dimensions = _NONE


class NotAQuantity(ValueError):
    """The text says no quantity."""


def equivalent(answer: str, accepted: Iterable[str], *, tolerance: float = 1e-6) -> bool:
    """Whether an answer is the same quantity as one of those accepted.

    Args:
        answer: As given.
        accepted: Any of them will do.
        tolerance: Largest difference, relative to the accepted value.

    Source: the rules of an executing verifier (CoSineVerifier), without executing anything.
    """
    given = quantity(answer)
    return given is not None and any(
        same(given, wanted, tolerance) for a in accepted if (wanted := quantity(a)) is not None
    )


def same(given: Quantity, wanted: Quantity, tolerance: float) -> bool:
    """Equal dimensions, and values that differ by at most `tolerance` of the wanted one."""
    if given.dimensions != wanted.dimensions:
        return False
    return abs(given.value - wanted.value) <= tolerance * abs(wanted.value) + 1e-12


def quantity(text: str) -> Quantity | None:
    """The quantity that a text says, or None."""
    if len(text) > MAX_CHARS:
        return None
    try:
        found = _Reader(plain(text)).read()
    except (NotAQuantity, OverflowError, ZeroDivisionError, ValueError):
        return None
    return found if math.isfinite(found.value) else None


def plain(text: str) -> str:
    """LaTeX, signs and vulgar fractions in ASCII; `x = ` before a value is left out."""
    out = "".join(_vulgar(c) for c in text)
    out = unicodedata.normalize("NFKC", _raised(out)).replace("\u2212", "-").replace("\u2044", "/")
    out = out.strip().strip("$").rstrip(".")
    for written, meant in _LATEX:
        out = out.replace(written, meant)
    for _ in range(4):  # nested fractions, innermost first
        out = re.sub(r"\\[dt]?frac\{([^{}]*)\}\{([^{}]*)\}", r"((\1)/(\2))", out)
        out = re.sub(r"\\sqrt\{([^{}]*)\}", r"sqrt(\1)", out)
    out = out.replace("{", "(").replace("}", ")")
    return re.sub(r"^\s*[A-Za-z]\s*=\s*", "", out)


_LATEX = (
    ("\\left", ""),
    ("\\right", ""),
    ("\\,", " "),
    ("\\ ", " "),
    ("\\%", "%"),
    ("\\times", "*"),
    ("\\cdot", "*"),
    ("\\pi", "pi"),
    ("\\text", ""),
    ("\\mathrm", ""),
    ("**", "^"),
    ("×", "*"),
    ("·", "*"),
    ("÷", "/"),
    ("π", "pi"),
    ("√", "sqrt "),
    ("°", " deg"),
)
_RAISED = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")


def _raised(text: str) -> str:
    """Raised digits as powers."""
    return re.sub("[⁰¹²³⁴-⁹⁻]+", lambda m: "^" + m.group().translate(_RAISED), text)


def _vulgar(char: str) -> str:
    if unicodedata.category(char) != "No" or "VULGAR" not in unicodedata.name(char, ""):
        return char
    return " " + unicodedata.normalize("NFKC", char)


_TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d*)?(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?)"
    r"|(?P<name>[A-Za-zµμ]+)|(?P<sign>[-+*/^()%]))",
    re.ASCII,
)

_LENGTH, _MASS, _TIME, _ANGLE = ((1.0, 0, 0, 0), (0, 1.0, 0, 0), (0, 0, 1.0, 0), (0, 0, 0, 1.0))
_SPEED = (1.0, 0, -1.0, 0)
UNITS: dict[str, Quantity] = {
    name: Quantity(factor, dimensions)
    for dimensions, table in (
        (_LENGTH, {"m": 1.0, "km": 1e3, "cm": 1e-2, "mm": 1e-3, "um": 1e-6, "nm": 1e-9}),
        (_LENGTH, {"meter": 1.0, "meters": 1.0, "metre": 1.0, "metres": 1.0}),
        (_LENGTH, {"inch": 0.0254, "ft": 0.3048, "foot": 0.3048, "feet": 0.3048, "mi": 1609.344}),
        (_MASS, {"kg": 1.0, "g": 1e-3, "mg": 1e-6, "t": 1e3, "lb": 0.45359237}),
        (_TIME, {"s": 1.0, "sec": 1.0, "second": 1.0, "seconds": 1.0, "ms": 1e-3, "us": 1e-6}),
        (_TIME, {"min": 60.0, "minute": 60.0, "minutes": 60.0, "h": 3600.0, "hr": 3600.0}),
        (_TIME, {"hour": 3600.0, "hours": 3600.0, "day": 86400.0, "days": 86400.0}),
        (_ANGLE, {"rad": 1.0, "deg": math.pi / 180, "degree": math.pi / 180}),
        (_ANGLE, {"degrees": math.pi / 180}),
        (_SPEED, {"mph": 0.44704, "kph": 1 / 3.6, "kmh": 1 / 3.6}),
        ((-1.0, 1.0, -2.0, 0), {"Pa": 1.0, "kPa": 1e3}),
        ((1.0, 1.0, -2.0, 0), {"N": 1.0, "kN": 1e3}),
        ((2.0, 1.0, -2.0, 0), {"J": 1.0, "kJ": 1e3}),
        ((2.0, 1.0, -3.0, 0), {"W": 1.0, "kW": 1e3}),
        ((3.0, 0, 0, 0), {"L": 1e-3, "l": 1e-3, "mL": 1e-6, "ml": 1e-6, "liter": 1e-3}),
        ((0, 0, -1.0, 0), {"Hz": 1.0, "kHz": 1e3}),
    )
    for name, factor in table.items()
}


class _Reader:
    """sum > product > power > atom; unit names are factors like any other."""

    def __init__(self, text: str) -> None:
        self.tokens: list[tuple[str, str]] = []
        at = 0
        text = text.strip()
        while at < len(text):
            found = _TOKEN.match(text, at)
            if found is None:
                raise NotAQuantity(text)
            self.tokens.append((str(found.lastgroup), found.group(str(found.lastgroup))))
            at = found.end()
        self.at = self.depth = 0

    def read(self) -> Quantity:
        if not any(kind == "number" or word == "pi" for kind, word in self.tokens):
            raise NotAQuantity("a quantity has a number")
        out = self.sum()
        if self.at < len(self.tokens):
            raise NotAQuantity("more follows")
        return out

    def peek(self, ahead: int = 0) -> tuple[str, str]:
        at = self.at + ahead
        return self.tokens[at] if at < len(self.tokens) else ("end", "")

    def take(self, *signs: str) -> str | None:
        kind, word = self.peek()
        if kind == "sign" and word in signs:
            self.at += 1
            return word
        return None

    def sum(self) -> Quantity:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise NotAQuantity("too deep")
        out = self.product()
        while sign := self.take("+", "-"):
            other = self.product()
            if other.dimensions != out.dimensions:
                raise NotAQuantity("unlike things are not added")
            change = other.value if sign == "+" else -other.value
            out = Quantity(out.value + change, out.dimensions)
        self.depth -= 1
        return out

    def product(self) -> Quantity:
        sign = -1.0 if self.take("-") else 1.0
        if sign > 0:
            self.take("+")
        first = self.power()
        out = Quantity(sign * first.value, first.dimensions)
        while True:
            if self.take("*"):
                out = _times(out, self.power(), 1)
            elif self.take("/"):
                # "m/s" divides by the one unit that follows.
                out = _times(out, self.power(), -1)
            elif self.take("%"):
                out = Quantity(out.value / 100, out.dimensions)
            elif self.peek()[0] == "name" or self.peek() == ("sign", "("):
                out = _times(out, self.power(), 1)
            else:
                return out

    def power(self) -> Quantity:
        base = self.atom()
        if not self.take("^"):
            return base
        sign = -1.0 if self.take("-") else 1.0
        raised = self.power()
        if raised.dimensions != _NONE or abs(raised.value) > 1000:
            raise NotAQuantity("an exponent is a number")
        exponent = sign * raised.value
        value = base.value**exponent
        if isinstance(value, complex):
            raise NotAQuantity("not real")
        a, b, c, d = base.dimensions
        return Quantity(value, (a * exponent, b * exponent, c * exponent, d * exponent))

    def atom(self) -> Quantity:
        kind, word = self.peek()
        self.at += 1
        if kind == "number":
            return Quantity(float(word.replace(",", "")) + self.mixed(word))
        if word == "(":
            inner = self.sum()
            if not self.take(")"):
                raise NotAQuantity("a bracket is open")
            return inner
        if kind == "name" and word == "sqrt":
            under = self.power()
            if under.value < 0:
                raise NotAQuantity("not real")
            a, b, c, d = under.dimensions
            return Quantity(math.sqrt(under.value), (a / 2, b / 2, c / 2, d / 2))
        if kind == "name" and word == "pi":
            return Quantity(math.pi)
        if kind == "name" and word in UNITS:
            return UNITS[word]
        raise NotAQuantity(word)

    def mixed(self, whole: str) -> float:
        """The fraction of "3 1/2"; two numbers side by side are nothing else."""
        if self.peek()[0] != "number":
            return 0.0
        words = [self.peek(i)[1] for i in range(3)]
        if self.peek(1) != ("sign", "/") or not all(w.isdigit() for w in (whole, *words[::2])):
            raise NotAQuantity("two numbers side by side")
        self.at += 3
        return int(words[0]) / int(words[2])


def _times(a: Quantity, b: Quantity, sign: int) -> Quantity:
    value = a.value * b.value if sign > 0 else a.value / b.value
    pairs = zip(a.dimensions, b.dimensions, strict=True)
    return Quantity(value, tuple(x + sign * y for x, y in pairs))  # type: ignore[arg-type]
