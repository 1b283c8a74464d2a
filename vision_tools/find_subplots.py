"""The panel finder: the subplots of a figure, parted by the paper between them."""

from __future__ import annotations

from dataclasses import dataclass

from vtool.errors import FaultCode, ModelFault
from vtool.media import Image
from vtool.tool import Finding, Observation, Settings, tool

from .backends.chart import ink
from .backends.ocr import unit_box
from .backends.panels import find_panels


@dataclass(frozen=True, slots=True)
class FindSubplotsSettings(Settings):
    """How panels are found.

    Args:
        gap: Paper between panels, as a share of the figure's smaller side.
        side: Share of the figure's sides below which a piece (a title, a legend) is no panel.
        max_panels: Beyond so many the picture is no figure of panels.
    """

    gap: float = 0.012
    side: float = 0.12
    max_panels: int = 36


@tool(version="1")
def find_subplots(
    image: Image, settings: FindSubplotsSettings = FindSubplotsSettings()
) -> Observation:
    """Find the panels of a figure: its subplots, with their titles and axis labels.

    Panels are parted by bands of empty paper; panels that touch count as one.

    Args:
        image: Picture of a figure.
        settings: How it is done; chosen by people.
    """
    if min(image.size) < 32:
        raise ModelFault(
            FaultCode.TOO_SMALL, f"the picture is {image.size[0]}x{image.size[1]} pixels: no figure"
        )
    gap = max(6, round(settings.gap * min(image.size)))
    panels = find_panels(ink(image.pixels), min_gap=gap, min_side=settings.side)
    if not panels or len(panels) > settings.max_panels:
        return Observation(text="no panels found")
    found = tuple(
        Finding(unit_box((p.x0, p.y0, p.x1, p.y1), image.size), f"panel {i}")
        for i, p in enumerate(panels, 1)
    )
    return Observation(found=found)
