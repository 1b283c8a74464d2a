"""The segment_everything tool: all that SAM finds in a picture."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import cycle, islice

from vtool.errors import FaultCode, ModelFault, RecipeError
from vtool.geometry import Mask
from vtool.media import Image
from vtool.needs import Package, Weights
from vtool.tool import Finding, Observation, Settings, Way, tool

from .backends.paint import COLOURS, lay_over

MOST = 64


@dataclass(frozen=True)
class EverythingSettings(Settings):
    """SAM's weights and how it samples."""

    model: str | None = None
    """A safetensors file of SAM."""
    device: str = "cpu"
    points_per_side: int = 16
    """Of the grid that is tried."""
    least_iou: float = 0.86
    """Masks that SAM itself thinks worse of are left out."""
    least_stability: float = 0.9

    def __post_init__(self) -> None:
        if not 1 <= self.points_per_side <= 64:
            raise RecipeError(
                f"segment_everything.points_per_side is 1 to 64, got {self.points_per_side}"
            )


@tool(
    needs=(
        Package("torch", "train"),
        Package("segment_anything", "segment"),
        Weights("model", "sam_vit_b.safetensors", "segment_everything"),
    ),
    seconds=300,
    concurrency=1,
    isolated=True,
)
def segment_everything(
    image: Image,
    most: int = 16,
    show: bool = True,
    settings: EverythingSettings = EverythingSettings(),
) -> Observation:
    """Cut out everything that can be told apart, largest first; each mask gets a name.

    Args:
        image: Picture to look at.
        most: How many masks at most, 1 to 64.
        show: Whether to also show the picture with the masks laid over it.
        settings: Weights and sampling.
    """
    if not 1 <= most <= MOST:
        raise ModelFault(FaultCode.BAD_ARGS, f"most is 1 to {MOST}, got {most}", field="most")
    from .backends.sam import load_sam

    found = load_sam(settings.model or "", settings.device).everything(
        image,
        points_per_side=settings.points_per_side,
        pred_iou_thresh=settings.least_iou,
        stability_score_thresh=settings.least_stability,
    )
    kept = [s for s in found if s.cells.any()][:most]
    if not kept:
        return Observation(text="nothing was told apart")
    masks = [Mask(s.cells) for s in kept]
    told = tuple(
        Finding(m.box(), f"mask {i + 1}", s.score, facts={"share": round(m.area, 4)})
        for i, (m, s) in enumerate(zip(masks, kept, strict=True))
    )
    drawn = lay_over(image, masks, list(islice(cycle(COLOURS), len(masks))), 0.45)
    values = (*masks, drawn) if show else tuple(masks)
    words = f"{len(kept)} of {len(found)} masks"
    return Observation(values, words, found=told, ways=((Way(image),),) * len(values))
