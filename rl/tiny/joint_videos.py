"""Videos in the joint policy: the words of the moment world, its episodes, its drills.

Frames are shown as every picture of the joint policy is, 64x64 and sixteen tokens each, so that
what its vision tower knows of pictures holds for frames.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np
from tokenizers import AddedToken, Tokenizer

from vtool.worlds.moments import Ask, draw

from .expert import Demo, Scribe
from .moments_build import expert_demos
from .moments_drill import drills
from .moments_expert import MomentScribe, turns
from .spec import FAMILY
from .teach import Lesson
from .tokenizer import SECONDS, TENTHS

ROWS: Final = 768
"""Of the embedding; the policy of pictures has 680."""
WORDS: Final = (
    " dark, ",
    " light, ",
    " dark",
    " light",
    " flash",
    " seconds",
    " seconds>",
    " frames at ",
    " s, 64x64)",
    "when",
    " when",
    " and when?",
    "from",
    "$video_1",
    ' "resample",',
    ' {"video":',
    ' "span":',
)
"""Pieces of the moment world's texts that no other world's texts hold."""


def grown(known: Tokenizer) -> Tokenizer:
    """The same tokenizer with times (a time is two tokens) and the moment world's words.

    Texts without these are written as before, so that nothing must be learnt again. That is why
    seconds below ten stay what they were, the digits that other worlds read, and why `0.` is a
    piece: without it, ends of times would be found in shares such as 0.0213.
    """
    wider = Tokenizer.from_str(known.to_str())
    whole = [s for s in SECONDS if len(s) > 1]
    wider.add_tokens([AddedToken(s, single_word=True, normalized=False) for s in whole])
    wider.add_tokens([AddedToken(t, normalized=False) for t in (*TENTHS, "0.", *WORDS)])
    return wider


def frame_demos(count: int, scribe: Scribe, rng: np.random.Generator) -> list[Demo]:
    """Drills alone: copying times, and noting of each frame when it is and what it shows."""
    return drills(count, _videos(scribe), rng)


def episode_demos(
    count: int, lesson: Lesson, scribe: Scribe, rng: np.random.Generator
) -> list[Demo]:
    """Fresh episodes of the moment world's expert."""
    return expert_demos(replace(lesson, batch=count), _videos(scribe), rng)


def decided_demos(count: int, scribe: Scribe, rng: np.random.Generator) -> list[Demo]:
    """Drills without frames: an episode's notes are given, what follows from them is learnt.

    That is where to look, whether to look again, and which of what was noted is asked for.
    """
    return [_decided(_videos(scribe), rng) for _ in range(count)]


def _decided(videos: MomentScribe, rng: np.random.Generator) -> Demo:
    moment, ask = draw(int(rng.integers(1 << 40))), Ask(rng.choice(list(Ask)))
    ids: list[int] = []
    learn: list[bool] = []
    for i, (turn, seen) in enumerate(zip(*turns(moment, ask), strict=True)):
        told = replace(seen, rows=(), times=())
        said = videos.observation(told) if i else videos.prompt(moment, ask, told)
        rest = turn.text.removeprefix(turn.thought)
        for text, mine in ((said + turn.thought, False), (f"{rest}<|im_end|>", True)):
            more = videos.encode(text)
            ids += more
            learn += [mine] * len(more)
    return Demo(ids, learn, [], moment)


def _videos(scribe: Scribe) -> MomentScribe:
    return MomentScribe(scribe.tokenizer, FAMILY)
