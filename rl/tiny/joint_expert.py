"""Experts with thoughts for several worlds at once, and their episodes as demonstrations.

An expert is the world's scripted policy, its places rounded to numbers that are one token, with a
thought before each call and answer that says what it has seen so far. It plays through the real
tools; the policy's own renderer then writes the episode, so that a demonstration is token by token
what is met at run time.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from vtool.data import load_tasks
from vtool.dialects.hermes import Hermes
from vtool.dialects.wording import joined
from vtool.families.pixels import resize
from vtool.message import Json, Role
from vtool.record import Context
from vtool.render import Renderer
from vtool.toolbox import Toolbox
from vtool.worlds.drawing import Pixels
from vtool.worlds.eyes import UnitBox, colors_in, grown, read_digit, spots, thousandths
from vtool.worlds.mask import BOX as MASK_BOX
from vtool.worlds.player import Played, play_world
from vtool.worlds.program import Look, Program, Said, Seen, Use
from vtool.worlds.world import worlds
from vtool.worlds.zoom import quadrant

from ..warmstart import SPEAKERS, encode_context
from .expert import Demo
from .spec import FAMILY

ROUND: Final = 10
WORLDS: Final = ("box", "depth", "mask", "detect", "page", "sparse")
"""Those that are taught through played episodes; the zoom and moment worlds have demonstrations."""
OFFERED: Final = ("zoom", "stereo_depth", "depth_at", "segment", "world:detect", "resample")
"""What the joint policy may choose from, in every world."""
TOO_SMALL: Final = "; its digit is too small to read."
WIDE: Final = 0.17
"""Side of the first look into a page: four of its cells."""
_ANYWHERE: Final = (0.45, 0.45, 0.55, 0.55)


def box(look: Look) -> Generator[Use, Seen, Said]:
    """One disc after the other, in the order of the palette, until the digit is the one.

    What was read is held against what is wanted in words, and the disc is named again before its
    place is written: a small policy decides what it has spelt out.
    """
    wanted = look.words.rstrip("?").split()[-1]
    found = colors_in(look.pictures[0])
    read, known = "", list(found.items())
    for color, at in known[:-1]:
        thought = f"The {color} circle is at the {where(at)}{TOO_SMALL}"
        around = rounded(thousandths(grown(at, 1.25)))
        seen = yield Use("zoom", read + thought, image=1, box=around)
        digit = (read_digit(seen.pictures[0]) if seen.pictures else None) or "0"
        read = f"{compared(digit, wanted)} "
        if digit == wanted:
            break
    else:
        color, at = known[-1]
    thought = f"{read}The {color} circle is at the {where(at)}."
    return Said(_written(rounded(thousandths(at))), thought)


def depth(look: Look) -> Generator[Use, Seen, Said]:
    """Match the pair, then read it at both rings, numbered as the tool will number them."""
    names = re.findall(r"the (\w+)(?: or| ring)", look.words)
    places = [_middle(spots(look.pictures[0], name)[0]) for name in names]
    seen = yield Use("stereo_depth", "", left=1, right=2)
    points: list[Json] = [rounded([p[0] * 1000, p[1] * 1000]) for p in places]
    seen = yield Use(
        "depth_at", f"{named_points(names, places)}.", depth=f"${seen.handles[0]}", points=points
    )
    first = int(seen.found[0].label.split()[-1])
    return Said(names[first - 1], f"point {first} {names[first - 1]}.")


def mask(look: Look) -> Generator[Use, Seen, Said]:
    """Cut out both shapes, note what each covers."""
    names, shares = re.findall(r"the (\w+)(?: or| one)", look.words), []
    for name in names:
        at = _middle(spots(look.pictures[0], name)[0])
        around = (
            at[0] - MASK_BOX / 2,
            at[1] - MASK_BOX / 2,
            at[0] + MASK_BOX / 2,
            at[1] + MASK_BOX / 2,
        )
        thought = f"{covers(names, shares)}The {name} shape is at the {where(at)}."
        seen = yield Use("segment", thought, image=1, box=rounded(thousandths(around)))
        shares.append(float(str(seen.found[0].facts["share"])))
    larger = names[0] if shares[0] > shares[1] else names[1]
    return Said(larger, covers(names, shares).strip())


def detect(look: Look) -> Generator[Use, Seen, Said]:
    """Ask the detector for that kind; count its findings aloud."""
    kind = look.words.split()[2]
    seen = yield Use("detect", "", image=1, labels=[kind])
    counted = ", ".join(str(i + 1) for i in range(len(seen.found)))
    return Said(str(len(seen.found)), f"{kind}: {counted}.")


def page(look: Look) -> Generator[Use, Seen, Said]:
    """A wide look around the speck, since its place is only roughly known; then a close one."""
    color, digit, found = look.words.split()[-2], None, look.pictures
    for number, side in enumerate((WIDE, None), 1):
        places = spots(found[0], color, 0.8)
        if not places:
            break
        at = places[0]
        thought = f"The {color} ground is at the {where(at)}{TOO_SMALL if side else '.'}"
        around = _around(_middle(at), side) if side else grown(at, 1.1)
        seen = yield Use("zoom", thought, image=number, box=rounded(thousandths(around)))
        found, digit = seen.pictures, read_digit(seen.pictures[0])
    return Said(digit or "0", f"The digit is {digit}.")


def sparse(look: Look) -> Generator[Use, Seen, Said]:
    """One look a digit; what was read is kept in words until all are."""
    read = ""
    for color in look.words.rstrip("?").split("circles ")[1].split(", "):
        at = (spots(look.pictures[0], color) or [_ANYWHERE])[0]
        thought = f"{_so_far(read)}The {color} circle is at the {where(at)}."
        around = rounded(thousandths(grown(at, 1.25)))
        seen = yield Use("zoom", thought, image=1, box=around)
        read += read_digit(seen.pictures[0]) or "0"
    return Said(read, _so_far(read).strip())


EXPERTS: Final[dict[str, Program]] = {
    "box": box,
    "depth": depth,
    "mask": mask,
    "detect": detect,
    "page": page,
    "sparse": sparse,
}


def episodes(
    name: str, count: int, seed: int, split: str = "train", chunk: int = 50
) -> Iterator[Played]:
    """The expert's episodes in a world; those that it gets wrong are left out.

    Args:
        name: The world.
        count: Questions.
        seed: Of the pictures.
        split: Which of the disjoint sets.
        chunk: Questions that are in memory at once.
    """
    world = worlds.get(name)
    with tempfile.TemporaryDirectory() as folder:
        path = world.make(Path(folder) / "w", seed=seed, split=split, **world.sized(count))
        tasks = load_tasks(path, keep=1)
        for first in range(0, len(tasks), chunk):
            some = list(tasks[first : first + chunk])
            played = play_world(world, some, EXPERTS[name], toolbox=joint_toolbox(), seed=seed)
            yield from (p for p in played if p.right)


def joint_toolbox() -> Toolbox:
    """All tools that the joint policy may choose from."""
    return Toolbox(OFFERED)


def demo_of(context: Context, renderer: Renderer) -> Demo:
    """A transcript as ids, what of them is learnt, and its pictures in order."""
    written = encode_context(context, renderer)
    ids: list[int] = []
    learn: list[bool] = []
    for segment in written.segments:
        mine = segment.author in SPEAKERS
        ids += [int(i) for i in segment.ids] if segment.ids is not None else []
        learn += [mine] * len(segment)
    return Demo(ids, learn, _views(context), None)


def _views(context: Context) -> list[Pixels]:
    """The pictures at the size at which they are shown: thousands of originals fill the memory."""
    shown = [s.handle for m in context.messages() for s in m.shows]
    pictures = [context.store.image(h) for h in shown]
    return [resize(p.pixels, FAMILY.shown_size(p.size)) for p in pictures]


def rounded(numbers: Sequence[Any]) -> list[Json]:
    """Numbers that the tokenizer writes as one token each."""
    return [int(min(1000, max(0, round(v / ROUND) * ROUND))) for v in numbers]


def where(at: Sequence[float]) -> str:
    """The quarter that holds a place."""
    x, y = (at[0], at[1]) if len(at) == 2 else ((at[0] + at[2]) / 2, (at[1] + at[3]) / 2)
    return quadrant(x, y)


def _middle(at: UnitBox) -> tuple[float, float]:
    return (at[0] + at[2]) / 2, (at[1] + at[3]) / 2


def _around(at: tuple[float, float], side: float) -> UnitBox:
    """A square of that side around a place, moved to lie inside."""
    x, y = (min(max(v - side / 2, 0.0), 1.0 - side) for v in at)
    return x, y, x + side, y + side


def _so_far(digits: str) -> str:
    return f"The digits are {', '.join(digits)}. " if digits else ""


def compared(read: str, wanted: str) -> str:
    """What was read, what is wanted, and whether they are the same."""
    return f"The digit is {read}. Wanted is {wanted}: {'yes' if read == wanted else 'no'}."


def named_points(names: Sequence[str], places: Sequence[Sequence[float]]) -> str:
    """Rings as the tool will number them; the colour behind the number, where it is looked up."""
    told = enumerate(zip(names, places, strict=True), 1)
    return "; ".join(f"point {i} {n} at the {where(p)}" for i, (n, p) in told)


def covers(names: Sequence[str], shares: Sequence[float]) -> str:
    """What each shape covers, as far as it is known."""
    return "".join(f"The {n} shape covers {s}. " for n, s in zip(names, shares, strict=False))


def _written(numbers: Sequence[Json]) -> str:
    return str(list(numbers))


def texts_of(played: Played) -> list[str]:
    """Everything that is read and written in an episode, numbers cut out."""
    context = played.episode.final
    texts = []
    for message in context.messages():
        tool = message.role is Role.TOOL
        said = joined(Hermes().observe([message], context.store)) if tool else message.text
        texts.append(re.sub(r"[0-9]+\.?[0-9]*", "\n", said))
    return texts
