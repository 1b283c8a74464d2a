"""The draw_box tool: outlines of boxes, with labels."""

from __future__ import annotations

from vtool.geometry import Box
from vtool.media import Image
from vtool.tool import Observation, tool

from .drawing import COLORS, WIDEST, Canvas, Color, check_labels, line_width, text_size
from .limits import MOST_PLACES, check_count, check_range


@tool
def draw_box(
    image: Image,
    boxes: list[Box],
    labels: list[str] | None = None,
    color: Color = "red",
    width: int | None = None,
) -> Observation:
    """Draw the outlines of boxes on a copy of a picture, to mark or to check places.

    Args:
        image: Picture to draw on.
        boxes: Boxes to draw, at most 64.
        labels: Words for each box, in the same order, at most 40 characters each.
        color: Colour of lines and labels.
        width: Width of the lines in pixels of the picture, 1 to 100; by the picture's size where
            left out.
    """
    check_count("boxes", boxes, 1, MOST_PLACES)
    words = check_labels(labels, len(boxes))
    if width is not None:
        check_range("width", width, 1, WIDEST)
    canvas = Canvas(image)
    for box in boxes:
        canvas.frame(box, COLORS[color], width or line_width(image.size))
    for box, text in zip(boxes, words, strict=True):
        canvas.label(text, box, COLORS[color], text_size(image.size))
    return canvas.observe()
