"""An episode of a trace, step by step."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from shutil import rmtree
from typing import Any

import gradio as gr

from vtool.errors import TraceError, VToolError
from vtool.trace import TraceRecord, read_trace

from ..markup import Html, join, tag
from .board import board
from .open_list import open_list
from .panels import Asked, conversation, empty, film, notice
from .path import PathView
from .replay import Replay, within
from .shelf import Shelf, unpack
from .studio import Studio
from .timeline import clips, timeline
from .viewer import FIRST, STRIP, make_panel

NO_PICTURE = "Open a trace: its pictures appear here."
Update = tuple[Any, ...]


class ReplayTab:
    """The tab.

    Args:
        studio: The household.
    """

    def __init__(self, studio: Studio) -> None:
        self.studio, self.shelf = studio, Shelf(studio.options.runs)

    def build(self) -> None:
        """Lay it out and wire it up."""
        with gr.Row(equal_height=False):
            with gr.Column(scale=5, min_width=340):
                with gr.Row(equal_height=True):
                    self.trace = open_list(self.shelf.traces(), "Trace", min_width=180)
                    self.again = gr.Button("Look again", size="sm", min_width=110, scale=0)
                self.file = gr.File(
                    label="or a packed trace (.zip)",
                    file_types=[".zip"],
                    type="filepath",
                    height=130,
                    elem_id="vs-file-replay",
                )
                self.episode = open_list([], "Episode", elem_id="vs-episode")
                self.step = gr.Slider(1, 2, value=1, step=1, label="Up to step", elem_id="vs-step")
                self.chat = make_panel(FIRST, "vs-conversation", elem_id="vs-chat-replay")
            with gr.Column(scale=6, min_width=360, elem_classes=["vs-stick"]):
                self.score = make_panel("Score and facts appear here.", "vs-score")
                self.board = make_panel(NO_PICTURE, "vs-large", elem_id="vs-board-replay")
                self.film = make_panel(STRIP, "vs-strip", elem_id="vs-film-replay")
        self.panels = [self.chat, self.board, self.film, self.score]
        self._wire()

    def _wire(self) -> None:
        quiet = {"show_progress": "hidden", "api_visibility": "private"}
        opened = [self.episode, self.step, *self.panels]
        self.again.click(
            lambda: gr.update(choices=self.shelf.traces()), None, [self.trace], **quiet
        )
        self.trace.input(self.open, [self.trace], opened, api_name="replay", show_progress="hidden")
        self.file.upload(self.bring, [self.file], opened, api_name="bring_trace")
        self.episode.input(self.choose, [self.episode], opened[1:], **quiet)
        self.step.input(self.go_to, [self.step], self.panels, **quiet)
        for panel in (self.chat, self.board, self.film):
            panel.select(self.picked, None, self.panels, **quiet)

    def opened(self) -> tuple[Any, None, list[Any]]:
        """What happens when somebody turns to this tab: function, inputs, outputs."""
        return (lambda: gr.update(choices=self.shelf.traces())), None, [self.trace]

    def replay(self, request: gr.Request) -> Replay:
        """Where this visitor is."""
        return self.studio.sessions.of(request.session_hash).replay

    async def open(self, name: str | None, request: gr.Request) -> Update:
        """Open a trace of the folder of runs."""
        try:
            folder = self.shelf.folder(name or "")
            return await self._load(folder, name or "", request)
        except VToolError as err:
            return self._bad(str(err))

    async def bring(self, path: str | None, request: gr.Request) -> Update:
        """Open a packed trace."""
        if not path:
            return self._bad("expected a packed trace")
        place = self.studio.sessions.of(request.session_hash).file("trace")
        try:
            folder = await asyncio.to_thread(unpack, Path(path), place)
            return await self._load(folder, Path(path).name, request, place)
        except VToolError as err:
            # The archive is named as its owner knows it, not where it lies here.
            return self._bad(str(err).replace(str(place), Path(path).name))

    async def _load(
        self, folder: Path, name: str, request: gr.Request, brought: Path | None = None
    ) -> Update:
        try:
            records, more = await asyncio.to_thread(lambda: within(read_trace(folder)))
        except TraceError as err:  # named as its reader knows it, not where it lies here
            raise TraceError(str(err).replace(str(folder), name)) from err
        if not records:
            raise TraceError("this trace holds no episode that began")
        session = self.studio.sessions.of(request.session_hash)
        if session.replay.unpacked is not None:
            await asyncio.to_thread(rmtree, session.replay.unpacked, ignore_errors=True)
        session.replay = Replay(records, name, unpacked=brought)
        titles = [(_title(n, r), n) for n, r in enumerate(records)]
        chosen = gr.update(choices=titles, value=0, info=more or None)
        return (chosen, *self._shown(session.replay))

    def choose(self, number: int | None, request: gr.Request) -> Update:
        """Look at another episode."""
        replay = self.replay(request)
        if number is not None and 0 <= int(number) < len(replay.records):
            replay.at, replay.step, replay.handle, replay.call = int(number), 10**6, "", 0
            replay.leaf = None
        return self._shown(replay)

    def go_to(self, step: float, request: gr.Request) -> Update:
        """Show so many steps."""
        replay = self.replay(request)
        replay.step, replay.handle = int(step), ""
        return show(replay)

    def picked(self, event: gr.EventData, request: gr.Request) -> Update:
        """Follow a click."""
        replay = self.replay(request)
        kind, _, rest = str(event._data.get("pick", "")).partition(":")
        path = replay.path()
        if path is None or kind not in ("call", "picture"):
            return tuple(gr.skip() for _ in self.panels)
        if kind == "picture" and rest in path.context.store:
            replay.handle, replay.call = rest, 0
        elif kind == "call" and rest.isdecimal():
            replay.call, replay.handle = int(rest), ""
        return show(replay)

    def _shown(self, replay: Replay) -> Update:
        path = replay.path()
        count = max(2, len(path.steps)) if path else 2
        return (gr.update(maximum=count, value=min(replay.step, count)), *show(replay))

    def _bad(self, words: str) -> Update:
        left = [gr.skip() for _ in range(len(self.panels) + 1)]
        return (*left, notice(words, "bad"))


def show(replay: Replay) -> tuple[Html, Html, Html, Html]:
    """The four panels."""
    whole = replay.path()
    if whole is None:
        return empty(FIRST), empty(NO_PICTURE), empty(STRIP), empty("Open a trace first.")
    path = up_to(whole, replay.step)
    asked = Asked("policy", "as recorded", picked=replay.call)
    chat = conversation(path, asked) if path.steps == whole.steps else _part(path, asked)
    has_video = any(w for w in whole.windows) or not whole.sources
    if has_video:
        return chat, timeline(path, replay.call), clips(path, replay.call), facts(whole)
    handle = replay.handle or _newest(path)
    return chat, board(path, handle, call=replay.call), film(path, handle), facts(whole)


def _part(path: PathView, asked: Asked) -> Html:
    """A conversation that goes on: how it ended is not told yet."""
    return conversation(path, replace(asked, live=True))


def _newest(path: PathView) -> str:
    """The source, which shows every box."""
    return path.sources[0] if path.sources else ""


def up_to(path: PathView, count: int) -> PathView:
    """The first steps of a path, and the boxes of their calls."""
    steps = path.steps[: max(1, count)]
    last = max((c.number for s in steps for c in s.calls), default=0)
    return replace(
        path,
        steps=steps,
        spots=tuple(s for s in path.spots if s.number <= last),
        windows=tuple(w for w in path.windows if w.number <= last),
    )


def facts(path: PathView) -> Html:
    """How it was scored."""
    view = path.view
    rows = [
        ("answer", view.answer or "none"),
        ("expected", ", ".join(view.accepted) or "not told"),
        ("ended", view.stop),
        ("total", view.total or "not scored"),
        *view.parts,
        *((f"{n} adds", f"{v:+.3f}") for n, v in view.terms),
    ]
    pairs = [tag("div", tag("dt", n), tag("dd", v)) for n, v in rows]
    credit = view.credit
    told = [tag("p", credit.how, class_="vs-note"), credit_rows(credit)] if credit else []
    return join([tag("dl", pairs, class_="vs-facts"), *told])


def credit_rows(credit: Any) -> Html:
    """What other weightings would have given each turn."""
    head = tag("tr", tag("th", "weighting"), tag("th", "total"), tag("th", "advantage by turn"))
    rows = [
        tag(
            "tr",
            tag("td", w.name),
            tag("td", w.total),
            tag("td", "  ".join(f"{v:+.3f}" for v in w.turns)),
        )
        for w in credit.weightings
    ]
    return tag("div", tag("table", head, rows, class_="vs-table"), class_="vs-scroll")


def _title(number: int, record: TraceRecord) -> str:
    answer = (record.episode.answer or "no answer")[:24]
    return f"{number + 1}. {record.task_id[:32]}: {answer}"
