"""The page of the worlds, from their code: docs/worlds/index.md and a picture for each world.

python scripts/world_pages.py           write the page and play one question of each world
python scripts/world_pages.py --check   fail where page and code differ; plays nothing
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as PILImage
from PIL import ImageDraw, ImageFont

from vtool.data import load_tasks
from vtool.geometry import Mask
from vtool.media import Clip, Image
from vtool.message import Message, Role
from vtool.record import Episode
from vtool.store import DepthMap
from vtool.toolbox import Toolbox
from vtool.worlds.player import Played, play_world
from vtool.worlds.program import as_shown
from vtool.worlds.world import World, worlds

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "docs" / "worlds"
WORDS = FOLDER / "examples.json"
COMMAND = "python scripts/world_pages.py"
SIDE, GAP, LINE = 160, 10, 16
MOST_WORDS = 300


def ours() -> list[World]:
    """The worlds that ship; others may be registered beside them."""
    names = {p.name for p in entry_points(group="vtool.worlds") if p.value.startswith("vtool.")}
    return [worlds.get(name) for name in sorted(names)]


def played(world: World) -> Played:
    """One held-out question, played by the scripted best policy; the first that it gets right."""
    with tempfile.TemporaryDirectory() as folder:
        made = world.make(Path(folder) / "w", seed=4, split="held_out", **world.sized(8))
        tasks = list(load_tasks(made))
        done = play_world(world, tasks, world.best, seed=4)
    right = [p for p in done if p.right]
    return max(right, key=lambda p: p.calls)


def panels(episode: Episode) -> Iterator[tuple[str, np.ndarray]]:
    """What there is to see, in order: originals, first look, what tools gave."""
    for entry in episode.final.store:
        value, tool = entry.value, entry.origin.tool
        if isinstance(value, Image) and tool is None:
            yield entry.handle.replace("_", " "), value.pixels
            yield "as first seen", as_shown(value)
        elif isinstance(value, Image):
            yield f"{tool} gives", as_shown(value)
        elif isinstance(value, Clip):
            named = "first glance" if tool is None else f"{tool} gives"
            yield named, sheet([f.pixels for f in value.frames])
        elif isinstance(value, DepthMap):
            yield f"{tool} gives (map)", grey(value)
        elif isinstance(value, Mask):
            white = np.where(value.cells, 255, 40).astype(np.uint8)
            yield f"{tool} gives (mask)", np.repeat(white[:, :, None], 3, axis=2)


def grey(depth: DepthMap) -> np.ndarray:
    """A depth map, near is bright; unknown is black."""
    known = np.where(depth.valid, depth.values, np.nan)
    low, high = np.nanmin(known), np.nanpercentile(known, 99)
    plane = 255 - 200 * np.clip((known - low) / max(1e-9, high - low), 0, 1)
    return np.repeat(np.nan_to_num(plane).astype(np.uint8)[:, :, None], 3, axis=2)


def sheet(frames: list[np.ndarray]) -> np.ndarray:
    """Up to nine frames in rows of three."""
    side = frames[0].shape[0]
    out = np.full((3 * side, 3 * side, 3), 255, np.uint8)
    for i, frame in enumerate(frames[:9]):
        y, x = divmod(i, 3)
        out[y * side : (y + 1) * side, x * side : (x + 1) * side] = frame
    return out


def strip(episode: Episode) -> PILImage.Image:
    """All panels beside each other, named."""
    shown = list(panels(episode))
    width = len(shown) * (SIDE + GAP) - GAP
    out = PILImage.new("RGB", (width, SIDE + LINE), "white")
    pen, font = ImageDraw.Draw(out), ImageFont.load_default(size=11)
    for i, (named, pixels) in enumerate(shown):
        x = i * (SIDE + GAP)
        pen.text((x, 1), named, "black", font)
        square = PILImage.fromarray(pixels).resize((SIDE, SIDE), PILImage.Resampling.NEAREST)
        out.paste(square, (x, LINE))
    return out


def talk(episode: Episode) -> list[str]:
    """The conversation, a line each."""
    lines = []
    for message in episode.final.messages():
        words = " ".join(message.text.split())
        if message.role is Role.TOOL:
            words = " ".join(filter(None, [words, told(message, episode)]))
        who = {Role.USER: "question", Role.ASSISTANT: "policy", Role.TOOL: "tool"}[message.role]
        lines.append(f"{who}: {words[:MOST_WORDS]}")
    return lines


def told(message: Message, episode: Episode) -> str:
    """What a tool found, and the pictures that it gave."""
    found = [
        ", ".join(filter(None, [f.label, *(f"{k} {v}" for k, v in f.facts.items())]))
        for o in message.outcomes
        for f in o.found
    ]
    shows = [f"[{s.handle}]" for s in message.shows]
    return "; ".join([*shows, *found])


def page(rows: list[World], examples: dict[str, list[str]]) -> str:
    """The text of the page."""
    template = (FOLDER / "about.md").read_text(encoding="utf-8")
    example = (ROOT / "scripts" / "own_world.py").read_text(encoding="utf-8")
    lines = ["| world | what it asks | tools | chance | best |", "|---|---|---|---|---|"]
    lines += [
        f"| [{w.name}](#{w.name}) | {w.about} | {', '.join(tools_of(w))} | {w.chance:.3g} | "
        f"{w.bound:.3g} |"
        for w in rows
    ]
    parts = [part for w in rows for part in section(w, examples[w.name])]
    return (
        template.replace("{TABLE}", "\n".join(lines))
        .replace("{WORLDS}", "\n".join(parts).rstrip())
        .replace("{EXAMPLE}", example.rstrip())
    )


def section(world: World, example: list[str]) -> list[str]:
    """A world's own part."""
    body = world.page or from_docstring(world)
    note = [f"Note: {world.note}.", ""] if world.note else []
    picture = [f"![A question of the world {world.name}](images/{world.name}.png)", ""]
    talked = ["```text", *example, "```", ""]
    return [f"### {world.name}", "", world.about, "", body, "", *note, *picture, *talked]


def from_docstring(world: World) -> str:
    """What the module of a world tells, less the sentence above."""
    module = sys.modules[world.best.__module__]
    home = next(p.value.split(":")[0] for p in entry_points(group="vtool.worlds", name=world.name))
    about = (sys.modules[home].__doc__ or module.__doc__ or "").strip().split("\n", 1)
    return " ".join(about[1].split()) if len(about) > 1 else about[0]


def tools_of(world: World) -> list[str]:
    """Names of its tools, with their versions where these are not the registered tools."""
    box: Any = Toolbox(world.tools)
    return [
        f"`{s.name}`" if "-" not in s.version else f"`{s.name}` ({s.version})" for s in box.specs
    ]


def main() -> int:
    """Write, or compare."""
    rows = ours()
    if "--check" in sys.argv:
        examples = json.loads(WORDS.read_text(encoding="utf-8"))
        same = page(rows, examples) == (FOLDER / "index.md").read_text(encoding="utf-8")
        absent = [w.name for w in rows if not (FOLDER / "images" / f"{w.name}.png").is_file()]
        if absent or not same:
            print(f"docs/worlds is not what the code says: {COMMAND}", file=sys.stderr)
        return int(bool(absent) or not same)
    examples = {}
    for world in rows:
        done = played(world)
        examples[world.name] = talk(done.episode)
        picture = strip(done.episode).quantize(128)
        picture.save(FOLDER / "images" / f"{world.name}.png", optimize=True)
    WORDS.write_text(json.dumps(examples, indent=1) + "\n", encoding="utf-8")
    (FOLDER / "index.md").write_text(page(rows, examples), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
