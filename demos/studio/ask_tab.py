"""Ask, watch every step, take the pen: what the tabs about a picture and about a video share."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import gradio as gr

from vtool.errors import DataError, VToolError
from vtool.task import TaskPart

from ..markup import Html
from .examples import Example, example_strip
from .guard import asked_at
from .panels import empty, notice
from .pen_panel import Pen
from .session import Place
from .studio import Studio, ready_tools
from .viewer import FIRST, Panels, facts, make_panel, pick, script, show

MAX_QUESTION = 2000
WAITS = "Waiting for its turn."
BUSY = "It was not answered: too many ask at once, or the studio broke. Ask again."
Update = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Given:
    """What was brought along to a question.

    Args:
        parts: As they stand in the prompt.
        shown: The same for the large panel.
    """

    parts: tuple[TaskPart, ...]
    shown: Html


class AskTab(ABC):
    """A tab in which questions are asked.

    Args:
        studio: The household.
        examples: Questions to begin with.
    """

    name: str
    tools: tuple[str, ...]
    """On offer at first."""
    invitation: str
    strip: str

    def __init__(self, studio: Studio, examples: list[Example]) -> None:
        self.studio, self.examples = studio, examples

    @abstractmethod
    def media_input(self) -> Any:
        """The component that takes a file."""

    @abstractmethod
    def open(self, path: str | None) -> Given:
        """Read what was brought along.

        Raises:
            VToolError: It cannot be read.
        """

    @abstractmethod
    def outside(self, model: str, question: str, given: Given) -> str | None:
        """Why this policy cannot know the answer."""

    def show(self, place: Place, *, live: bool = False) -> tuple[Html, Html, Html]:
        """The three panels."""
        return show(place, live=live)

    def build(self) -> None:
        """Lay it out and wire it up."""
        with gr.Row(equal_height=False):
            with gr.Column(scale=5, min_width=340):
                self._question()
                self.chat = make_panel(FIRST, "vs-conversation", elem_id=f"vs-chat-{self.name}")
            with gr.Column(scale=6, min_width=360, elem_classes=["vs-stick"]):
                self.board = make_panel(
                    self.invitation, "vs-large", elem_id=f"vs-board-{self.name}"
                )
                self.film = make_panel(self.strip, "vs-strip", elem_id=f"vs-film-{self.name}")
                self.pen = Pen(self.studio, self.name, self.show)
                self.pen.build()
        self.facts = gr.JSON(visible=False)
        self.panels = Panels(self.chat, self.board, self.film)
        self._wire()

    def _question(self) -> None:
        names = self.studio.policies.names(video=self.name == "video")
        with gr.Row(equal_height=True):
            self.media = self.media_input()
            with gr.Column(scale=4, min_width=220):
                self.question = gr.Textbox(
                    label="Question",
                    placeholder=self.examples[0].question if self.examples else "",
                    lines=2,
                    max_lines=4,
                    max_length=MAX_QUESTION,
                    elem_id=f"vs-question-{self.name}",
                )
                with gr.Row():
                    self.ask = gr.Button(
                        "Ask", variant="primary", elem_id=f"vs-ask-{self.name}", min_width=80
                    )
                    self.halt = gr.Button(
                        "Stop", variant="stop", elem_id=f"vs-stop-{self.name}", min_width=80
                    )
        if self.examples:
            strip = example_strip(self.examples)
            self.shelf = gr.HTML(strip, js_on_load=script(), elem_classes=["vs-panel"])
        with gr.Accordion("Policy, tools and sampling", open=False):
            with gr.Row():
                self.model = gr.Dropdown(
                    names, value=names[0], label="Policy", elem_id=f"vs-model-{self.name}"
                )
                self.offer = gr.Dropdown(
                    ready_tools(),
                    value=self._own(names[0]),
                    multiselect=True,
                    label="Tools on offer",
                )
            with gr.Row():
                self.heat = gr.Slider(0, 1.5, value=0, step=0.1, label="Temperature (0 is greedy)")
                self.seed = gr.Number(0, precision=0, minimum=0, maximum=2**31, label="Seed")

    def _wire(self) -> None:
        inputs = [self.media, self.question, self.model, self.offer, self.heat, self.seed]
        outputs = [*self.panels.all, self.facts, *self.pen.outputs]
        # Whoever asks waits in one queue, whatever the tab: the machine is one.
        queue = {"concurrency_limit": self.studio.options.at_once, "concurrency_id": "play"}
        # To look around is never refused: only questions wait.
        quiet = {"show_progress": "hidden", "api_visibility": "private", "queue": False}
        # Said at once and past the queue; the question itself may have to wait in it.
        begun = gr.on(
            [self.ask.click, self.question.submit],
            lambda: empty(WAITS),
            None,
            self.chat,
            **quiet,
        )
        playing = begun.then(
            self.play,
            inputs,
            outputs,
            api_name="ask" if self.name == "image" else f"ask_{self.name}",
            show_progress="hidden",
            **queue,
        )
        playing.failure(lambda: notice(BUSY, "bad"), None, self.chat, **quiet)
        self.pen.wire(self.panels, self.facts, queue)
        self.halt.click(
            self.stop,
            None,
            None,
            api_name="stop" if self.name == "image" else f"stop_{self.name}",
            queue=False,
        )
        self.model.change(self.offered, self.model, self.offer, **quiet)
        self.media.change(
            self.preview, [self.media], [*self.panels.all, *self.pen.outputs], **quiet
        )
        for panel in self.panels.all:
            panel.select(
                self.picked, self.pen.words, [*self.panels.all, *self.pen.box_fields], **quiet
            )
        if self.examples:
            self.shelf.select(self.choose, None, [self.media, self.question], **quiet)

    def choose(self, event: gr.EventData) -> Update:
        """Take an example."""
        told = str(event._data.get("pick", ""))
        kind, _, number = told.partition(":")
        if kind != "example" or not number.isdecimal() or int(number) >= len(self.examples):
            return gr.skip(), gr.skip()
        example = self.examples[int(number)]
        return str(example.path), example.question

    def offered(self, model: str) -> Update:
        """Offer what a policy was trained with."""
        return gr.update(value=self._own(model))

    def _own(self, model: str) -> list[str]:
        ready = ready_tools()
        own = [t for t in self.studio.policies.tools(model) if t in ready]
        return own or list(self.tools)

    def preview(self, path: str | None, request: gr.Request) -> Update:
        """Show a file that was chosen, before anything is asked."""
        place = self.place(request)
        if place.attempt is not None and place.attempt.going:
            return tuple(gr.skip() for _ in (*self.panels.all, *self.pen.outputs))
        place.attempt = None
        return (*self._previewed(path), empty(self.strip), *self.pen.emptied())

    def _previewed(self, path: str | None) -> tuple[Html, Html]:
        if not path:
            return empty(FIRST), empty(self.invitation)
        try:
            return empty(FIRST), self.open(path).shown
        except VToolError as err:
            return notice(str(err), "bad"), empty("This file cannot be opened.")

    async def play(
        self,
        path: str | None,
        question: str,
        model: str,
        tools: list[str],
        temperature: float,
        seed: float | None,
        request: gr.Request,
    ) -> AsyncIterator[Update]:
        """Ask, and tell every step as it comes."""
        session, place = self.studio.sessions.of(request.session_hash), self.place(request)
        asked = asked_at(request)
        try:
            session.check(asked)
            given = await asyncio.to_thread(self.open, path)
            words = read_question(question)
            why = self.outside(model, words, given)
            if why is not None:
                place.attempt = None
                yield self._said(notice(why), given.shown, {"outside": why})
                return
            cast = (await self.studio.policies.get(model)).sampling(temperature)
            session.check(asked)  # it may have been stopped while it waited, or while it was loaded
            if is_live(place):  # one at a time: who asks again does not wait for the answer
                await session.stop()
            attempt = self.studio.attempt((*given.parts, words), cast, tuple(tools), int(seed or 0))
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

    def picked(
        self, thought: str, calls: str, answer: str, event: gr.EventData, request: gr.Request
    ) -> Update:
        """Follow a click on a call, a picture or a box, or a box that was drawn."""
        place = self.place(request)
        try:
            pick(place, event._data.get("pick"))
        except (VToolError, AttributeError):
            return tuple(gr.skip() for _ in range(3 + len(self.pen.box_fields)))
        typed = (thought, calls, answer)
        return (*self.show(place, live=is_live(place)), *self.pen.box_values(place, typed))

    def place(self, request: gr.Request) -> Place:
        """Where this visitor is, in this tab."""
        return self.studio.sessions.of(request.session_hash).place(self.name)

    def _update(self, place: Place, *, over: bool = False) -> Update:
        live = not over and is_live(place)
        skip = tuple(gr.skip() for _ in self.pen.outputs)
        pen = self.pen.values(place) if over else skip
        return (*self.show(place, live=live), facts(place), *pen)

    def _said(self, words: Any, shown: Any, told: dict[str, Any]) -> Update:
        skip = tuple(gr.skip() for _ in self.pen.outputs)
        large = gr.skip() if shown is None else shown
        return (words, large, empty(self.strip), {"answer": None, "steps": [], **told}, *skip)


def is_live(place: Place) -> bool:
    """Whether something is being written there."""
    return place.attempt is not None and place.attempt.going


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
