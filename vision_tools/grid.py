"""The grid tool: lines over a picture, and cells with names."""

from __future__ import annotations

import string
from dataclasses import dataclass

from vtool.errors import FaultCode, ModelFault
from vtool.geometry import Box, Point, Size
from vtool.media import Image
from vtool.tool import Finding, Observation, Way, tool

from .drawing import COLORS, Canvas, Color, line_width, text_size
from .limits import check_range

FEWEST, MOST = 2, 26
LEAST_CELL = 32
"""Pixels of the picture: names in smaller cells cannot be read."""


@tool
def grid(
    image: Image,
    columns: int = 8,
    rows: int | None = None,
    color: Color = "yellow",
) -> Observation:
    """Lay a grid of equal cells with names (A1, B1, ... as in a spreadsheet) over a picture.

    Where each column and row lies is told in coordinates: cell C2 is where column C meets row 2.

    Args:
        image: Picture to divide.
        columns: Columns, 2 to 26, named by letters from the left.
        rows: Rows, 2 to 26, numbered from the top; so that cells are about square where left out.
        color: Colour of lines and names.
    """
    cells = Cells(columns, squarish(columns, image.size) if rows is None else rows)
    check_cells(cells, image.size)
    canvas = Canvas(image)
    cells.draw(canvas, color)
    drawn = canvas.done()
    text = f"{cells.columns} columns and {cells.rows} rows."
    return Observation((drawn,), text, found=cells.bands(), ways=((Way(image),),))


@dataclass(frozen=True, slots=True)
class Cells:
    """A division into equal cells."""

    columns: int
    rows: int

    def bands(self) -> tuple[Finding, ...]:
        """Columns, then rows, each as the box that it covers; fewer words than all cells."""
        across = [
            Finding(Box(i / self.columns, 0, (i + 1) / self.columns, 1), f"column {letter}")
            for i, letter in zip(range(self.columns), string.ascii_uppercase, strict=False)
        ]
        down = [
            Finding(Box(0, i / self.rows, 1, (i + 1) / self.rows), f"row {i + 1}")
            for i in range(self.rows)
        ]
        return (*across, *down)

    def draw(self, canvas: Canvas, color: str) -> None:
        """Lines and names."""
        width, height = canvas.size
        ink, wide = COLORS[color], max(1, line_width(canvas.size) // 2)
        for i in range(1, self.columns):
            x = i / self.columns
            canvas.path((Point(x, 0), Point(x, 1)), ink, wide)
        for i in range(1, self.rows):
            y = i / self.rows
            canvas.path((Point(0, y), Point(1, y)), ink, wide)
        cell = min(width / self.columns, height / self.rows)
        tall = min(text_size(canvas.size), int(cell / 2.6))
        for i, letter in zip(range(self.columns), string.ascii_uppercase, strict=False):
            for j in range(self.rows):
                canvas.name(f"{letter}{j + 1}", (i / self.columns, j / self.rows), ink, tall)


def squarish(columns: int, size: Size) -> int:
    """Rows that make about square cells."""
    return max(FEWEST, min(MOST, round(columns * size[1] / size[0])))


def check_cells(cells: Cells, size: Size) -> None:
    """Refuse grids that would hide the picture.

    Raises:
        ModelFault: `bad_args` or `too_small`.
    """
    check_range("columns", cells.columns, FEWEST, MOST)
    check_range("rows", cells.rows, FEWEST, MOST)
    wide, high = size[0] / cells.columns, size[1] / cells.rows
    if min(wide, high) < LEAST_CELL:
        raise ModelFault(
            FaultCode.TOO_SMALL,
            f"cells would be {wide:.0f}x{high:.0f} pixels, expected {LEAST_CELL} at least",
            hint="take fewer columns and rows, or magnify the picture first",
            field="columns",
        )
