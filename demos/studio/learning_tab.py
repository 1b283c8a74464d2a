"""What a run learnt: its curves, its reward parts, and the same question before and after."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import gradio as gr

from vtool.errors import VToolError
from vtool.trace import TraceRecord, read_trace

from ..curves import read_metrics
from ..markup import Html, join, tag
from .board import board
from .open_list import open_list
from .panels import Asked, conversation, empty, notice
from .path import ends, view_path
from .plot import lines_of, plot
from .shelf import Shelf
from .studio import Studio
from .viewer import make_panel

FIRST = "Choose a run: its curves appear here while it goes on, too."
PANELS: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = (
    ("accuracy", (("accuracy", "while sampling"), ("eval/accuracy", "held out"))),
    ("reward", (("reward/total", "total"),)),
    ("tools", (("tool_rate", "share with a call"), ("valid_call_rate", "valid calls"))),
    ("turns and calls", (("turns", "turns"), ("calls", "calls"))),
    ("entropy", (("entropy", "entropy"),)),
    ("dead groups", (("dead_groups", "share"),)),
    ("gradient", (("grad_norm", "norm"),)),
    ("seconds a step", (("time/generate", "generate"), ("time/train", "train"))),
)
READ = 200
"""Episodes that are read of a trace, to find a question that both ends know."""
Update = tuple[Any, ...]


class LearningTab:
    """The tab.

    Args:
        studio: The household.
    """

    def __init__(self, studio: Studio) -> None:
        self.shelf = Shelf(studio.options.runs)

    def build(self) -> None:
        """Lay it out and wire it up."""
        with gr.Row(equal_height=True):
            self.run = open_list(self.shelf.runs(), "Run", scale=4)
            self.again = gr.Button("Look again", size="sm", min_width=110, scale=0)
        self.curves = make_panel(FIRST, "vs-curves", elem_id="vs-curves")
        with gr.Row(equal_height=False):
            self.before = make_panel("The first kept step appears here.", "vs-side")
            self.after = make_panel("The last kept step appears here.", "vs-side")
        outputs = [self.curves, self.before, self.after]
        self.run.input(self.show, [self.run], outputs, api_name="learning", show_progress="hidden")
        self.again.click(
            self.look_again,
            [self.run],
            [self.run, *outputs],
            api_visibility="private",
            show_progress="hidden",
        )

    def opened(self) -> tuple[Any, None, list[Any]]:
        """What happens when somebody turns to this tab: function, inputs, outputs."""
        return (lambda: gr.update(choices=self.shelf.runs())), None, [self.run]

    async def look_again(self, name: str | None) -> Update:
        """List the runs again, and show the chosen one as it is now."""
        shown = await self.show(name) if name else (gr.skip(), gr.skip(), gr.skip())
        return (gr.update(choices=self.shelf.runs()), *shown)

    async def show(self, name: str | None) -> Update:
        """Curves, and the same question at both ends."""
        try:
            folder = self.shelf.folder(name or "")
            return await asyncio.to_thread(describe, folder)
        except VToolError as err:
            return notice(str(err), "bad"), empty(""), empty("")


def describe(folder: Path) -> tuple[Html, Html, Html]:
    """The three panels of a run."""
    metrics = read_metrics(folder / "metrics.jsonl")
    first, last = both_ends(folder)
    return curves(metrics), side("early", first), side("late", last)


def curves(metrics: Sequence[Mapping[str, Any]]) -> Html:
    """Every panel that has data, and one with the reward's parts."""
    if not metrics:
        return empty("This run has not done a step yet.")
    parts = sorted({k for m in metrics for k in m if k.startswith("reward/part/")})
    told = [(k, k.removeprefix("reward/part/")) for k in parts][:4]
    panels = [*PANELS[:2], ("reward by part", tuple(told)), *PANELS[2:]]
    found = [(title, lines_of(metrics, names)) for title, names in panels]
    plots = [plot(title, lines) for title, lines in found if lines]
    words = f"{len(metrics)} steps done"
    return join([tag("p", words, class_="vs-label"), tag("div", plots, class_="vs-plots")])


def both_ends(folder: Path) -> tuple[TraceRecord | None, TraceRecord | None]:
    """An attempt of the first kept step and one of the last, at one question where there is one."""
    steps = sorted((folder / "trace").glob("step-*"))
    if not steps:
        return None, None
    old = list(islice(read_trace(steps[0]), READ))
    new = list(islice(read_trace(steps[-1]), READ))
    late = {r.task_id: r for r in new if len(r.episode.outcomes())} or {r.task_id: r for r in new}
    same = next((r for r in old if r.task_id in late), None)
    if same is not None:
        return same, late[same.task_id]
    return next(iter(old), None), next(iter(late.values()), None)


def side(name: str, record: TraceRecord | None) -> Html:
    """One attempt with its picture."""
    if record is None or not record.episode.contexts:
        return empty("This run kept no episodes (trace_every).")
    path = view_path(record.episode, ends(record.episode)[-1], record=record)
    title = tag("h3", f"{name}: {record.task_id}, total {path.view.total or 'not told'}")
    picture = board(path, path.sources[0]) if path.sources else None
    steps = conversation(path, Asked("policy", "as recorded"))
    return tag("div", title, picture, steps, class_="vs-onside")
