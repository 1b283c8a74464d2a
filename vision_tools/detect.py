"""The detect tool: find things of eighty common kinds, on any machine, without a GPU."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vtool.media import Image
from vtool.needs import Package
from vtool.tool import Observation, Settings, tool

from .backends import nanodet
from .backends.catalogue import NANODET, NANODET_FILE
from .backends.coco80 import LABELS, is_other_word, known
from .backends.detection import Detection, surest
from .backends.phrases import checked, in_words
from .backends.shares import check_counts, check_shares


@dataclass(frozen=True)
class DetectSettings(Settings):
    """How sure the detector must be, and how much it may use."""

    threshold: float = 0.35
    """Least score."""
    overlap: float = 0.5
    """Of two boxes of one kind that share more of their union than this, the surer one stays."""
    most: int = 50
    """How many findings are told."""
    threads: int = 1

    def __post_init__(self) -> None:
        check_shares("detect", self, "threshold", "overlap")
        check_counts("detect", self, "most", "threads")


NEEDS = (Package("onnxruntime", "vision"), NANODET.needed())


@tool(needs=NEEDS, seconds=30, concurrency=4)
def detect(
    image: Image, labels: list[str] | None = None, settings: DetectSettings = DetectSettings()
) -> Observation:
    """Find people, animals, vehicles and common household things in a picture.

    Knows the 80 kinds of COCO and nothing else.

    Args:
        image: Picture to look into.
        labels: Kinds to look for, such as ["person", "dog"]; all 80 where left out.
        settings: How sure the detector must be.
    """
    if labels is None:
        found = look(image, LABELS, settings)
        return told(found, "nothing of the 80 kinds found")
    asked = {phrase: known(phrase, "labels") for phrase in checked(labels, "labels")}
    kinds = list(dict.fromkeys(asked.values()))
    found = look(image, kinds, settings)
    return told(found, f"no {in_words(kinds)} found", stand_ins(asked))


def look(image: Image, kinds: Sequence[str], settings: DetectSettings) -> list[Detection]:
    """What the network sees of these kinds, the surest first."""
    network = nanodet.load(NANODET.folder / NANODET_FILE, settings.threads)
    found = network.find(
        image, threshold=settings.threshold, overlap=settings.overlap, only=frozenset(kinds)
    )
    return surest(found, settings.most)


def told(found: Sequence[Detection], otherwise: str, note: str = "") -> Observation:
    """Findings, or the words for none, and a note."""
    words = [] if found else [otherwise]
    return Observation(
        text="; ".join([*words, *([note] if note else [])]),
        found=tuple(d.finding() for d in found),
    )


def stand_ins(asked: dict[str, str]) -> str:
    """What was looked for where the words were others: `looked for cup by mug`."""
    other = [f"{kind!r} for {said!r}" for said, kind in asked.items() if is_other_word(said, kind)]
    return f"looked for {', '.join(other)}" if other else ""
