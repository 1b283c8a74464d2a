"""The crop as an isolated tool, where a worker process can import it."""

from __future__ import annotations

from vtool.geometry import Box
from vtool.media import Image
from vtool.tool import tool


@tool(isolated=True, version="1")
def far_crop(image: Image, box: Box) -> Image:
    """Cut a part out, in a worker process.

    Args:
        image: Of what.
        box: Which part.
    """
    return image.crop(box)
