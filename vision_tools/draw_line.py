"""The draw_line tool: a line through points."""

from __future__ import annotations

from vtool.geometry import Point
from vtool.media import Image
from vtool.tool import Observation, tool

from .drawing import COLORS, WIDEST, Canvas, Color, line_width
from .limits import MOST_PLACES, check_count, check_range


@tool
def draw_line(
    image: Image,
    points: list[Point],
    color: Color = "red",
    width: int | None = None,
    closed: bool = False,
) -> Observation:
    """Draw a straight line between two points, or a line through several, on a copy of a picture.

    Two points of equal height make a level line, to compare bars or to read a value off an axis.

    Args:
        image: Picture to draw on.
        points: Where the line goes, 2 to 64 points in order.
        color: Colour of the line.
        width: Width of the line in pixels of the picture, 1 to 100; by the picture's size where
            left out.
        closed: Whether the line goes back to its first point.
    """
    check_count("points", points, 2, MOST_PLACES)
    if width is not None:
        check_range("width", width, 1, WIDEST)
    canvas = Canvas(image)
    path = [*points, points[0]] if closed else points
    canvas.path(path, COLORS[color], width or line_width(image.size))
    return canvas.observe()
