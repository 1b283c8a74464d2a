"""What an expert writes and sees: complete episodes to learn the wire format from.

An episode is a list of pieces, each encoded on its own, as at run time: text by the template or
the user, text by the policy (learnt), and placeholders of the pictures shown.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from tokenizers import Tokenizer

from vtool.worlds import zoom as world
from vtool.worlds.drawing import Pixels
from vtool.worlds.moments import Moment

from .spec import FAMILY, SPEC
from .views import zoom

Region = tuple[float, float, float, float]
ROUND = 20
"""Boxes are written on a grid of this many thousandths."""


@dataclass(frozen=True, slots=True)
class Step:
    """One turn of the policy: a thought, then a call or an answer."""

    thought: str
    answer: str | None = None
    image: int = 1
    box: tuple[int, int, int, int] | None = None

    @property
    def text(self) -> str:
        """What the policy writes, without the end token."""
        if self.box is None:
            return f"{self.thought}\n<answer>{self.answer}</answer>"
        call = {"name": "zoom", "arguments": {"image": self.image, "box": list(self.box)}}
        return f"{self.thought}\n<tool_call>\n{json.dumps(call)}\n</tool_call>"


@dataclass(frozen=True, slots=True, eq=False)
class Demo:
    """A tokenised episode."""

    ids: list[int]
    learn: list[bool]
    """True where the policy wrote the token."""
    views: list[Pixels]
    """Crops of the original before resizing, in order; the first is the whole picture."""
    scene: world.Scene | Moment | None
    """What was drawn, where it is known."""


def jittered_box(
    target: world.PixelBox,
    picture: world.PixelBox,
    rng: np.random.Generator,
    margin: float = 1.2,
    noise: float = 4.0,
) -> tuple[int, int, int, int]:
    """A box around a target in thousandths of the picture, square in pixels.

    Args:
        target: xyxy in pixels of the original.
        picture: Region of the original that the picture shows.
        rng: For the jitter; one box in eight is not square.
        margin: Side of the box over the side of the target.
        noise: Standard deviation of the centre, in thousandths.
    """
    width, height = picture[2] - picture[0], picture[3] - picture[1]
    side = max(target[2] - target[0], target[3] - target[1]) * margin
    stretch = float(np.exp(rng.normal(0, 0.2))) if rng.random() < 0.125 else 1.0
    out = []
    for low, high, start, length, s in (
        (target[0], target[2], picture[0], width, side * stretch),
        (target[1], target[3], picture[1], height, side / stretch),
    ):
        span = max(ROUND, round(s / length * 1000 / ROUND) * ROUND)
        middle = ((low + high) / 2 - start) / length * 1000 + rng.normal(0, noise)
        first = round((middle - span / 2) / ROUND) * ROUND
        first = min(max(0, first), 1000 - span)
        out.append((first, first + span))
    return out[0][0], out[1][0], out[0][1], out[1][1]


def region_of(box: Sequence[float], picture: world.PixelBox) -> Region:
    """A box in thousandths of a picture, in pixels of the original."""
    width, height = picture[2] - picture[0], picture[3] - picture[1]
    x1, y1, x2, y2 = box
    return (
        picture[0] + x1 / 1000 * width,
        picture[1] + y1 / 1000 * height,
        picture[0] + x2 / 1000 * width,
        picture[1] + y2 / 1000 * height,
    )


def place(box: world.PixelBox, picture: world.PixelBox) -> str:
    """Quarter of the picture that holds the middle of a box."""
    x = ((box[0] + box[2]) / 2 - picture[0]) / (picture[2] - picture[0])
    y = ((box[1] + box[3]) / 2 - picture[1]) / (picture[3] - picture[1])
    return world.quadrant(x, y)


def retarget(scene: world.Scene, index: int) -> world.Scene:
    """The same picture with the digit question about another disc."""
    if scene.kind is world.Kind.NONE:
        scene = replace(scene, kind=world.Kind.ONE)
    disc = scene.discs[index]
    frame = next((f for f in scene.frames if disc in f.discs), None)
    where = f" in the {frame.color} frame" if frame else ""
    return replace(
        scene,
        question=f"what digit is in the {disc.color} circle{where}?",
        answer=str(disc.digit),
        path=(frame.box, disc.box) if frame else (disc.box,),
        target=disc,
        frame=frame,
    )


def steps(scene: world.Scene, rng: np.random.Generator) -> tuple[list[Step], list[Pixels]]:
    """What the expert writes, and what it is shown."""
    height, width = scene.pixels.shape[:2]
    picture = (0, 0, width, height)
    views, made = [scene.pixels], []
    if scene.kind is world.Kind.NONE:
        return [Step(_overview_thought(scene), answer=scene.answer)], views
    for depth, target in enumerate(scene.path):
        where = place(target, picture)
        outer = scene.frame is not None and depth == 0
        box = jittered_box(target, picture, rng, 1.08 if outer else 1.2)
        thought = _look_thought(scene, where, outer)
        made.append(Step(thought, image=depth + 1, box=box))
        crop, picture = zoom(scene.pixels, region_of(box, picture))
        views.append(crop)
    made.append(Step(f"The digit is {scene.answer}.", answer=scene.answer))
    return made, views


def _look_thought(scene: world.Scene, where: str, outer: bool) -> str:
    color = scene.target.color
    if outer and scene.frame is not None:
        return f"The {scene.frame.color} frame is at the {where}; its circles are too small to see."
    return f"The {color} circle is at the {where}; its digit is too small to read."


def _overview_thought(scene: world.Scene) -> str:
    height, width = scene.pixels.shape[:2]
    where = world.quadrant(scene.target.x / width, scene.target.y / height)
    if scene.question.startswith("where"):
        return f"The {scene.target.color} circle is at the {where}."
    return f"The circle at the {where} is {scene.target.color}."


class Scribe:
    """Turns steps into ids, piece by piece."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self.encode = lru_cache(maxsize=100_000)(self._encode)
        self.image = tokenizer.token_to_id("<|image_pad|>")

    def _encode(self, text: str) -> tuple[int, ...]:
        return tuple(self.tokenizer.encode(text, add_special_tokens=False).ids)

    def placeholders(self, view: Pixels) -> list[int]:
        """Ids of one picture's tokens between its vision markers."""
        w, h = FAMILY.shown_size((view.shape[1], view.shape[0]))
        pads = [self.image] * (w * h // SPEC.factor**2)
        return [*self.encode("<|vision_start|>"), *pads, *self.encode("<|vision_end|>")]

    def prompt(self, scene: world.Scene) -> list[int]:
        """Ids up to the policy's first token."""
        return [
            *self.encode("<|im_start|>user\n"),
            *self.placeholders(scene.pixels),
            *self.encode(scene.question),
            *self.encode("<|im_end|>\n<|im_start|>assistant\n"),
        ]

    def observation(self, view: Pixels) -> list[int]:
        """Ids between the end of a call and the policy's next token."""
        return [
            *self.encode("\n<|im_start|>user\n<tool_response>\n"),
            *self.placeholders(view),
            *self.encode("\n</tool_response><|im_end|>\n<|im_start|>assistant\n"),
        ]

    def write(self, scene: world.Scene, made: Sequence[Step], views: Sequence[Pixels]) -> Demo:
        """Tokenise an episode; ``made`` may stop before the answer."""
        ids = self.prompt(scene)
        learn = [False] * len(ids)
        for i, step in enumerate(made):
            if i:
                shown = self.observation(views[i])
                ids += shown
                learn += [False] * len(shown)
            written = self.encode(f"{step.text}<|im_end|>")
            ids += written
            learn += [True] * len(written)
        return Demo(ids, learn, list(views[: len(made)]), scene)

    def demo(self, scene: world.Scene, rng: np.random.Generator, turns: int = 3) -> Demo:
        """The expert's episode, cut after ``turns`` turns."""
        made, views = steps(scene, rng)
        return self.write(scene, made[:turns], views)


def example_texts(count: int = 300) -> list[str]:
    """Texts to train the tokenizer on: every template in every colour and place."""
    rng = np.random.default_rng(0)
    texts = []
    for seed in range(count):
        for kind in world.Kind:
            scene = world.draw(seed, kind=kind)
            made, _ = steps(scene, rng)
            texts += ["user\nassistant\n", scene.question, *(s.text for s in made)]
            texts += [c for s in made if s.box for c in ("{box}, ", ", ")]
    return texts
