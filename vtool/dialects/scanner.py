"""Tagged blocks in a text that may arrive in pieces.

One state machine serves both: batch reading is one big piece, so a stream gives the same result
wherever it is split.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Block:
    """`<tag>body</tag>` in a text."""

    tag: str
    body: str
    start: int
    """Index of `<` of the opening tag."""
    end: int
    """One past the closing tag, or the end of the text where it never came."""
    closed: bool = True


@dataclass(frozen=True, slots=True)
class Scan:
    """What a text holds."""

    text: str
    blocks: tuple[Block, ...]
    """In order; a block inside another one is part of its body."""

    @property
    def outside(self) -> str:
        """The text that lies in no block."""
        parts, at = [], 0
        for block in self.blocks:
            parts.append(self.text[at : block.start])
            at = block.end
        return "".join([*parts, self.text[at:]])


class Scanner:
    """Finds blocks of some tags, outermost and first come.

    Args:
        tags: Tag names, such as `tool_call`; none may be the beginning of another.
    """

    def __init__(self, tags: Sequence[str]) -> None:
        self._open = re.compile("|".join(f"<{re.escape(t)}>" for t in tags))
        self._longest = max(len(t) for t in tags) + len("</>")
        self._text = ""
        self._at = 0
        self._inside: tuple[str, int] | None = None
        self._blocks: list[Block] = []

    def feed(self, piece: str) -> list[Block]:
        """Read on; answers the blocks that were closed by this piece."""
        self._text += piece
        before = len(self._blocks)
        while self._step():
            pass
        return self._blocks[before:]

    def close(self) -> Scan:
        """The end of the text: an open block ends here, unclosed."""
        blocks = list(self._blocks)
        if self._inside is not None:
            tag, start = self._inside
            body = self._text[start + len(tag) + 2 :]
            blocks.append(Block(tag, body, start, len(self._text), closed=False))
        return Scan(self._text, tuple(blocks))

    def _step(self) -> bool:
        if self._inside is None:
            found = self._open.search(self._text, self._at)
            if found is None:
                self._at = max(self._at, held_back(len(self._text), self._longest))
                return False
            self._inside = (found.group()[1:-1], found.start())
            self._at = found.end()
            return True
        tag, start = self._inside
        end = self._text.find(f"</{tag}>", self._at)
        if end < 0:
            self._at = max(self._at, held_back(len(self._text), self._longest))
            return False
        body = self._text[start + len(tag) + 2 : end]
        self._at = end + len(tag) + 3
        self._blocks.append(Block(tag, body, start, self._at))
        self._inside = None
        return True


def held_back(length: int, longest: int) -> int:
    """Where to search on: a tag may have begun just before the end of what has come."""
    return length - longest + 1
