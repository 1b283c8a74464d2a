"""A pinhole camera: what turns a depth map into points in space."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vtool.errors import MediaError
from vtool.geometry import Size


@dataclass(frozen=True, slots=True)
class Camera:
    """A camera without distortion, in pixels of the map that it belongs to.

    Args:
        fx: Focal length in pixels, across.
        fy: Focal length in pixels, down.
        cx: Column at which the optical axis meets the map; the first column's centre is 0.
        cy: Row at which it does; the first row's centre is 0.

    Raises:
        MediaError: A number that is not finite, or a focal length that is not positive.
    """

    fx: float
    fy: float
    cx: float
    cy: float

    def __post_init__(self) -> None:
        values = (self.fx, self.fy, self.cx, self.cy)
        if not all(math.isfinite(v) for v in values) or min(self.fx, self.fy) <= 0:
            raise MediaError(f"camera needs finite numbers and focal lengths above 0, got {values}")

    @classmethod
    def centred(cls, focal_px: float, size: Size) -> Camera:
        """Square pixels, the axis through the middle of a map of that width and height."""
        return cls(focal_px, focal_px, (size[0] - 1) / 2, (size[1] - 1) / 2)

    @classmethod
    def seeing(cls, degrees: float, size: Size) -> Camera:
        """The centred camera whose map of that width spans so many degrees from side to side.

        Raises:
            MediaError: An angle that no plane picture spans.
        """
        if not 0 < degrees < 180:
            raise MediaError(f"a field of view lies between 0 and 180 degrees, got {degrees}")
        return cls.centred(size[0] / 2 / math.tan(math.radians(degrees) / 2), size)

    def lift(
        self, columns: NDArray[np.float64], rows: NDArray[np.float64], depth: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Points of pixels at a depth along the axis.

        Args:
            columns: Pixel columns (...,); the first column's centre is 0.
            rows: Pixel rows (...,).
            depth: Distance along the optical axis (...,), in the unit of the result.

        Returns:
            Points (..., 3): x right, y down, z forward.

        Source: Hartley and Zisserman, Multiple View Geometry, 2nd edition, eq. 6.1, inverted.
        """
        x = (columns - self.cx) / self.fx * depth
        y = (rows - self.cy) / self.fy * depth
        return np.stack([x, y, depth], axis=-1)
