"""The ground tool: find what phrases describe, by the user's open-vocabulary checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vtool.media import Image
from vtool.needs import Package, Weights
from vtool.tool import Observation, Settings, tool

from .backends import zero_shot
from .backends.detection import Detection, surest
from .backends.extent import check_extent
from .backends.phrases import checked, in_words
from .backends.shares import check_counts, check_shares


@dataclass(frozen=True)
class GroundSettings(Settings):
    """Which checkpoint finds phrases, and how sure it must be."""

    model: str | None = None
    """Local folder or hub name of a Grounding DINO, OWLv2 or OWL-ViT checkpoint."""
    device: str = "cpu"
    threshold: float | None = None
    """Least score; left out: 0.25 for Grounding DINO, 0.1 for OWL."""
    text_threshold: float = 0.25
    """Grounding DINO only: least score of a phrase's own words."""
    overlap: float | None = 0.5
    """Of two boxes of one phrase that share more of their union than this, the surer one stays;
    none is dropped where this is null."""
    most: int = 50
    """How many findings are told."""
    local_files_only: bool = False
    """Whether the hub is left alone."""

    def __post_init__(self) -> None:
        check_shares("ground", self, "threshold", "text_threshold", "overlap")
        check_counts("ground", self, "most")


NEEDS = (
    Package("torch", "train"),
    Package("transformers", "train"),
    Weights("model", "IDEA-Research/grounding-dino-tiny", "ground"),
)


@tool(needs=NEEDS, seconds=120, concurrency=1, isolated=True)
def ground(
    image: Image, phrases: list[str], settings: GroundSettings = GroundSettings()
) -> Observation:
    """Find everything in a picture that fits one of some free descriptions.

    Args:
        image: Picture to look into.
        phrases: What to find, each a short noun phrase such as "the red mug".
        settings: Checkpoint and thresholds.
    """
    asked = checked(phrases, "phrases")
    found = look(image, asked, settings)
    text = "" if found else f"no {in_words(asked)} found"
    return Observation(text=text, found=tuple(d.finding() for d in found))


@ground.warm
def load(settings: GroundSettings) -> None:
    """Load the checkpoint before the first call's clock runs."""
    zero_shot.load(
        settings.model or "", device=settings.device, local_files_only=settings.local_files_only
    )


def look(image: Image, phrases: Sequence[str], settings: GroundSettings) -> list[Detection]:
    """What the checkpoint sees of these phrases, the surest first."""
    check_extent(image)
    network = zero_shot.load(
        settings.model or "", device=settings.device, local_files_only=settings.local_files_only
    )
    found = network.find(
        image,
        phrases,
        threshold=settings.threshold,
        text_threshold=settings.text_threshold,
        overlap=settings.overlap,
    )
    return surest(found, settings.most)
