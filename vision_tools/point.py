"""The point tool: the middle of what a detector is surest of, or where a model says it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from vtool.media import Image
from vtool.needs import Lack, Need, Package, Weights
from vtool.tool import Finding, Observation, Settings, tool

from . import detect, ground
from .backends import vlm_point
from .backends.coco80 import is_other_word, known
from .backends.detection import Detection
from .backends.phrases import checked
from .detect import DetectSettings
from .ground import GroundSettings


@dataclass(frozen=True)
class PointSettings(Settings):
    """Which detector is asked."""

    backend: Literal["detect", "ground", "vlm"] = "detect"
    """`detect` knows the 80 kinds of COCO; `ground` any phrase, by the user's detector; `vlm` any
    phrase, by the answer of a vision-language model that was taught to point."""
    model: str | None = None
    """For `ground` and `vlm`: local folder or hub name."""
    device: str = "cpu"
    threshold: float | None = None
    """Least score; the backend's own where left out."""
    local_files_only: bool = False

    def for_detect(self) -> DetectSettings:
        """As the detect tool has them."""
        return DetectSettings() if self.threshold is None else DetectSettings(self.threshold)

    def for_ground(self) -> GroundSettings:
        """As the ground tool has them."""
        return GroundSettings(
            model=self.model,
            device=self.device,
            threshold=self.threshold,
            local_files_only=self.local_files_only,
        )

    def __post_init__(self) -> None:
        self.for_detect()
        self.for_ground()


@dataclass(frozen=True, slots=True)
class _OfBackend:
    """A need that holds for one backend only."""

    backend: str
    need: Need

    def lack(self, settings: object) -> Lack | None:
        """Missing where that backend is chosen and lacks it."""
        chosen = getattr(settings, "backend", PointSettings.backend)
        return self.need.lack(settings) if chosen == self.backend else None


NEEDS = (
    *(_OfBackend("detect", n) for n in detect.NEEDS),
    *(_OfBackend("ground", n) for n in ground.NEEDS),
    *(
        _OfBackend("vlm", n)
        for n in (
            Package("torch", "train"),
            Package("transformers", "train"),
            Weights("model", "Qwen/Qwen2.5-VL-3B-Instruct", "point"),
        )
    ),
)


@tool(needs=NEEDS, seconds=120, concurrency=1)
def point(image: Image, phrase: str, settings: PointSettings = PointSettings()) -> Observation:
    """Point at the middle of a thing in a picture.

    Args:
        image: Picture to look into.
        phrase: What to point at, a short noun phrase.
        settings: Which detector is asked.
    """
    (asked,) = checked([phrase], "phrase")
    if settings.backend == "detect":
        kind = known(asked, "phrase")
        found = detect.look(image, [kind], settings.for_detect())
        note = f"looked for {kind!r}" if is_other_word(asked, kind) else ""
    elif settings.backend == "vlm":
        return _asked(image, asked, settings)
    else:
        found, note = ground.look(image, [asked], settings.for_ground()), ""
    return _told(found, asked, note)


def _asked(image: Image, phrase: str, settings: PointSettings) -> Observation:
    """What a model answers; it tells no score."""
    policy = vlm_point.policy_of(settings.model or "", settings.device, settings.local_files_only)
    found, note = vlm_point.points(image, phrase, policy)
    return Observation(text=note, found=tuple(Finding(p, phrase) for p in found[:1]))


def _told(found: list[Detection], asked: str, note: str) -> Observation:
    notes = [note] if note else []
    if not found:
        return Observation(text="; ".join([f"nothing found for {asked!r}", *notes]))
    if len(found) > 1:
        notes.append(f"{len(found)} found; this is the surest")
    best = found[0]
    return Observation(
        text="; ".join(notes), found=(Finding(best.box.center, best.label, best.score),)
    )
