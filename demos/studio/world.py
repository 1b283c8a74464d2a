"""What the shipped policies know: one small world each, asked about in a few ways.

Asked about anything else they would still write something. The studio says so instead.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from vtool.media import Image
from vtool.worlds.drawing import COLORS
from vtool.worlds.icons import KINDS
from vtool.worlds.moments import Ask

_COLOR = f"(?:{'|'.join(COLORS)})"
_PLACE = "(?:upper|lower) (?:left|right)"

_ZOOM = tuple(
    re.compile(form.replace("COLOR", _COLOR).replace("PLACE", _PLACE))
    for form in (
        r"what digit is in the COLOR circle\?",
        r"what digit is in the COLOR circle in the COLOR frame\?",
        r"where is the COLOR circle\?",
        r"what colour is the circle at the PLACE\?",
    )
)
_MOMENTS = tuple(re.compile(re.escape(ask.words)) for ask in Ask)
_JOINT = (
    *_ZOOM,
    *_MOMENTS,
    re.compile(r"where is the circle with the digit \d\?"),
    re.compile(f"which shape covers more, the {_COLOR} or the {_COLOR} one\\?"),
    re.compile(f"how many (?:{'|'.join(KINDS)})e?s? are there\\?"),
    re.compile(f"which is nearer, the {_COLOR} or the {_COLOR} ring\\?"),
    re.compile(f"what digit is on the {_COLOR} ground\\?"),
    re.compile(f"what digits are in the circles {_COLOR}, {_COLOR}, {_COLOR}\\?"),
)

_STARTS = ("tiny/clean", "tiny/weak", "tiny/restless", "tiny/idle", "tiny/examples")
"""Policies of the zoom world alone."""
_WORLDS: Mapping[str, tuple[tuple[re.Pattern[str], ...], str]] = {
    **dict.fromkeys(_STARTS, (_ZOOM, "coloured circles with small digits")),
    "tiny/joint": (
        _JOINT,
        "small digits, camouflaged shapes and plates, small icons, and flashes in videos",
    ),
    "tiny/moments": (_MOMENTS, "a coloured flash in a small made-up video"),
}

_FORMS: Mapping[str, str] = {
    **dict.fromkeys(_STARTS, "what digit is in the red circle?"),
    "tiny/joint": "where is the circle with the digit 3?",
    "tiny/moments": "what colour is the flash and when?",
}
_SIZES = ((384, 384), (768, 768))


def outside(policy: str, question: str, pictures: tuple[Image, ...] = ()) -> str | None:
    """Why a policy cannot know the answer, or None where nothing speaks against it.

    Args:
        policy: Name of the policy; only the shipped ones have so small a world.
        question: As asked.
        pictures: What it is asked about.
    """
    if policy not in _WORLDS:
        return None
    forms, world = _WORLDS[policy]
    if not any(f.fullmatch(question.strip().lower()) for f in forms):
        return (
            f"{policy} does not know this world: it was trained on {world} and understands "
            f"questions such as “{_FORMS[policy]}” only. It was not asked."
        )
    odd = [p.size for p in pictures if p.size not in _SIZES]
    if odd:
        width, height = odd[0]
        return (
            f"{policy} does not know this world: it was trained on pictures of 384×384 with "
            f"{world}; this one has {width}×{height}. It was not asked."
        )
    return None
