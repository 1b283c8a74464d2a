"""Pictures that a guest sent, read like everything from outside."""

from __future__ import annotations

from vtool.errors import FaultCode, MediaError, ModelFault
from vtool.media import MAX_PIXELS, Image

from .limits import Limits, pixel_bound

_PNG = b"\x89PNG\r\n\x1a\n"


def read_picture(file: bytes, limits: Limits) -> Image:
    """A picture that a guest sent, decoded under the rules for everything from outside.

    Raises:
        ModelFault: `bad_image`.
    """
    try:
        check_png(file)
        return Image.decode(file, max_pixels=pixel_bound(limits) or MAX_PIXELS)
    except MediaError as err:
        raise ModelFault(FaultCode.BAD_IMAGE, f"a picture could not be shown: {err}") from None


def check_png(file: bytes) -> None:
    """One format is sent, and only that is opened.

    Raises:
        MediaError: It begins like something else.
    """
    if not file.startswith(_PNG):
        raise MediaError("not a PNG file")
