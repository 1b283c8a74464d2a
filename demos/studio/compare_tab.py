"""One question asked twice: of two policies, or with tools and without, side by side."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import gradio as gr

from vtool.errors import VToolError
from vtool.media import Image

from ..markup import Html, join, tag
from .ask_tab import Update, read_question
from .board import board
from .examples import Example, example_strip
from .guard import asked_at
from .image_tab import open_picture
from .panels import Asked, conversation, empty, notice
from .picture_input import picture_input
from .session import Place, Session
from .studio import Studio
from .viewer import facts, large, make_panel, script
from .world import outside

SIDES = ("left", "right")
_FIRST = "The same question, asked of both: their steps appear here."
_STOPPED = "Stopped before it began."


class CompareTab:
    """The tab.

    Args:
        studio: The household.
        examples: Questions to begin with.
    """

    def __init__(self, studio: Studio, examples: list[Example]) -> None:
        self.studio, self.examples = studio, examples

    def build(self) -> None:
        """Lay it out and wire it up."""
        with gr.Row(equal_height=False):
            self.picture = picture_input("Picture", "vs-media-compare", scale=1)
            with gr.Column(scale=3):
                self.question = gr.Textbox(
                    label="Question", lines=1, max_lines=3, elem_id="vs-question-compare"
                )
                self._sides()
            with gr.Column(scale=1, min_width=120):
                self.ask = gr.Button("Ask both", variant="primary", elem_id="vs-ask-compare")
                self.halt = gr.Button("Stop", variant="stop")
        shelf = gr.HTML(
            example_strip(self.examples), js_on_load=script(), elem_classes=["vs-panel"]
        )
        with gr.Row(equal_height=False):
            self.panels = [
                make_panel(_FIRST, "vs-side", elem_id=f"vs-compare-{side}") for side in SIDES
            ]
        self.facts = gr.JSON(visible=False)
        self._wire(shelf)

    def _sides(self) -> None:
        names = self.studio.policies.names()
        other = "tiny/weak" if "tiny/weak" in names else names[-1]
        self.models, self.tools = [], []
        with gr.Row():
            for side, name in zip(SIDES, (names[0], other), strict=True):
                with gr.Column(min_width=160):
                    self.models.append(
                        gr.Dropdown(names, value=name, label=f"Policy, {side}", min_width=140)
                    )
                    self.tools.append(gr.Checkbox(True, label=f"with zoom, {side}"))

    def _wire(self, shelf: Any) -> None:
        inputs = [self.picture, self.question, *self.models, *self.tools]
        self.ask.click(
            self.play,
            inputs,
            [*self.panels, self.facts],
            api_name="compare",
            show_progress="hidden",
            concurrency_limit=self.studio.options.at_once,
            concurrency_id="play",
        )
        self.halt.click(self.stop, None, None, api_visibility="private", queue=False)
        shelf.select(
            self.choose,
            None,
            [self.picture, self.question],
            api_visibility="private",
            show_progress="hidden",
            queue=False,
        )

    def choose(self, event: gr.EventData) -> Update:
        """Take an example."""
        number = str(event._data.get("pick", "")).removeprefix("example:")
        if not number.isdecimal() or int(number) >= len(self.examples):
            return gr.skip(), gr.skip()
        example = self.examples[int(number)]
        return str(example.path), example.question

    async def stop(self, request: gr.Request) -> None:
        """Stop both."""
        await self.studio.sessions.of(request.session_hash).stop()

    async def play(
        self,
        picture: str | None,
        question: str,
        left: str,
        right: str,
        left_tools: bool,
        right_tools: bool,
        request: gr.Request,
    ) -> AsyncIterator[Update]:
        """Ask both, one after the other: they share one machine."""
        session = self.studio.sessions.of(request.session_hash)
        since = asked_at(request)
        asked = zip(SIDES, (left, right), (left_tools, right_tools), strict=True)
        told: dict[str, Any] = {}
        shown: list[Any] = [empty("waits"), empty("waits")]
        try:
            image = await asyncio.to_thread(open_picture, picture)
            words = read_question(question)
        except VToolError as err:
            yield notice(str(err), "bad"), empty(_FIRST), {"error": str(err)}
            return
        for at, (side, model, tools) in enumerate(asked):
            if session.stopped >= since:
                shown[at], told[side] = empty(_STOPPED), {"stop": "cancelled"}
                yield (*shown, dict(told))
                continue
            async for panel, facts_ in self._one(session, since, side, model, tools, image, words):
                shown[at], told[side] = panel, facts_
                yield (*shown, dict(told))

    async def _one(
        self,
        session: Session,
        since: float,
        side: str,
        model: str,
        tools: bool,
        image: Image,
        words: str,
    ) -> AsyncIterator[tuple[Html, dict[str, Any]]]:
        place = session.place(side)
        title = f"{model}, {'with zoom' if tools else 'without tools'}"
        try:
            why = outside(model, words, (image,))
            if why is not None:
                yield join([tag("h3", title), notice(why)]), {"outside": why}
                return
            cast = await self.studio.policies.get(model)
            if session.stopped >= since:  # while it was being loaded
                yield join([tag("h3", title), notice(_STOPPED)]), {"stop": "cancelled"}
                return
            names = ("zoom",) if tools else ()
            place.begin(self.studio.attempt((image, words), cast, names))
            assert place.attempt is not None
            async for _ in place.attempt.play():
                yield side_panel(title, place), facts(place)
            yield side_panel(title, place), facts(place)  # how it ended
        except VToolError as err:
            yield join([tag("h3", title), notice(str(err), "bad")]), {"error": str(err)}


def side_panel(title: str, place: Place) -> Html:
    """One of the two: who it is, the picture with its boxes, the steps."""
    path = place.path()
    if path is None or place.attempt is None:
        return join([tag("h3", title), empty("writing")])
    cast = place.attempt.cast
    asked = Asked(cast.name, cast.engine, place.attempt.going)
    picture = board(path, large(path, place))
    return tag("div", tag("h3", title), picture, conversation(path, asked), class_="vs-onside")
