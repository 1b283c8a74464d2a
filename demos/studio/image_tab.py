"""Ask about a picture, watch every step, take the pen."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import gradio as gr

from vtool.errors import DataError, VToolError
from vtool.media import Image

from .board import plain_board
from .examples import picture_examples
from .panels import empty, notice
from .pen_panel import Pen
from .session import Place
from .studio import Studio, ready_tools
from .viewer import FIRST, STRIP, Panels, facts, make_panel, pick, show
from .world import outside

MAX_QUESTION = 2000
Update = tuple[Any, ...]


class ImageTab:
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
                self._question()
                self.chat = make_panel(FIRST, "vs-conversation")
            with gr.Column(scale=6, min_width=360):
                self.board = make_panel("Choose a picture, or an example below.", "vs-large")
                self.film = make_panel(STRIP, "vs-strip")
                self.pen = Pen(self.studio, "image")
                self.pen.build()
        self.facts = gr.JSON(visible=False)
        self.panels = Panels(self.chat, self.board, self.film)
        self._wire()

    def _question(self) -> None:
        names = self.studio.policies.names()
        with gr.Row(equal_height=True):
            self.picture = gr.Image(
                label="Picture",
                type="filepath",
                sources=["upload", "clipboard"],
                height=176,
                scale=2,
                min_width=150,
                elem_id="vs-picture",
                buttons=[],
            )
            with gr.Column(scale=4, min_width=220):
                self.question = gr.Textbox(
                    label="Question",
                    placeholder="what digit is in the red circle?",
                    lines=2,
                    max_lines=4,
                    max_length=MAX_QUESTION,
                    elem_id="vs-question",
                )
                with gr.Row():
                    self.ask = gr.Button("Ask", variant="primary", elem_id="vs-ask", min_width=80)
                    self.halt = gr.Button("Stop", variant="stop", elem_id="vs-stop", min_width=80)
        with gr.Row():
            self.model = gr.Dropdown(names, value=names[0], label="Policy", elem_id="vs-model")
            self.tools = gr.Dropdown(
                ready_tools(),
                value=["zoom"],
                multiselect=True,
                label="Tools on offer",
                elem_id="vs-tools",
            )
        with gr.Accordion("How it is drawn", open=False):
            self.heat = gr.Slider(0, 1.5, value=0, step=0.1, label="Temperature (0 is greedy)")
            self.seed = gr.Number(0, precision=0, minimum=0, maximum=2**31, label="Seed")
        gr.Examples(
            picture_examples(self.studio.sessions.root),
            [self.picture, self.question],
            label="Examples: held-out pictures that no policy was trained on",
            elem_id="vs-examples",
        )

    def _wire(self) -> None:
        inputs = [self.picture, self.question, self.model, self.tools, self.heat, self.seed]
        outputs = [*self.panels.all, self.facts, *self.pen.outputs]
        # Whoever asks waits in one queue, whatever the tab: the machine is one.
        queue = {"concurrency_limit": self.studio.options.at_once, "concurrency_id": "play"}
        asking = gr.on(
            [self.ask.click, self.question.submit],
            self.play,
            inputs,
            outputs,
            api_name="ask",
            show_progress="hidden",
            trigger_mode="once",
            **queue,
        )
        going_on = self.pen.wire(self.panels, self.facts, queue)
        self.halt.click(
            self.stop, None, None, api_name="stop", cancels=[asking, *going_on], queue=False
        )
        self.picture.change(
            self.preview, [self.picture], self.panels.all, api_name=False, show_progress="hidden"
        )
        for panel in self.panels.all:
            panel.select(
                self.picked,
                None,
                [*self.panels.all, *self.pen.box_fields],
                api_name=False,
                show_progress="hidden",
            )

    def preview(self, picture: str | None, request: gr.Request) -> Update:
        """Show a picture that was chosen, before anything is asked."""
        place = self._place(request)
        if place.attempt is not None and place.attempt.going:
            return tuple(gr.skip() for _ in range(3))
        place.attempt = None
        try:
            image = open_picture(picture) if picture else None
        except VToolError as err:
            return notice(str(err), "bad"), empty("This picture cannot be opened."), empty(STRIP)
        return empty(FIRST), plain_board(image), empty(STRIP)

    async def play(
        self,
        picture: str | None,
        question: str,
        model: str,
        tools: list[str],
        temperature: float,
        seed: float,
        request: gr.Request,
    ) -> AsyncIterator[Update]:
        """Ask, and tell every step as it comes."""
        place = self._place(request)
        try:
            image = await asyncio.to_thread(open_picture, picture)
            words = read_question(question)
            why = outside(model, words, (image,))
            if why is not None:
                place.attempt = None
                yield self._said(notice(why), plain_board(image), {"outside": why})
                return
            cast = (await self.studio.policies.get(model)).sampling(temperature)
            attempt = self.studio.attempt((image, words), cast, tuple(tools), int(seed))
            place.begin(attempt)
            async for _ in attempt.play():
                yield self._update(place)
        except VToolError as err:
            yield self._said(notice(str(err), "bad"), None, {"error": str(err)})
            return
        yield self._update(place, over=True)

    async def stop(self, request: gr.Request) -> None:
        """Stop what goes on for this visitor: generation and tools alike."""
        await self.studio.sessions.of(request.session_hash).stop()

    def picked(self, event: gr.EventData, request: gr.Request) -> Update:
        """Follow a click on a call, a picture or a box, or a box that was drawn."""
        place = self._place(request)
        try:
            pick(place, event._data.get("pick"))
        except (VToolError, AttributeError):
            return tuple(gr.skip() for _ in range(3 + len(self.pen.box_fields)))
        return (*show(place, live=_live(place)), *self.pen.box_values(place))

    def _place(self, request: gr.Request) -> Place:
        return self.studio.sessions.of(request.session_hash).place("image")

    def _update(self, place: Place, *, over: bool = False) -> Update:
        live = not over and _live(place)
        skip = tuple(gr.skip() for _ in self.pen.outputs)
        pen = self.pen.values(place) if over else skip
        return (*show(place, live=live), facts(place), *pen)

    def _said(self, words: Any, picture: Any, told: dict[str, Any]) -> Update:
        skip = tuple(gr.skip() for _ in self.pen.outputs)
        shown = gr.skip() if picture is None else picture
        return (words, shown, empty(STRIP), {"answer": None, "steps": [], **told}, *skip)


def _live(place: Place) -> bool:
    return place.attempt is not None and place.attempt.going


def open_picture(path: str | None) -> Image:
    """The picture that was chosen.

    Raises:
        DataError: None was.
        MediaError: It is not one, or too large.
    """
    if not path:
        raise DataError("expected a picture: drop one here, paste one, or choose an example")
    return Image.open(Path(path))


def read_question(words: str | None) -> str:
    """The question.

    Raises:
        DataError: There is none, or it is too long.
    """
    said = (words or "").strip()
    if not said:
        raise DataError("expected a question, got nothing")
    if len(said) > MAX_QUESTION:
        raise DataError(f"expected at most {MAX_QUESTION} characters, got {len(said)}")
    return said
