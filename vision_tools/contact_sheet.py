"""The contact_sheet tool: several pictures side by side in one, with numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vtool.geometry import Box, Size
from vtool.media import Image
from vtool.tool import Observation, Way, tool

from .drawing import sheet_number
from .limits import check_count, check_range, check_result

MOST = 36
SMALLEST, LARGEST = 48, 1024
_PAPER = 245


@tool
def contact_sheet(images: list[Image], columns: int | None = None, side: int = 320) -> Observation:
    """Lay several pictures side by side in one picture, numbered from 1 in the order given.

    Places on the sheet lead back to the picture that is shown there.

    Args:
        images: Pictures to lay out, 2 to 36.
        columns: Pictures in a row, 1 to 36; so that the sheet is about square where left out.
        side: Longest side at which each is shown, 48 to 1024 pixels.
    """
    check_count("images", images, 2, MOST)
    check_range("side", side, SMALLEST, LARGEST)
    if columns is not None:
        check_range("columns", columns, 1, MOST)
    sheet = Sheet.plan(images, columns or math.ceil(math.sqrt(len(images))), side)
    check_result(*sheet.size)
    return sheet.lay(images)


@dataclass(frozen=True, slots=True)
class Sheet:
    """Where each picture goes, in whole pixels."""

    size: Size
    spots: tuple[tuple[int, int], ...]
    """Left upper corners."""
    sizes: tuple[Size, ...]
    head: int
    """Height of the strip above each picture, for its number."""

    @classmethod
    def plan(cls, images: Sequence[Image], columns: int, side: int) -> Sheet:
        """Rows as high, and columns as wide, as what stands in them."""
        columns = min(columns, len(images))
        sizes = [shrunk(image.size, side) for image in images]
        head, gap = max(14, side // 14), max(4, side // 40)
        lines = [sizes[i : i + columns] for i in range(0, len(sizes), columns)]
        wide = [max(line[c][0] for line in lines if c < len(line)) for c in range(columns)]
        high = [head + max(h for _, h in line) for line in lines]
        lefts = [gap + sum(wide[:c]) + gap * c for c in range(columns)]
        tops = [gap + sum(high[:r]) + gap * r for r in range(len(lines))]
        spots = tuple((lefts[i % columns], tops[i // columns] + head) for i in range(len(sizes)))
        size = (lefts[-1] + wide[-1] + gap, tops[-1] + high[-1] + gap)
        return cls(size, spots, tuple(sizes), head)

    def lay(self, images: Sequence[Image]) -> Observation:
        """The sheet, and for each picture the cell that shows it."""
        width, height = self.size
        paper = np.full((height, width, 3), _PAPER, np.uint8)
        ways = []
        for number, image in enumerate(images, 1):
            (x, y), (w, h) = self.spots[number - 1], self.sizes[number - 1]
            paper[y : y + h, x : x + w] = image.resize((w, h)).pixels
            paper[y - self.head : y, x : x + w] = sheet_number(number, (w, self.head), _PAPER)
            cell = Box(x / width, y / height, (x + w) / width, (y + h) / height)
            ways.append(Way(image, cell=cell))
        return Observation(
            (Image(paper),),
            f"Pictures 1 to {len(images)} of the sheet, in the order given.",
            ways=(tuple(ways),),
        )


def shrunk(size: Size, side: int) -> Size:
    """A size whose longer side is at most `side`; small pictures keep theirs."""
    share = min(1.0, side / max(size))
    return max(1, round(size[0] * share)), max(1, round(size[1] * share))
