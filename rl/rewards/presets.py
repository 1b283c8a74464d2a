"""Hierarchies ready by name: gate -> outcome -> process, in two halves, for each kind of task.

The levels are the same everywhere. The gate asks whether the episode is well formed and answers
what was asked for; the outcome whether the answer is right, in steps where the task is graded;
the process, worth less than one step, has an evidence half (did the deciding look cover the target,
in the source's coordinates) and an economy half (calls, pixels, tokens). A half that does not
apply to a task leaves the other one whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from vtool.errors import UnknownName

GATE_VALUE = 0.1
SHARE = 0.5
ECONOMY = {"economy": 0.5, "economy_pixels": 0.25, "economy_tokens": 0.25}
"""Calls count half, pixels and tokens a quarter each."""
TENTH = 0.1
"""Outcomes that are shares are compared by tenths: below that, the process decides."""


@dataclass(frozen=True, slots=True)
class Preset:
    """A hierarchy by name.

    Args:
        name: Of the kind of task.
        outcome: Part in [0, 1] that says how right the answer is.
        step: Smallest difference between outcomes that counts; 1 for right or wrong.
        evidence: Parts of the evidence half.
        economy: Parts of the economy half and their weights.
        about: What the task asks for, and what the outcome measures.
        example: Marks of a worked example, by part; None where a part does not apply.
    """

    name: str
    outcome: str
    step: float
    evidence: Mapping[str, float]
    about: str
    example: Mapping[str, float | None]
    economy: Mapping[str, float] = field(default_factory=lambda: dict(ECONOMY))
    gate: str = "format"

    @property
    def parts(self) -> tuple[str, ...]:
        """Parts to judge, the gate first."""
        return (self.gate, self.outcome, *self.evidence, *self.economy)

    @property
    def options(self) -> dict[str, Any]:
        """Of the combine `hierarchy`."""
        return {
            "gate": self.gate,
            "outcome": self.outcome,
            "process": {"evidence": dict(self.evidence), "economy": dict(self.economy)},
            "gate_value": GATE_VALUE,
            "share": SHARE,
            "step": self.step,
        }


LOOK = {"evidence_iou": 1.0}
_CALM = {"economy": 1.0, "economy_pixels": 1.0, "economy_tokens": 1.0}

PRESETS: dict[str, Preset] = {
    p.name: p
    for p in (
        Preset(
            "vqa",
            "answer",
            1.0,
            LOOK,
            "A question with accepted answers. Right or wrong, by exact match after normalising.",
            {**_CALM, "format": 1.0, "answer": 1.0, "evidence_iou": 0.6, "economy": 0.5},
        ),
        Preset(
            "multiple_choice",
            "answer",
            1.0,
            LOOK,
            "One of several options, by letter or by its words. An answer that names several picks "
            "none.",
            {**_CALM, "format": 1.0, "answer": 1.0, "evidence_iou": None, "economy_tokens": 0.8},
        ),
        Preset(
            "grounding",
            "box_iou",
            TENTH,
            LOOK,
            "Boxes of everything asked for. Graded: the best one-to-one matching, over the larger "
            "count, so that a box too many costs as much as one too few.",
            {**_CALM, "format": 1.0, "box_iou": 0.74, "evidence_iou": 0.5, "economy": 0.5},
        ),
        Preset(
            "segmentation",
            "mask_iou",
            TENTH,
            LOOK,
            "Masks, named by the handles of what a tool made. Graded, matched as boxes are.",
            {**_CALM, "format": 1.0, "mask_iou": 0.81, "evidence_iou": 0.9, "economy": 0.5},
        ),
        Preset(
            "pointing",
            "point_final",
            TENTH,
            LOOK,
            "Points. Graded: 1 inside the area that holds the answer, else by distance (NNDC).",
            {**_CALM, "format": 1.0, "point_final": 0.6062, "evidence_iou": 0.4, "economy": 1.0},
        ),
        Preset(
            "temporal_localization",
            "span_iou",
            TENTH,
            {"evidence_span": 1.0},
            "A stretch of a video. Graded by temporal IoU.",
            {**_CALM, "format": 1.0, "span_iou": 0.5, "evidence_span": 1.0, "economy": 0.5},
        ),
        Preset(
            "grounded_video_qa",
            "grounded_answer",
            1.0,
            {"span_iou": 1.0, "evidence_span": 1.0},
            "A question about a video, answered with the stretch that shows it. The answer is the "
            "outcome; the stretch named, and whether it was looked at, are its evidence.",
            {
                **_CALM,
                "format": 1.0,
                "grounded_answer": 1.0,
                "span_iou": 0.4,
                "evidence_span": 1.0,
                "economy": 0.5,
            },
        ),
        Preset(
            "multi_attribute",
            "attributes",
            TENTH,
            LOOK,
            "Several attributes in one answer. Graded: the mean of their token F1; one left out "
            "counts 0.",
            {**_CALM, "format": 1.0, "attributes": 5 / 6, "evidence_iou": None, "economy": 1.0},
        ),
    )
}


def preset(name: str) -> Preset:
    """A hierarchy by the kind of task.

    Raises:
        UnknownName: Names the nearest.
    """
    if name not in PRESETS:
        raise UnknownName("reward preset", name, PRESETS)
    return PRESETS[name]
