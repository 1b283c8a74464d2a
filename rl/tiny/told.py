"""A policy that is told its tools: demonstrations whose system turn describes them.

The shipped policies know their tools by heart and have no system turn. Here each episode begins
with the schemas of the tools on offer, under their own names or under random ones that are drawn
anew for each episode (`Toolbox.view`). With random names the only way to call the right tool is
to read what it does and to copy what it is called.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final

import numpy as np
from tokenizers import Tokenizer

from vtool.dialects.hermes import Hermes
from vtool.dialects.wording import joined
from vtool.toolbox import Toolbox
from vtool.toolspec import ToolSpec
from vtool.worlds import zoom as world
from vtool.worlds.drawing import Pixels

from .expert import Demo, Scribe, Step, retarget, steps
from .expert import example_texts as zoom_texts
from .teach import Lesson

OFFERED: Final = ("zoom", "flip")
"""The tool that helps, and one that does not."""
_WORDS: Final = (
    "amber birch cedar delta ember fable grain hazel ivory jade kite lark maple nectar onyx pearl "
    "quartz raven spruce thistle umber velvet willow zephyr"
)
WORDS: Final = tuple(_WORDS.split())
"""A name is two of these, such as `amber-lark`; each is one token."""
PAIRS: Final = [(i, j) for i in range(len(WORDS)) for j in range(len(WORDS)) if i != j]
NAMES: Final = tuple(f"{WORDS[i]}-{WORDS[j]}" for i, j in PAIRS if (i + 5 * j) % 4)
"""What tools and arguments are called in learning."""
NEW_NAMES: Final = tuple(f"{WORDS[i]}-{WORDS[j]}" for i, j in PAIRS if (i + 5 * j) % 4 == 0)
"""What they are called in evaluation only: the words are known, the names are not."""
DIALECT: Final = {"preamble": "Tools:", "closing": "Call one so:"}
"""Options of the dialect: fewer words around the schemas."""
SEEDS: Final = 1 << 30


class ToldScribe(Scribe):
    """Writes episodes that begin with the description of the tools.

    Args:
        tokenizer: Of the policy.
        offered: Names of the tools on offer.
        share: Of episodes for which names are drawn anew; the others keep the tools' own.
    """

    def __init__(
        self, tokenizer: Tokenizer, offered: Sequence[str] = OFFERED, *, share: float = 0.0
    ) -> None:
        super().__init__(tokenizer)
        self.share = share
        self.own = Toolbox(offered)

    def offer(self, rng: np.random.Generator) -> tuple[list[ToolSpec], ToolSpec]:
        """The tools of one episode in any order, and which of them helps."""
        box = self.own.view(int(rng.integers(SEEDS)), words=NAMES) if self.drawn(rng) else self.own
        order = rng.permutation(len(box.specs)).tolist()
        return [box.specs[i] for i in order], box.specs[0]

    def drawn(self, rng: np.random.Generator) -> bool:
        """Whether an episode has names of its own; where that is certain, nothing is drawn."""
        return rng.random() < self.share if 0 < self.share < 1 else self.share > 0

    def told(self, scene: world.Scene, rng: np.random.Generator, turns: int | None = None) -> Demo:
        """An expert's episode under the names of the day."""
        made, views = steps(scene, rng)
        specs, helps = self.offer(rng)
        return self.written(scene, made[:turns], views, specs, helps)

    def written(
        self,
        scene: world.Scene,
        made: Sequence[Step],
        views: Sequence[Pixels],
        specs: Sequence[ToolSpec],
        helps: ToolSpec,
    ) -> Demo:
        """Tokenise an episode, its system turn first."""
        system = list(self._encode(system_text(specs)))
        plain = self.prompt(scene)
        ids, learn = [*system, *plain], [False] * (len(system) + len(plain))
        for i, step in enumerate(made):
            if i:
                shown = self.observation(views[i])
                ids += shown
                learn += [False] * len(shown)
            said = self._encode(f"{said_as(step, helps)}<|im_end|>")
            ids += said
            learn += [True] * len(said)
        return Demo(ids, learn, list(views[: len(made)]), scene)

    def source(self, lesson: Lesson, scribe: Scribe, rng: np.random.Generator) -> list[Demo]:
        """A batch of fresh demonstrations."""
        out = []
        names, parts = list(lesson.kinds), np.array(list(lesson.kinds.values()))
        for _ in range(lesson.batch):
            kind = str(rng.choice(names, p=parts / parts.sum()))
            scene = world.draw(int(rng.integers(1 << 40)), kind=kind, objects=lesson.objects)
            if kind != "none":
                scene = retarget(scene, int(rng.integers(len(scene.discs))))
            out.append(self.told(scene, rng, lesson.turns))
        return out


def drill_row(scribe: ToldScribe, rng: np.random.Generator) -> tuple[list[int], list[bool]]:
    """A system turn, a wish in the words of one description, the head of the call that it needs.

    Returns:
        Ids, and which of them are looked up.
    """
    specs = scribe.own.view(int(rng.integers(SEEDS)), words=NAMES).specs
    order = rng.permutation(len(specs)).tolist()
    spec = specs[int(rng.integers(len(specs)))]
    names = [spec.name, *(p.name for p in spec.params)]
    said = system_text([specs[i] for i in order]) + f"{spec.description}\n"
    ids, learn = list(scribe._encode(said)), list[bool]()
    learn += [False] * len(ids)
    for before, name in zip(_HEADS, names, strict=False):
        plain, looked = scribe._encode(before), scribe._encode(name)
        ids += [*plain, *looked]
        learn += [False] * len(plain) + [True] * len(looked)
    return ids, learn


_HEADS: Final = ('<tool_call>\n{"name": "', '", "arguments": {"', '": 1, "')


def said_as(step: Step, spec: ToolSpec) -> str:
    """What the policy writes, the tool called as it was announced."""
    if step.box is None:
        return step.text
    values = {"image": step.image, "box": list(step.box)}
    named = {shown.name: values[own] for own, shown in zip(OWN, spec.params, strict=True)}
    call = {"name": spec.name, "arguments": named}
    return f"{step.thought}\n<tool_call>\n{json.dumps(call)}\n</tool_call>"


OWN: Final = ("image", "box")


def system_text(specs: Sequence[ToolSpec]) -> str:
    """The system turn as it is rendered."""
    return f"<|im_start|>system\n{announced(specs)}<|im_end|>\n"


def announced(specs: Sequence[ToolSpec]) -> str:
    """The words of the system turn."""
    return joined(Hermes(**DIALECT).announce(specs))


def texts(count: int = 120) -> list[str]:
    """What the tokenizer is learnt from: the zoom world, and system turns under random names."""
    own = Toolbox(OFFERED)
    systems = [
        joined(Hermes(**DIALECT).announce(own.view(i, words=NAMES).specs)) for i in range(20)
    ]
    return [*zoom_texts(count), *systems, *[joined(Hermes(**DIALECT).announce(own.specs))] * 20]
