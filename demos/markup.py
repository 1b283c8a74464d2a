"""HTML that is safe by construction: what is not `Html` is escaped, whoever wrote it.

Text of models, users and tools reaches a page only through `tag` and `text`. Characters that
cannot be seen, or that turn the line around, are shown as escapes.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from html import escape
from typing import TypeAlias


class Html(str):
    """Markup made by this room, not to be escaped again."""

    __slots__ = ()


Child: TypeAlias = "str | Html | Iterable[str | Html] | None"

_VOID = frozenset({"img", "meta", "input", "br", "image", "rect", "circle", "polygon"})


def tag(element: str, /, *children: Child, **attributes: str | int | float | bool | None) -> Html:
    """One element.

    Args:
        element: Such as ``div``.
        children: Text is escaped, `Html` is not, None is left out.
        attributes: ``class_`` for class, ``data_x`` for data-x; None and False leave one out.
    """
    told = "".join(_attribute(k, v) for k, v in attributes.items() if v is not None)
    inside = join(children)
    if element in _VOID:
        return Html(f"<{element}{told}/>")
    return Html(f"<{element}{told}>{inside}</{element}>")


def join(children: Iterable[Child]) -> Html:
    """Several pieces one after the other."""
    out: list[str] = []
    for child in children:
        if isinstance(child, Html):
            out.append(child)
        elif isinstance(child, str):
            out.append(text(child))
        elif child is not None:
            out.append(join(child))
    return Html("".join(out))


def text(words: str) -> Html:
    """Words as they are; what cannot be seen is shown as an escape."""
    return Html("".join(_visible(c) for c in words))


def _visible(char: str) -> str:
    if char in "\n\t" or unicodedata.category(char) not in ("Cc", "Cf", "Cs", "Co", "Cn"):
        return escape(char, quote=True)
    return f'<span class="esc">\\u{ord(char):04x}</span>'


def _attribute(name: str, value: str | int | float | bool | None) -> str:
    key = name.rstrip("_").replace("_", "-")
    if value is False:
        return ""
    if value is True:
        return f" {key}"
    return f' {key}="{escape(str(value), quote=True)}"'
