"""Which option of a multiple choice an answer picks: our rule, and the published ones by name.

A score on multiple choice is comparable only under one rule: published rules read "A cat is at D"
as A, "because it is red" as B, and "I think A or B" as B. The strict rule is the default: it takes
a letter only where it stands as one, and nothing where several are left.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import TypeAlias

Options: TypeAlias = Sequence[str]
"""What is offered, in the order of the letters; texts may be empty where only their number is
known."""

Reader: TypeAlias = Callable[[str, Options], str | None]
"""Answer and options to a capital letter, or None."""


class ChoiceRule(StrEnum):
    """How a letter is found in an answer."""

    STRICT = "strict"
    RANKED = "ranked"
    """lmms-eval's shared extractor: Video-MME, LVBench, RealWorldQA."""
    VSTAR = "vstar"
    """lmms-eval's V*Bench."""
    FIRST = "first"
    """MME-RealWorld, LongVideoBench: the first capital of A to E."""
    VLMEVALKIT = "vlmevalkit"
    """VLMEvalKit's rules without its judge."""
    HRBENCH = "hrbench"
    """lmms-eval's HR-Bench: an older form of VLMEvalKit's, without its judge."""
    BLINK = "blink"
    """lmms-eval's BLINK."""
    MVBENCH = "mvbench"
    """lmms-eval's MVBench."""


def letters(count: int) -> str:
    """Capital letters of so many options."""
    return "ABCDEFGHIJKLMNOPQRSTUVWXYZ"[:count]


def read_choice(answer: str, options: Options, rule: ChoiceRule = ChoiceRule.STRICT) -> str | None:
    """The letter that an answer picks under a rule; None where it picks none."""
    return _READERS[rule](answer, options)


# A capital A before a word is the article, unless that word goes on about the choice.
_LETTER = r"([B-Z]|A(?!\s+(?!(?:or|and|is|because|since|as|for|due)\b)[a-z]))"
_SAID = re.compile(
    r"\b(?:answer|option|choice)\b(?:\s+(?:is|would be|should be))?\s*[:=]?\s*"
    rf"(?:option\s+)?[*_(\[\s]*{_LETTER}(?![A-Za-z'])",
)
_SAID_LOWER = re.compile(r"\b(?:Answer|Option|Choice|ANSWER)\b")
_ALONE = re.compile(r"[\s*_(\[\"'`]*([A-Za-z])[\s*_)\]\"'`.:,]*")
_LEADING = re.compile(r"[\s*_(\[]*([A-Z])\s*[.):\]]")
_MARKED = re.compile(r"\(([A-Z])\)")
_WORD = re.compile(rf"(?<![A-Za-z'-])(?!I\s+[a-z]){_LETTER}(?![A-Za-z'-])")


def _strict(answer: str, options: Options) -> str | None:
    text = answer.strip()
    alone = _ALONE.fullmatch(text)
    if alone:
        return _within({alone.group(1).upper()}, options)
    said = _SAID.findall(_SAID_LOWER.sub(lambda m: m.group().lower(), text))
    if said:
        return _within({said[-1]}, options)
    leading = _LEADING.match(text)
    if leading:
        return _within({leading.group(1)}, options)
    marked = set(_MARKED.findall(text)) or set(_WORD.findall(text))
    return _within(marked, options) if marked else _by_words(text, options)


def _within(found: set[str], options: Options) -> str | None:
    known = found & set(letters(len(options)))
    return known.pop() if len(known) == 1 == len(found) else None


def _by_words(text: str, options: Options) -> str | None:
    """The only option whose words the answer holds, as whole words."""
    flat = f" {_words(text)} "
    bare = [_words(option) for option in options]
    held = {i for i, o in enumerate(bare) if o and f" {o} " in flat}
    # "dog" does not count beside "hot dog", which holds it.
    outer = {i for i in held if not any(i != j and f" {bare[i]} " in f" {bare[j]} " for j in held)}
    return letters(len(options))[outer.pop()] if len(outer) == 1 else None


def _words(text: str) -> str:
    return " ".join(re.findall(r"[^\W_]+", text.lower()))


_PHRASES_TEXT = (
    "the answer is;answer is;the correct answer is;correct answer is;the best answer is;"
    "best answer is;the correct option is;correct option is;the best option is;best option is;"
    "the choice is;choice is;the correct choice is;correct choice is;i choose;i select;i pick;"
    "my answer is;my choice is;옵션;정답은;답은;답:;答案是;答案为;选;答えは"
)
_PHRASES = _PHRASES_TEXT.split(";")
_TRIMMED = ",.!?;:'\""


def _ranked(answer: str, options: Options) -> str | None:
    """Best class of places first, the last place within it; ties go to the earlier letter."""
    if not answer.strip():
        return None
    stripped = answer.strip()
    for char in _TRIMMED:
        stripped = stripped.strip(char)
    found = [place for letter in letters(len(options)) for place in _places(stripped, letter)]
    if not found:
        return None
    # Where rank and place are alike, the reference keeps the order in which it looked: letters
    # within a phrase, phrases one after the other. Ranks and places decide all of these alike.
    best = max(found, key=lambda p: (p[0], p[1]))
    return best[2]


def _places(stripped: str, letter: str) -> list[tuple[int, int, str]]:
    """(rank, position, letter) of every way in which a letter occurs."""
    text = f" {stripped} "
    ways = ((6, f"({letter})"), (5, f"{letter}."), (4, f"{letter}:"), (3, f"{letter})"))
    out = [(rank, text.rfind(w), letter) for rank, w in (*ways, (2, f"{letter} ")) if w in text]
    low = text.lower()
    for phrase in _PHRASES:
        at = low.find(phrase)
        after = text.find(letter, at + len(phrase)) if at >= 0 else -1
        if after >= 0:
            out.append((7, after, letter))
    bare = text.strip()
    if bare.startswith(letter) and not bare[1:2].isalpha():
        out.append((10, 0, letter))
    if bare.endswith(letter) and not bare[-2:-1].isalpha():
        out.append((9, len(text) - 1, letter))
    if letter in text:
        out.append((0, text.rfind(letter), letter))
    return out


_VSTAR = [
    re.compile(p)
    for p in (
        r"^([A-D])\s*[\.)\]]*",
        r"(?:THE\s+)?(?:ANSWER|CHOICE|OPTION)(?:\s+IS)?[\s:]+([A-D])",
        r"\(([A-D])\)",
        r"([A-D])\s*(?:\.|\)|])",
        r"(?:^|\s)([A-D])(?:\s|$)",
    )
]


def _vstar(answer: str, options: Options) -> str | None:
    """Patterns in turn on the upper-cased answer; none asks for the end of a word."""
    text = answer.strip().upper()
    for pattern in _VSTAR:
        found = pattern.search(text)
        if found:
            return found.group(1)
    lone = re.findall("[A-D]", text)
    return lone[0] if len(lone) == 1 else None


_PREFIXES = (
    "The best answer is",
    "The correct answer is",
    "The answer is",
    "The answer",
    "The best option is",
    "The correct option is",
    "Best answer:",
    "Best option:",
)


def _first(answer: str, options: Options) -> str | None:
    """The first capital of A to E once such prefixes are gone.

    lmms-eval's MME-RealWorld looks at last whether the answer occurs in "(A)", "(B)" and so on:
    so "" is A there, and "b" is B. LongVideoBench draws a choice at random; here that is None.
    """
    text = answer.strip()
    for prefix in _PREFIXES:
        text = text.replace(prefix, "")
    found = re.search("[A-E]", text)
    return found.group() if found else None


def first_or_contained(answer: str) -> str | None:
    """As `ChoiceRule.FIRST`, with MME-RealWorld's last step."""
    found = _first(answer, ())
    if found:
        return found
    text = answer.strip()
    for prefix in _PREFIXES:
        text = text.replace(prefix, "")
    if len(text.split()) > 10:
        return None
    return next((c for c in "ABCDE" if text.lower() in f"({c})".lower()), None)


_REFUSALS = (
    "Sorry, I can't help with images of people yet.",
    "I can't process this file.",
    "I'm sorry, but without the image provided",
    "Cannot determine the answer",
)
_REFUSED = "Z"
_SPACED = str.maketrans(dict.fromkeys(".()[],:;!*#{}", " "))


def _vlmevalkit(answer: str, options: Options) -> str | None:
    """One letter among the last four words; else one option's text, in an answer not too long."""
    letter = _one_letter(answer, options, last=4)
    total = sum(map(len, options))
    if letter is None and len(answer) <= 2 * total:
        return _contained(answer, options)
    return None if letter == _REFUSED else letter


def _hrbench(answer: str, options: Options) -> str | None:
    """One letter anywhere; else one option's text, in an answer of any length."""
    letter = _one_letter(answer, options, last=None)
    if letter is None:
        return _contained(answer, options)
    return None if letter == _REFUSED else letter


def _one_letter(answer: str, options: Options, last: int | None) -> str | None:
    if "Failed to obtain answer via API" in answer:
        return None
    if any(r in answer for r in _REFUSALS):
        return _REFUSED
    words = answer.translate(_SPACED).split()
    present = [c for c in letters(len(options)) if c in words]
    if len(present) == 1:
        late = last is None or words.index(present[0]) >= len(words) - last
        return present[0] if late else None
    return _REFUSED if not present and _REFUSED in words else None


def _contained(answer: str, options: Options) -> str | None:
    text = answer.lower()
    held = [i for i, o in enumerate(options) if o.lower() in text]
    return letters(len(options))[held[0]] if len(held) == 1 else None


def _blink(answer: str, options: Options) -> str | None:
    text, known = answer.strip(), letters(len(options)) or letters(26)
    line = text.split("\n", 1)[0].strip()
    terse = re.match(rf"^\(?([{known}])\)?[\.\s:,)]*$", line, re.IGNORECASE)
    if len(line) <= 4 and terse:
        return terse.group(1).upper()
    stated = rf"answers?(?:\s+is)?\s*[:\-]?\s*\(?([{known}])\)?(?![A-Za-z])"
    found = re.findall(stated, text, re.IGNORECASE) or re.findall(rf"\(([{known}])\)", text)
    if found:
        return str(found[-1]).upper()
    leading = re.match(rf"[\(\s]*([{known}])", text, re.IGNORECASE)
    return leading.group(1).upper() if leading else None


_MV_PUNCTUATION = ';/[]"{}()=+\\_-><@`,?!'


def mvbench_word(text: str) -> str:
    """What MVBench compares: a letter of A to E, or the whole answer made plain.

    Source: lmms-eval 0.7.3, whose punctuation rule is that of the VQA evaluation.
    """
    whole = re.match(r"^([A-E])\.\s*(.+)$", text.strip(), re.IGNORECASE)
    if whole:
        return whole.group(1).upper()
    flat = text.replace("\n", " ").replace("\t", " ").strip()
    commas = re.search(r"\d,\d", flat) is not None
    out = flat
    for mark in _MV_PUNCTUATION:
        loose = commas or f"{mark} " in flat or f" {mark}" in flat
        out = out.replace(mark, "" if loose else " ")
    out = re.sub(r"\.(?!\d)", "", out, count=32)
    plain = out.strip("'").strip('"').strip(")").strip("(").strip().lower()
    found = re.search(r"\b([A-E])\b", plain, re.IGNORECASE)
    return found.group(1).upper() if found else plain


def _mvbench(answer: str, options: Options) -> str | None:
    word = mvbench_word(answer)
    return word if word in set("ABCDE") else None


_READERS: dict[ChoiceRule, Reader] = {
    ChoiceRule.STRICT: _strict,
    ChoiceRule.RANKED: _ranked,
    ChoiceRule.VSTAR: _vstar,
    ChoiceRule.FIRST: _first,
    ChoiceRule.VLMEVALKIT: _vlmevalkit,
    ChoiceRule.HRBENCH: _hrbench,
    ChoiceRule.BLINK: _blink,
    ChoiceRule.MVBENCH: _mvbench,
}
