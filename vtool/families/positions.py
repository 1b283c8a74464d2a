"""M-RoPE: three position numbers a token, (time, height, width).

Text advances all three together. A picture starts where the text stands, counts its rows and
columns from there, and the text goes on after the *larger* of its sides in merged tokens, not
after its token count.

Clips differ by family. Qwen2.5-VL writes a clip as one run of placeholders whose time positions
are ``floor(unit * tokens_per_second * seconds_per_unit)``; Qwen3-VL writes text between frames,
so that each frame is a block of its own with t = 1. The library knows evenly spaced frames only;
where a file's are not, ours stand at ``floor(tokens_per_second * (time - first time))``.

Source: Wang et al., "Qwen2-VL" (2024), section 2.1; Bai et al., "Qwen2.5-VL" (2025), section
2.1.3; Qwen3-VL technical report (2025), section 2. Equality with the library's own
``get_rope_index`` is tested for both families.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vtool.errors import RecordError
from vtool.families.base import Block

TEXT, IMAGE, VIDEO = 0, 1, 2
"""Values of ``mm_token_type_ids``."""


def mrope(length: int, blocks: Sequence[Block], *, start: int = 0) -> tuple[NDArray[np.int64], int]:
    """Positions of ``length`` tokens and the position of the token after them.

    A sequence may be done in pieces: give ``start`` the second result of the piece before, and
    count the blocks of each piece from its own first token.

    Args:
        length: Tokens in this piece.
        blocks: Runs of placeholders in it, in order, none overlapping.
        start: Position of its first token.

    Returns:
        Positions, int64 (3, length), and the next position.

    Raises:
        RecordError: Blocks overlap, are out of order, or leave the piece.
    """
    parts: list[NDArray[np.int64]] = []
    at, position = 0, start
    for block in blocks:
        count = int(np.prod(block.grid))
        check_block(block, at, count, length)
        text = block.start - at
        parts.append(_text(text, position))
        position += text
        parts.append(_block(block, position))
        position += max(block.grid[1:])
        at = block.start + count
    parts.append(_text(length - at, position))
    return np.concatenate(parts, axis=1), position + length - at


def check_block(block: Block, at: int, count: int, length: int) -> None:
    """Refuse a block that is empty, out of order, or longer than what is left.

    Raises:
        RecordError: It is.
    """
    if min(block.grid) < 1:
        raise RecordError(f"a block of placeholders needs a positive grid, not {block.grid}")
    if block.times and len(block.times) != block.grid[0]:
        raise RecordError(f"{len(block.times)} times for {block.grid[0]} temporal units")
    if block.start < at or block.start + count > length:
        raise RecordError(
            f"a block of {count} placeholders at {block.start} does not fit between token {at} "
            f"and token {length}"
        )


def _text(count: int, position: int) -> NDArray[np.int64]:
    row = np.arange(position, position + count, dtype=np.int64)
    return np.broadcast_to(row, (3, count))


def _block(block: Block, position: int) -> NDArray[np.int64]:
    t, h, w = block.grid
    # float32, because the library multiplies in float32 before it cuts off the fraction.
    if block.times:
        times = np.array(block.times, np.int64)
    else:
        times = (np.arange(t, dtype=np.float32) * np.float32(block.step)).astype(np.int64)
    axes = np.meshgrid(times, np.arange(h), np.arange(w), indexing="ij")
    return np.stack([axis.reshape(-1) for axis in axes]).astype(np.int64) + position


def mm_token_type_ids(
    ids: NDArray[np.integer], image_token_id: int, video_token_id: int
) -> NDArray[np.int64]:
    """What each token stands for: 0 text, 1 picture, 2 clip; same shape as ``ids``."""
    types = np.full(ids.shape, TEXT, dtype=np.int64)
    types[ids == image_token_id] = IMAGE
    types[ids == video_token_id] = VIDEO
    return types


def block_of(
    start: int, grid: tuple[int, int, int], merge: int, *, seconds: float = 0.0, rate: float = 0.0
) -> Block:
    """A block from a run of placeholders whose grid counts patches.

    Args:
        start: Index of the first placeholder.
        grid: (t, h, w) in patches.
        merge: Patches merged per side.
        seconds: Seconds between temporal units (Qwen2.5-VL clips; 0 for pictures).
        rate: Positions per second of that family.
    """
    t, h, w = grid
    step = rate * seconds if seconds else 1.0
    return Block(start, (t, h // merge, w // merge), step)


EVEN_S = 0.002
"""Times that are off an even spacing by no more than this count as evenly spaced."""


def even_step(times_s: Sequence[float]) -> float | None:
    """Seconds between evenly spaced times, 0 for a single one; None where they are not even."""
    if len(times_s) < 2:
        return 0.0
    first, step = times_s[0], (times_s[-1] - times_s[0]) / (len(times_s) - 1)
    off = max(abs(t - first - i * step) for i, t in enumerate(times_s))
    return step if off <= EVEN_S else None


def time_positions(times_s: Sequence[float], rate: float) -> tuple[int, ...]:
    """Positions of temporal units by their own times, counted from the first.

    Args:
        times_s: Rising, in seconds.
        rate: Positions per second.
    """
    return tuple(int(rate * (t - times_s[0]) + 1e-6) for t in times_s)
