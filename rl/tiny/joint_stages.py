"""How the joint policy learns videos: stage by stage, each with what a batch holds.

Frames are noted first, then whole episodes are met. Tenths of seconds stay at guessing in both;
drills in looking them up, alone at first, mend that. What is known of pictures is lost where it is
not met again, so that every stage but the drills holds episodes of all worlds of pictures, and the
last one holds little else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from .expert import Demo, Scribe
from .joint_expert import WORLDS
from .joint_times import framed, retold, time_drills
from .joint_videos import decided_demos, episode_demos, frame_demos
from .teach import Lesson, Source

DRILLS: Final = 3
"""Short texts beside episodes of pictures, for each world that has a drill."""


@dataclass(frozen=True, slots=True)
class Mixture:
    """What a batch holds."""

    pictures: Mapping[str, int] = field(default_factory=dict)
    """Episodes of each world of pictures."""
    drills: int = DRILLS
    """Short texts for each of these that has a drill."""
    episodes: int = 0
    """Of the moment world."""
    decided: int = 0
    """Drills in what follows from notes."""
    frames: int = 0
    """Drills in noting frames."""
    times: int = 0
    """Drills in looking times up."""
    framed: int = 0
    """The same with frames between the times."""
    retold: int = 0
    """Episodes of the moment world without pictures; only times are learnt."""


def beside(mixture: Mixture, pictures: Source) -> Source:
    """A source of batches: what a mixture holds of videos, and its pictures."""

    def source(lesson: Lesson, scribe: Scribe, rng: np.random.Generator) -> list[Demo]:
        short = time_drills(mixture.times, scribe, rng)
        short += [framed(scribe, rng) for _ in range(mixture.framed)]
        short += [retold(scribe, rng) for _ in range(mixture.retold)]
        noted = frame_demos(mixture.frames, scribe, rng)
        videos = episode_demos(mixture.episodes, lesson, scribe, rng)
        decided = decided_demos(mixture.decided, scribe, rng)
        return [*short, *noted, *videos, *decided, *pictures(lesson, scribe, rng)]

    return source


def _worlds(*counts: int) -> dict[str, int]:
    """Episodes of the zoom world, and of the others in the order of `WORLDS`."""
    return dict(zip(("zoom", *WORLDS), counts, strict=True))


STAGES: Final = (
    (
        Lesson("joint, frames", 300, 2e-3, frozen=True),
        Mixture(_worlds(3, 5, 2, 4, 2, 3, 3), frames=16),
    ),
    (
        Lesson("joint, videos", 550, 2e-3, frozen=True, cosine=True),
        Mixture(_worlds(2, 5, 1, 4, 1, 2, 2), episodes=7, frames=3, decided=6),
    ),
    (
        Lesson("joint, times", 380, 2.5e-3, frozen=True, cosine=True),
        Mixture(_worlds(2, 4, 1, 3, 1, 2, 1), episodes=1, frames=21, decided=3),
    ),
    # Alone: in a mix their gradient is drowned at first.
    (Lesson("joint, lookup", 200, 2.5e-3, frozen=True), Mixture(times=64, frames=4)),
    (
        Lesson("joint, tenths", 200, 2.5e-3, frozen=True),
        Mixture(_worlds(5, 3, 1, 2, 1, 2, 2), episodes=3, frames=5, decided=4, times=32, framed=12),
    ),
    (
        Lesson("joint, settling", 420, 2.2e-3, frozen=True, cosine=True),
        Mixture(
            _worlds(7, 4, 2, 3, 1, 3, 3),
            episodes=5,
            frames=3,
            decided=2,
            times=12,
            framed=3,
            retold=8,
        ),
    ),
    (
        Lesson("joint, refreshed", 450, 1.5e-3, frozen=True, cosine=True),
        Mixture(_worlds(16, 6, 1, 10, 1, 4, 7), 6, episodes=2, frames=1, times=4, retold=3),
    ),
)
