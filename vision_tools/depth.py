"""The depth tool: depth of one picture, by the user's checkpoint."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from vtool.camera import Camera
from vtool.errors import RecipeError
from vtool.geometry import Size
from vtool.media import Image
from vtool.needs import Package, Weights
from vtool.store import DepthMap
from vtool.tool import Observation, Settings, Way, tool

from .backends import mono_depth
from .backends.mono_depth import Says
from .backends.settings import positive
from .backends.wording import depth_words


@dataclass(frozen=True)
class DepthSettings(Settings):
    """Which checkpoint estimates depth, and what is known of the camera."""

    model: str | None = None
    """Local folder or hub name of a depth estimation checkpoint."""
    device: str = "cpu"
    says: Literal["auto", "metres", "farther", "nearer"] = "auto"
    """What the checkpoint's numbers are; `auto` reads its config."""
    local_files_only: bool = False
    """Whether the hub is left alone."""
    focal_px: float | None = None
    """Focal length in pixels of the pictures as given (a resized one has another); places in
    space need it or `view_degrees`."""
    view_degrees: float | None = None
    """Or the angle that whole pictures span from left to right; a crop spans less."""

    def __post_init__(self) -> None:
        positive("depth", self, "focal_px", "view_degrees")
        if self.focal_px is not None and self.view_degrees is not None:
            raise RecipeError("set depth.focal_px or depth.view_degrees, not both")
        if self.view_degrees is not None and self.view_degrees >= 180:
            raise RecipeError(f"depth.view_degrees lies below 180, got {self.view_degrees}")


@tool(
    needs=(
        Package("torch", "train"),
        Package("transformers", "train"),
        Weights("model", "depth-anything/Depth-Anything-V2-Small-hf", "depth"),
    ),
    seconds=120,
    concurrency=1,
    isolated=True,
)
def depth(image: Image, settings: DepthSettings = DepthSettings()) -> Observation:
    """Estimate the depth of every pixel of a picture; larger is farther.

    Args:
        image: Picture to look at.
        settings: Checkpoint and camera.
    """
    loaded = mono_depth.load(
        settings.model or "",
        device=settings.device,
        says=settings.says,
        local_files_only=settings.local_files_only,
    )
    metric = loaded.says is Says.METRES
    made = DepthMap(loaded.depth(image), metric, camera_of(settings, image.size))
    kind = (
        "estimated in metres" if metric else "relative: only the order holds, 0 nearest, 1 farthest"
    )
    return Observation((made,), depth_words(made, kind), ways=((Way(image),),))


@depth.warm
def load(settings: DepthSettings) -> None:
    """Load the checkpoint before the first call's clock runs."""
    mono_depth.load(
        settings.model or "",
        device=settings.device,
        says=settings.says,
        local_files_only=settings.local_files_only,
    )


def camera_of(settings: DepthSettings, size: Size) -> Camera | None:
    """The camera as people described it, for a picture of that size."""
    if settings.focal_px is not None:
        return Camera.centred(settings.focal_px, size)
    if settings.view_degrees is not None:
        return Camera.seeing(settings.view_degrees, size)
    return None
