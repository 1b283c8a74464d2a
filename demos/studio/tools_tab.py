"""Any tool by hand: its form is made from its schema, its results are there for the next call."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

from vtool.data_video import SUFFIXES
from vtool.errors import DataError, VToolError
from vtool.tool import tools
from vtool.toolspec import VALUE_KINDS, Kind, Param

from ..markup import Html, join, tag
from .bench_panels import answer, bench_board, bench_strip
from .guard import asked_at
from .panels import notice
from .studio import Studio
from .viewer import make_panel, read_box_on
from .workbench import PICTURES, WRITTEN, Workbench, example, missing, to_json, write_box

FIRST = "zoom"
_FIELD = {"interactive": True, "min_width": 140}
Update = tuple[Any, ...]


class ToolsTab:
    """The tab.

    Args:
        studio: The household.
    """

    def __init__(self, studio: Studio) -> None:
        self.studio = studio

    def build(self) -> None:
        """Lay it out and wire it up."""
        with gr.Row(equal_height=False):
            with gr.Column(scale=5, min_width=340):
                self._inputs()
                self.state = gr.State(0)
                self.form = gr.Column()
                self.said = make_panel(
                    "What the tool answers appears here, as a model would read it.",
                    "vs-said",
                    elem_id="vs-tool-answer",
                )
            with gr.Column(scale=6, min_width=360, elem_classes=["vs-stick"]):
                self.board = make_panel(
                    "Bring a picture or a video, choose a tool, and run it.",
                    "vs-large",
                    elem_id="vs-board-tools",
                )
                self.strip = make_panel(
                    "Files and results lie here, each under the name that later calls take.",
                    "vs-strip",
                    elem_id="vs-film-tools",
                )
        self.panels = [self.board, self.strip, self.said]
        self._wire()

    def _inputs(self) -> None:
        names = [(label(name), name) for name in tools.names()]
        with gr.Row(equal_height=True):
            self.files = gr.File(
                label="Pictures and videos",
                file_count="multiple",
                file_types=["image", *SUFFIXES],
                height=120,
                scale=3,
                min_width=180,
                elem_id="vs-files-tools",
            )
            with gr.Column(scale=4, min_width=200):
                self.tool = gr.Dropdown(names, value=FIRST, label="Tool", elem_id="vs-tool")
                with gr.Row():
                    self.clear = gr.Button("Begin with an empty bench", size="sm")
                    self.halt = gr.Button("Stop", variant="stop", size="sm", min_width=80)
        self.about = gr.HTML(about(FIRST), elem_classes=["vs-panel"])

    def _wire(self) -> None:
        quiet = {"show_progress": "hidden", "api_visibility": "private"}
        changed = [*self.panels, self.state]
        self.files.upload(
            self.bring,
            [self.files],
            [*changed, self.files],
            show_progress="hidden",
            api_name="bring",
        )
        self.clear.click(self.fresh, None, changed, **quiet)
        self.halt.click(self.stop, None, None, api_visibility="private", queue=False)
        self.tool.change(about, [self.tool], [self.about], **quiet)
        for panel in (self.board, self.strip):
            panel.select(self.picked, None, changed, **quiet)
        gr.api(
            self.run_named,
            api_name="run_tool",
            concurrency_limit=self.studio.options.at_once,
            concurrency_id="play",
        )
        with self.form:
            gr.render(inputs=[self.tool, self.state], show_progress="hidden")(self._form)

    def _form(self, name: str, turn: int, request: gr.Request) -> None:
        """The fields of a tool, from its schema; drawn anew when the bench changes."""
        bench = self.bench(request)
        params = tools.get(name).spec.params
        fields = [field(p, bench, (name, p.name, turn)) for p in params]
        run = gr.Button("Run", variant="primary", elem_id="vs-run-tool")

        async def go(asking: gr.Request, *given: Any) -> Update:
            values = dict(zip((p.name for p in params), given, strict=True))
            return await self.run(name, values, asking)

        run.click(
            go,
            fields,
            [*self.panels, self.state],
            show_progress="hidden",
            api_visibility="private",
            trigger_mode="always_last",
            concurrency_limit=self.studio.options.at_once,
            concurrency_id="play",
        )

    def bench(self, request: gr.Request) -> Workbench:
        """What lies before this visitor."""
        return self.studio.sessions.of(request.session_hash).bench

    def bring(self, paths: list[str] | None, request: gr.Request) -> Update:
        """Lay files on the bench."""
        bench = self.bench(request)
        bench.last = None
        refused = []
        for path in map(Path, paths or ()):
            try:
                bench.open(path)
            except VToolError as err:  # the others are laid on it all the same
                refused.append(notice(f"{path.name}: {err}", "bad"))
        board, strip, said = self.show(bench)
        return board, strip, join(refused) if refused else said, len(bench.store), None

    def fresh(self, request: gr.Request) -> Update:
        """Take everything off the bench."""
        session = self.studio.sessions.of(request.session_hash)
        session.bench = Workbench()
        return (*self.show(session.bench), -session.count())

    async def stop(self, request: gr.Request) -> None:
        """Stop the tool that runs."""
        await self.studio.sessions.of(request.session_hash).stop()

    def picked(self, event: gr.EventData, request: gr.Request) -> Update:
        """Follow a click on a thing, or a box that was drawn on one."""
        session = self.studio.sessions.of(request.session_hash)
        bench = session.bench
        told = str(event._data.get("pick", ""))
        try:
            choose(bench, told)
        except VToolError:
            return tuple(gr.skip() for _ in range(4))
        return (*self.show(bench), -session.count() if told.startswith("box:") else gr.skip())

    async def run(self, name: str, given: dict[str, Any], request: gr.Request) -> Update:
        """Run a tool on its form."""
        session = self.studio.sessions.of(request.session_hash)
        session.bench.given = given
        before = len(session.bench.store)
        try:
            await session.run(self._run(name, given, session.bench), asked_at(request))
        except VToolError as err:
            board, strip, _ = self.show(session.bench)
            return board, strip, notice(str(err), "bad"), gr.skip()
        # The form is drawn anew only where there is more to choose from: what somebody types
        # while a call is answered must not be lost.
        made = len(session.bench.store) > before
        return (*self.show(session.bench), -session.count() if made else gr.skip())

    async def run_named(
        self, name: str, arguments: dict[str, Any], request: gr.Request
    ) -> dict[str, Any]:
        """Run a tool on what lies on the bench, for programs.

        Args:
            name: Of the tool.
            arguments: Its form: pictures and values by handle, places in thousandths.
            request: Of whom.
        """
        session = self.studio.sessions.of(request.session_hash)
        bench = session.bench
        try:
            await session.run(self._run(name, arguments, bench), asked_at(request))
        except VToolError as err:
            return {"error": str(err)}
        assert bench.last is not None
        return to_json(bench.last)

    async def _run(self, name: str, given: dict[str, Any], bench: Workbench) -> None:
        tool = tools.get(name)
        lacks = missing(tool)
        if lacks:
            raise DataError(lacks)
        await bench.run(tool, self.studio.toolbox((name,)), given)

    def show(self, bench: Workbench) -> tuple[Html, Html, Html]:
        """The three panels."""
        return bench_board(bench), bench_strip(bench), answer(bench)


def choose(bench: Workbench, told: str) -> None:
    """Show another thing, or take a box.

    Raises:
        DataError: Nothing that is here.
    """
    kind, _, rest = told.partition(":")
    if kind == "picture" and rest in bench.store:
        bench.handle, bench.drawn = rest, None
    elif kind == "box":
        bench.handle, bench.drawn = read_box_on(rest, bench.store)
    else:
        raise DataError("nothing of that name is on the bench")


def label(name: str) -> str:
    """A tool in the list: what lacks something says so."""
    return name if not tools.get(name).lacks() else f"{name} (not ready)"


def about(name: str) -> Html:
    """What a tool does, and what it lacks."""
    tool = tools.get(name)
    lacks = missing(tool)
    if lacks:
        return notice(lacks)
    return tag("p", tool.spec.description.split("\n\n")[0], class_="vs-label")


def field(param: Param, bench: Workbench, key: tuple[Any, ...]) -> Any:
    """One argument as a field."""
    # With a colon, since Gradio takes a bare "image" for one of its own messages.
    name = f"{param.name}:" if param.required else f"{param.name} (may be left out)"
    told = {"label": name, "info": param.description, "key": key, **_FIELD}
    known = bench.fitting(param.kind)
    before = bench.given.get(param.name)
    if param.kind is Kind.IMAGES:
        return gr.Dropdown(known, value=known[::-1], multiselect=True, **told)
    if param.kind in PICTURES | VALUE_KINDS:
        return gr.Dropdown(known, value=first(param, bench, known), **told)
    if param.choices:
        chosen = before if before in param.choices else param.default
        return gr.Dropdown(list(param.choices), value=chosen, **told)
    if param.kind is Kind.BOOLEAN:
        return gr.Checkbox(bool(param.default if before is None else before), **told)
    if param.kind in (Kind.INTEGER, Kind.NUMBER):
        precision = 0 if param.kind is Kind.INTEGER else None
        value = param.default if before is None else before
        return gr.Number(value, precision=precision, **told)  # type: ignore[arg-type]
    if param.kind in WRITTEN:
        drawn = write_box(bench.drawn) if param.kind is Kind.BOX and bench.drawn else before
        return gr.Textbox(drawn or "", placeholder=example(param), **told)
    return gr.Textbox(str(before or param.default or ""), max_length=4000, **told)


def first(param: Param, bench: Workbench, known: list[str]) -> str | None:
    """What an argument names at first: what is shown large, where it fits."""
    if not param.required:
        return None
    return bench.handle if bench.handle in known else next(iter(known), None)
