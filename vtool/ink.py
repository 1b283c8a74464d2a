"""From pieces to ids: where ordinary words and control tokens are kept apart."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from vtool.codec import Codec
from vtool.counts import known_ids
from vtool.dialects.base import Control, Piece
from vtool.message import Show, Text
from vtool.record import Ids, Placement, Run
from vtool.showing import Showing, check_rows
from vtool.store import Store


@dataclass(frozen=True, slots=True, eq=False)
class Written:
    """Pieces as tokens."""

    ids: Ids
    placements: tuple[Placement, ...]

    @property
    def pictures(self) -> int:
        """Pictures and frames shown."""
        return sum(p.pictures for p in self.placements)


class Ink:
    """Writes pieces in one family's tokens.

    Words on both sides of a tag that is no token of its own are encoded as one string, so that
    the ids are those that a whole transcript would have.

    Args:
        codec: The tokenizer.
        showing: Cuts pictures.
    """

    def __init__(self, codec: Codec, showing: Showing) -> None:
        self.codec, self.showing = codec, showing
        family = showing.family
        self.image = codec.token_id(family.image_token)
        self.video = next(iter(known_ids(codec, (family.video_token,))), None)
        self.before = codec.token_id(family.vision_start)
        self.after = codec.token_id(family.vision_end)
        self._control = {codec.pieces([i])[0].decode(): i for i in sorted(codec.control_ids)}
        longest = sorted(self._control, key=len, reverse=True)
        self._marks = re.compile("|".join(re.escape(c) for c in longest))

    def write(self, pieces: Sequence[Piece], store: Store) -> Written:
        """Tokens of some pieces, counted only; `check` then cuts the pictures.

        Raises:
            GeometryError: A picture that no family shows.
        """
        ids: list[int] = []
        words: list[str] = []
        placements: list[Placement] = []
        for part in self._parts(pieces):
            if isinstance(part, str):
                words.append(part)
                continue
            if isinstance(part, int):
                self._flush(words, ids)
                ids.append(part)
            else:
                placements.append(self._show(part, store, words, ids))
        self._flush(words, ids)
        return Written(np.array(ids, np.int32), tuple(placements))

    def check(self, written: Written, pieces: Sequence[Piece], store: Store) -> None:
        """Cut the pictures and compare them with their placeholders.

        Raises:
            RecordError: Tokens, grid and pixel rows do not agree.
        """
        shows = [p for p in pieces if isinstance(p, Show)]
        for show, placement in zip(shows, written.placements, strict=True):
            for frame, run in zip(self.showing.frames(show, store), placement.runs, strict=True):
                patches = self.showing.patches(frame)
                check_rows(run, patches, self.showing.family.spec.merge)

    def _parts(self, pieces: Sequence[Piece]) -> Iterator[str | int | Show]:
        for piece in pieces:
            if isinstance(piece, Show):
                yield piece
            elif trusted(piece):
                yield from self._split(piece.text)
            else:
                yield whole(piece.text)

    def _split(self, text: str) -> Iterator[str | int]:
        at = 0
        for found in self._marks.finditer(text):
            yield text[at : found.start()]
            yield self._control[found.group()]
            at = found.end()
        yield text[at:]

    def _flush(self, words: list[str], ids: list[int]) -> None:
        text = "".join(words)
        words.clear()
        if text:
            ids += self.codec.encode(text)

    def _show(self, show: Show, store: Store, words: list[str], ids: list[int]) -> Placement:
        frames = self.showing.frames(show, store)
        runs: list[Run] = []
        for frame in frames:
            if frame.time_s is not None:
                words.append(f"<{frame.time_s:.1f} seconds>")
            self._flush(words, ids)
            run = self.showing.run(frame, len(ids) + 1)
            token = self.video if frame.video else self.image
            assert token is not None  # the renderer asked for it at start-up
            ids += [self.before, *[token] * run.length, self.after]
            runs.append(run)
        times = tuple(t for f in frames for t in f.times_s)
        kind: Literal["image", "clip"] = "clip" if times else "image"
        shown = self.showing.size(frames[0])
        return Placement(show.handle, kind, tuple(runs), shown, times, frames[0].video)


def trusted(piece: Control | Text) -> bool:
    """Whether control tokens are recognised in a piece; in words they never are."""
    return isinstance(piece, Control)


def whole(text: str) -> str:
    """The text with lone surrogates, which no encoding can hold, as U+FFFD."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
