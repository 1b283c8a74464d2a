"""Which segmenter: the user's choice, and what it needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from vtool.needs import Lack, Package, Weights
from vtool.tool import Settings

from .grabcut import GrabCut
from .prompts import Segmenter


@dataclass(frozen=True)
class SegmentSettings(Settings):
    """Which segmenter cuts, and with which weights."""

    backend: Literal["grabcut", "sam", "sam2"] = "grabcut"
    """`grabcut` needs no weights and separates colours only; `sam` and `sam2` need yours."""
    model: str | None = None
    """For `sam` a safetensors file, for `sam2` a local folder or a hub name."""
    device: str = "cpu"
    local_files_only: bool = False
    """Whether the hub is left alone (`sam2`)."""


DEFAULTS = SegmentSettings()


@dataclass(frozen=True, slots=True)
class SegmenterNeed:
    """What the chosen backend needs.

    Args:
        command: Name of the tool, for the line that mends it.
    """

    command: str

    def lack(self, settings: object) -> Lack | None:
        """The first thing that is missing."""
        backend = getattr(settings, "backend", "grabcut")
        if backend == "grabcut":
            return Package("cv2", "vision").lack(settings)
        if backend == "sam":
            library, example = Package("segment_anything", "segment"), "sam_vit_b.safetensors"
        else:
            library, example = Package("transformers", "train"), "facebook/sam2.1-hiera-tiny"
        needs = (Package("torch", "train"), library, Weights("model", example, self.command))
        return next((lack for lack in (n.lack(settings) for n in needs) if lack), None)


def segmenter(settings: SegmentSettings) -> Segmenter:
    """The chosen segmenter, loaded once."""
    if settings.backend == "sam":
        from .sam import load_sam

        return load_sam(settings.model or "", settings.device)
    if settings.backend == "sam2":
        from .sam2 import load_sam2

        return load_sam2(settings.model or "", settings.device, settings.local_files_only)
    return GrabCut()
