"""The draw_point tool: dots on places, with labels."""

from __future__ import annotations

from vtool.geometry import Box, Point, clamp
from vtool.media import Image
from vtool.tool import Observation, tool

from .drawing import COLORS, WIDEST, Canvas, Color, check_labels, line_width, text_size
from .limits import MOST_PLACES, check_count, check_range


@tool
def draw_point(
    image: Image,
    points: list[Point],
    labels: list[str] | None = None,
    color: Color = "red",
    radius: int | None = None,
) -> Observation:
    """Draw dots on a copy of a picture, to mark or to check places.

    Args:
        image: Picture to draw on.
        points: Places to mark, at most 64.
        labels: Words for each place, in the same order, at most 40 characters each.
        color: Colour of dots and labels.
        radius: Radius of the dots in pixels of the picture, 1 to 100; by the picture's size
            where left out.
    """
    check_count("points", points, 1, MOST_PLACES)
    words = check_labels(labels, len(points))
    if radius is not None:
        check_range("radius", radius, 1, WIDEST)
    size = radius or 2 * line_width(image.size)
    canvas = Canvas(image)
    for point in points:
        canvas.dot(point, COLORS[color], size)
    for point, text in zip(points, words, strict=True):
        canvas.label(text, around(point, size, image), COLORS[color], text_size(image.size))
    return canvas.observe()


def around(point: Point, radius: float, image: Image) -> Box:
    """The box about a dot."""
    dx, dy = radius / image.size[0], radius / image.size[1]
    return Box(clamp(point.x - dx), clamp(point.y - dy), clamp(point.x + dx), clamp(point.y + dy))
