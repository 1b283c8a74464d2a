"""What must hold before tokens enter a context or leave for an engine."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vtool.chat import ChatTemplate
from vtool.codec import Codec
from vtool.dialects.base import Dialect
from vtool.engines.base import Picture
from vtool.errors import CheckpointError, FaultCode, RecordError
from vtool.families.base import Family
from vtool.record import Ids


def check_controls(
    codec: Codec, family: Family, dialect: Dialect, chat: ChatTemplate, *, video: bool = False
) -> None:
    """Every control token that will be needed must be one token, known at start-up.

    Raises:
        CheckpointError: Names those that are missing.
    """
    vision: tuple[str, ...] = (family.image_token, family.vision_start, family.vision_end)
    if video:
        vision = (*vision, family.video_token)
    needed = (chat.start, chat.end, *vision, *dialect.controls, *dialect.stops)
    missing = [t for t in dict.fromkeys(needed) if not known_ids(codec, (t,))]
    if missing:
        raise CheckpointError(
            f"the tokenizer lacks {', '.join(missing)} as single tokens, which {family.name} "
            f"with {dialect.name} needs: choose another dialect, or a checkpoint made for it"
        )


def known_ids(codec: Codec, tokens: Sequence[str]) -> tuple[int, ...]:
    """Ids of those tokens that the tokenizer has as control tokens."""
    out = []
    for token in tokens:
        try:
            number = codec.token_id(token)
        except CheckpointError:
            continue
        if number in codec.control_ids:
            out.append(number)
    return tuple(out)


def check_sampled(ids: Ids, forbidden: Sequence[int]) -> None:
    """A completion may hold no placeholder: it would stand for no picture.

    Raises:
        RecordError: The engine sampled a forbidden id.
    """
    drawn = set(ids.tolist())
    if not drawn.isdisjoint(forbidden):
        bad = np.flatnonzero(np.isin(ids, forbidden))
        raise RecordError(
            f"the engine sampled the forbidden id {int(ids[bad[0]])} at token {int(bad[0])}: "
            "it must honour `forbidden_ids`"
        )


def check_placeholders(
    ids: Ids, pictures: Sequence[Picture], placeholder: int, video: int | None = None
) -> None:
    """Every placeholder belongs to a picture or clip, each of these has its placeholders.

    Args:
        ids: The context.
        pictures: What it shows.
        placeholder: Id that stands for pictures.
        video: Id that stands for clips, where the tokenizer has one.

    Raises:
        RecordError: They do not match.
    """
    marked = np.full(len(ids), -1, np.int64)
    for picture in pictures:
        kind = video if picture.video and video is not None else placeholder
        marked[picture.run.start : picture.run.start + picture.run.length] = kind
    stands = ids == placeholder if video is None else (ids == placeholder) | (ids == video)
    found = np.where(stands, ids, -1)
    off = np.flatnonzero(marked != found)
    if len(off):
        count, wanted = int((found >= 0).sum()), int((marked >= 0).sum())
        raise RecordError(
            f"the context has {count} placeholder tokens, its pictures take {wanted}; the first "
            f"difference is at token {int(off[0])}"
        )


def check_images(count: int, most: int) -> None:
    """Too many pictures are refused at the door.

    Raises:
        RecordError: `too_many_images`.
    """
    if count > most:
        code = FaultCode.TOO_MANY_IMAGES
        raise RecordError(f"{code}: the prompt shows {count} pictures, at most {most}", code)


def check_length(tokens: int, most: int | None) -> None:
    """A prompt that is too long is refused, never cut.

    Raises:
        RecordError: `limit`.
    """
    if most is not None and tokens > most:
        code = FaultCode.LIMIT
        raise RecordError(
            f"{code}: the prompt has {tokens} tokens, at most {most}; it is never cut, so leave "
            "this task out or show its pictures smaller",
            code,
        )
