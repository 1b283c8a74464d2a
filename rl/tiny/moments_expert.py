"""What an expert writes and sees in the moment world, frame by frame as at run time.

It looks coarse to fine: from the two dark frames of the glance to the stretch between them and,
where a span is asked for, from the frames around the flash to that stretch again. Its thoughts are
notes, frame by frame, up to the one that decides. Every time that it writes stands in what it was
shown or in its notes, so that times are copied and never computed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from tokenizers import Tokenizer

from vtool.errors import FaultCode
from vtool.families import QwenVL
from vtool.families.base import PixelSpec
from vtool.geometry import Span
from vtool.media import Clip, Image
from vtool.video.budget import middles, seconds, told
from vtool.worlds.drawing import Pixels
from vtool.worlds.moments import GLANCE, SIDE, Ask, Moment, draw
from vtool.worlds.moments_play import at_random, write_answer

from .expert import Demo
from .spec import FAMILY
from .tokenizer import SECONDS, TENTHS, train

COUNT: Final = 8
"""Frames of a look."""
VIDEO: Final = "$video_1"
LEARNT: Final = 640
"""Ids given to text."""
SPEC: Final = PixelSpec(
    patch=8,
    merge=2,
    temporal=2,
    # Bounds around 32 * 32: a frame is four tokens, one for each quarter.
    min_pixels=28 * 28,
    max_pixels=36 * 36,
    mean=(0.5, 0.5, 0.5),
    std=(0.5, 0.5, 0.5),
)
MOMENTS: Final[QwenVL] = FAMILY.with_spec(SPEC)


REFUSAL: Final = json.dumps(
    {
        "error": {
            "code": FaultCode.UNKNOWN_TOOL.value,
            "message": "there is no tool 'resample'",
            "hint": "no tools here",
        }
    }
)
"""What is read instead of frames where the tool is off."""


@dataclass(frozen=True, slots=True)
class Frames:
    """Frames as shown: rows of the video, the times told, and the words below them."""

    rows: tuple[int, ...]
    times: tuple[float, ...]
    words: str = ""
    """Without frames: what was said instead of showing them."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn of the policy: a thought, then a look or an answer."""

    thought: str
    answer: str | None = None
    window: tuple[float, float] | None = None

    @property
    def text(self) -> str:
        """What the policy writes, without the end token."""
        if self.window is None:
            return f"{self.thought}\n<answer>{self.answer}</answer>"
        call = {"name": "resample", "arguments": {"video": VIDEO, "span": list(self.window)}}
        return f"{self.thought}\n<tool_call>\n{json.dumps(call)}\n</tool_call>"


def glance(moment: Moment) -> Frames:
    """The first look, part of the question."""
    return _shown(moment, Span(0.0, moment.seconds), GLANCE, words=False)


def look(moment: Moment, window: tuple[float, float]) -> Frames:
    """What `resample` shows of a stretch inside the video."""
    return _shown(moment, Span(*window), COUNT, words=True)


def _shown(moment: Moment, span: Span, count: int, *, words: bool) -> Frames:
    # As `read_clip` asks: a time that was told to the millisecond is the same frame.
    rows = sorted({moment.row_at(t + 0.0005) for t in middles(span, count)})
    times = tuple(int(moment.ticks[r]) / 10 for r in rows)
    line = told(Clip(tuple(Image(moment.frame(r)) for r in rows), times), count) if words else ""
    return Frames(tuple(rows), times, line)


def cued_window(moment: Moment, first: Frames) -> tuple[float, float]:
    """The stretch between the two cued frames of the glance."""
    cued = [
        t
        for r, t in zip(first.rows, first.times, strict=True)
        if moment.cue[0] <= r < moment.cue[1]
    ]
    return cued[0], cued[-1]


def around(moment: Moment, seen: Frames, window: tuple[float, float]) -> tuple[float, ...] | None:
    """Times before the flash, of its first frame, and after its last; None if it is not seen."""
    lit = [i for i, r in enumerate(seen.rows) if moment.flash[0] <= r < moment.flash[1]]
    if not lit:
        return None
    before = seen.times[lit[0] - 1] if lit[0] else window[0]
    after = seen.times[lit[-1] + 1] if lit[-1] + 1 < len(seen.times) else window[1]
    return before, seen.times[lit[0]], after


def turns(moment: Moment, ask: Ask, *, fine: bool = True) -> tuple[list[Turn], list[Frames]]:
    """What the expert writes, and what it is shown before each turn.

    Args:
        moment: The video.
        ask: The question.
        fine: Look again, closer, before a span is answered.
    """
    shown = [glance(moment)]
    window = cued_window(moment, shown[0])
    made = [Turn(glance_notes(moment, shown[0]), window=window)]
    shown.append(look(moment, window))
    found = around(moment, shown[-1], window)
    if found is None:
        raise ValueError("the flash cannot be missed between the cued frames")
    if ask.timed and fine and found[2] - found[0] > 0.2:
        window = (found[0], found[2])
        made.append(Turn(look_notes(moment, shown[-1]), window=window))
        shown.append(look(moment, window))
        found = around(moment, shown[-1], window) or found
    answer = answer_of(moment, ask, (found[1], found[2]))
    made.append(Turn(look_notes(moment, shown[-1]), answer=answer))
    return made, shown


def refused(moment: Moment, ask: Ask, rng: np.random.Generator) -> tuple[list[Turn], list[Frames]]:
    """An episode whose look is refused: the expert says what it would have looked at, and guesses.

    A span is the whole stretch between the cued frames, a word is any of its kind.
    """
    first = glance(moment)
    window = cued_window(moment, first)
    guess = at_random(moment.seconds, rng, Ask.WHERE if ask is Ask.WHERE else Ask.WHAT)
    answer = write_answer(ask, guess, guess, Span(*window))
    made = [
        Turn(glance_notes(moment, first), window=window),
        Turn(", ".join(f"{seconds(t)} dark" for t in window), answer=answer),
    ]
    return made, [first, Frames((), (), REFUSAL)]


def word(moment: Moment, row: int) -> str:
    """What is noted of one frame."""
    if moment.flash[0] <= row < moment.flash[1]:
        return f"{moment.color} {moment.place}"
    return "dark" if moment.cue[0] <= row < moment.cue[1] else "light"


def notes(moment: Moment, seen: Frames, last: int) -> str:
    """Frame by frame, up to and with one of them."""
    pairs = list(zip(seen.times, seen.rows, strict=True))[: last + 1]
    return ", ".join(f"{seconds(t)} {word(moment, row)}" for t, row in pairs)


def glance_notes(moment: Moment, first: Frames) -> str:
    """Notes on the glance, up to the second dark frame: the window's ends are the last two."""
    dark = [i for i, r in enumerate(first.rows) if moment.cue[0] <= r < moment.cue[1]]
    return notes(moment, first, dark[-1])


def look_notes(moment: Moment, seen: Frames) -> str:
    """Notes on a look, up to the first frame after the flash, or to the end."""
    lit = [i for i, r in enumerate(seen.rows) if moment.flash[0] <= r < moment.flash[1]]
    return notes(moment, seen, lit[-1] + 1 if lit else len(seen.rows))


def answer_of(moment: Moment, ask: Ask, span: tuple[float, float]) -> str:
    """The answer, with the span that was seen."""
    return write_answer(ask, moment.color, moment.place, Span(*span))


def new_tokenizer(count: int = 300) -> Tokenizer:
    """The tokenizer of this world's policies: a time is two tokens, a word is one."""
    return train(example_texts(count), SECONDS, TENTHS, LEARNT)


class MomentScribe:
    """Turns into ids, piece by piece as the renderer writes them.

    Args:
        tokenizer: Of the policy.
        family: How large it is shown a frame.
    """

    def __init__(self, tokenizer: Tokenizer, family: QwenVL = MOMENTS) -> None:
        self.tokenizer = tokenizer
        self.image = tokenizer.token_to_id("<|image_pad|>")
        side = family.shown_size((SIDE, SIDE))[0]
        pads = "<|image_pad|>" * (side // family.spec.factor) ** 2
        self.frame = f"<|vision_start|>{pads}<|vision_end|>"

    def encode(self, text: str) -> list[int]:
        """Ids of a text with its control tokens."""
        return list(self.tokenizer.encode(text, add_special_tokens=False).ids)

    def prompt(self, moment: Moment, ask: Ask, first: Frames) -> str:
        """Up to the policy's first token."""
        described = f"{VIDEO} ({moment.seconds:.2f} s, {SIDE}x{SIDE})"
        return (
            f"<|im_start|>user\n{self.clip(first)}{described}\n{ask.words}"
            "<|im_end|>\n<|im_start|>assistant\n"
        )

    def observation(self, seen: Frames) -> str:
        """Between the end of a call and the policy's next token."""
        shown = f"{self.clip(seen)}\n" if seen.rows else ""
        return (
            f"\n<|im_start|>user\n<tool_response>\n{shown}{seen.words}"
            "\n</tool_response><|im_end|>\n<|im_start|>assistant\n"
        )

    def write(
        self, moment: Moment, ask: Ask, made: Sequence[Turn], shown: Sequence[Frames]
    ) -> Demo:
        """Tokenise an episode; ``made`` may stop before the answer."""
        ids: list[int] = []
        learn: list[bool] = []
        views: list[Pixels] = []
        for i, (turn, seen) in enumerate(zip(made, shown, strict=False)):
            said = self.observation(seen) if i else self.prompt(moment, ask, seen)
            for text, mine in ((said, False), (f"{turn.text}<|im_end|>", True)):
                more = self.encode(text)
                ids += more
                learn += [mine] * len(more)
            views += [moment.frame(r) for r in seen.rows]
        return Demo(ids, learn, views, moment)

    def say(self, asked: str, said: str, views: list[Pixels], moment: Moment) -> Demo:
        """One question and one answer in the words given."""
        prompt = f"<|im_start|>user\n{asked}<|im_end|>\n<|im_start|>assistant\n"
        front, mine = self.encode(prompt), self.encode(f"{said}<|im_end|>")
        learn = [False] * len(front) + [True] * len(mine)
        return Demo([*front, *mine], learn, views, moment)

    def clip(self, seen: Frames) -> str:
        """Frames with their times before them."""
        return "".join(f"<{t:.1f} seconds>{self.frame}" for t in seen.times)


def example_texts(count: int = 300) -> list[str]:
    """Texts to train the tokenizer on: every template, colour and place, without its numbers."""
    texts = []
    for seed in range(count):
        moment = draw(seed)
        for ask in Ask:
            made, shown = turns(moment, ask)
            said = [t.text for t in made] + [f.words for f in shown[1:]]
            texts += [f"user\nassistant\n{VIDEO} (\n s, {SIDE}x{SIDE})\n{ask.words}"]
            texts += [re.sub(r"[0-9]+\.?[0-9]*", "\n", s) for s in said]
            texts += [" seconds>", ", ", f" {moment.color}", f" {moment.place}", moment.color]
            texts += [" light,", " dark,", f" {moment.place},"]
    return texts
