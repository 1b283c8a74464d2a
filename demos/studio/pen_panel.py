"""The pen on the page: change a box, a call or the words of a turn, and go on from there."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import gradio as gr

from vtool.errors import DataError, VToolError
from vtool.geometry import Box
from vtool.message import Action

from ..markup import Html
from .guard import asked_at
from .open_list import open_list
from .panels import notice
from .path import PathView, ends
from .pen import fields, preference, read_fields, supervised, title, turns, whole, with_box
from .session import Place
from .studio import Studio
from .viewer import Panels, facts, large

Update = tuple[Any, ...]


class Pen:
    """The fields below the picture.

    Args:
        studio: The household.
        name: Of the tab whose attempt is edited.
        show: Makes the panels of that tab.
    """

    def __init__(
        self, studio: Studio, name: str, show: Callable[..., tuple[Html, Html, Html]]
    ) -> None:
        self.studio, self.name, self.show = studio, name, show

    def build(self) -> None:
        """Lay it out."""
        with gr.Accordion("Take the pen", open=False, elem_id=f"vs-pen-{self.name}"):
            with gr.Row():
                self.path = open_list([], "Path", min_width=140)
                self.turn = open_list([], "Turn to change", min_width=140)
            self.thought = gr.Textbox(label="Thought", lines=2, max_lines=4, max_length=8000)
            self.calls = gr.Textbox(
                label="Calls, one a line as JSON",
                lines=2,
                max_lines=6,
                max_length=8000,
                elem_classes=["vs-mono"],
                elem_id=f"vs-calls-{self.name}",
            )
            self.answer = gr.Textbox(label="Answer, instead of calls", lines=1, max_length=8000)
            with gr.Row(visible=self.name == "image", equal_height=True):
                self.corners = [
                    gr.Number(0, label=label, precision=0, minimum=0, min_width=64)
                    for label in ("x1", "y1", "x2", "y2")
                ]
                self.put = gr.Button("Put box into call", min_width=120)
            with gr.Row():
                self.go = gr.Button(
                    "Go on from here", variant="primary", elem_id=f"vs-go-{self.name}"
                )
                self.anew = gr.Button("Let the policy write this turn anew")
            self.said = gr.HTML("", elem_classes=["vs-panel"])
            with gr.Row():
                self.example = gr.Button("Keep path as example")
                self.pair = gr.Button("Prefer path over first")
                self.trace = gr.Button("Keep whole trace")
            self.file = gr.File(label="Kept", visible=False, interactive=False)

    @property
    def words(self) -> list[Any]:
        """The fields that hold a turn."""
        return [self.thought, self.calls, self.answer]

    @property
    def box_fields(self) -> list[Any]:
        """The fields that hold a box, the calls that it goes into, and the answer they replace."""
        return [*self.corners, self.calls, self.answer]

    @property
    def outputs(self) -> list[Any]:
        """In the order in which `values` answers."""
        return [self.path, self.turn, *self.words, *self.corners, self.said, self.file]

    def values(self, place: Place) -> Update:
        """All fields, for where the visitor is."""
        path = place.path()
        if path is None or place.attempt is None or place.attempt.episode is None:
            return tuple(gr.skip() for _ in self.outputs)
        leaves = ends(place.attempt.episode)
        names = [(_path_name(n, place, leaf), leaf) for n, leaf in enumerate(leaves)]
        said = turns(path.context)
        place.turn = max(0, min(place.turn, len(said) - 1))
        labels = [(title(i, a), i) for i, a in enumerate(said)]
        words = fields(said[place.turn]) if said else ("", "", "")
        return (
            gr.update(choices=names, value=place.leaf if place.leaf is not None else leaves[-1]),
            gr.update(choices=labels, value=place.turn if said else None),
            *words,
            *_corners(path, place),
            "",
            gr.update(visible=False, value=None),
        )

    def emptied(self) -> Update:
        """All fields without a turn: there is none yet."""
        none = gr.update(choices=[], value=None)
        return (none, none, "", "", "", 0, 0, 0, 0, "", gr.update(visible=False, value=None))

    def box_values(self, place: Place, typed: tuple[str, str, str]) -> Update:
        """Corners, calls and answer, after a box was drawn: it goes into what was typed."""
        path = place.path()
        if path is None or place.drawn is None:
            return tuple(gr.skip() for _ in self.box_fields)
        action = self._with_drawn(path, place, typed)
        words = (gr.skip(), gr.skip()) if action is None else fields(action)[1:]
        return (*_corners(path, place), *words)

    def wire(self, panels: Panels, told: Any, queue: dict[str, Any]) -> None:
        """Connect everything."""
        quiet = {"show_progress": "hidden"}
        self.path.input(
            self.choose_path,
            [self.path],
            [*panels.all, told, *self.outputs],
            api_visibility="private",
            **quiet,
        )
        self.turn.input(
            self.choose_turn, [self.turn], self.outputs, api_visibility="private", **quiet
        )
        self.put.click(
            self.put_box,
            [*self.corners, *self.words],
            [*panels.all, *self.box_fields, self.said],
            api_visibility="private",
            **quiet,
        )
        outputs = [*panels.all, told, *self.outputs]
        self.go.click(
            self.go_on,
            [self.turn, *self.words],
            outputs,
            api_name=f"go_on_{self.name}",
            **quiet,
            **queue,
        )
        self.anew.click(
            self.write_anew, [self.turn], outputs, api_name=f"anew_{self.name}", **quiet, **queue
        )
        for button, keep in (
            (self.example, self.keep_example),
            (self.pair, self.keep_pair),
            (self.trace, self.keep_trace),
        ):
            button.click(
                keep, None, [self.file, self.said], api_name=f"{keep.__name__}_{self.name}", **quiet
            )

    def choose_path(self, leaf: int, request: gr.Request) -> Update:
        """Look at another path."""
        place = self._place(request)
        episode = place.attempt.episode if place.attempt else None
        if episode is not None and leaf in ends(episode):
            place.leaf, place.turn, place.call, place.drawn = leaf, 0, 0, None
        return (*self.show(place), facts(place), *self.values(place))

    def choose_turn(self, turn: int, request: gr.Request) -> Update:
        """Put the pen on another turn."""
        place = self._place(request)
        place.turn, place.drawn = int(turn or 0), None
        return self.values(place)

    def put_box(
        self,
        x1: float | None,
        y1: float | None,
        x2: float | None,
        y2: float | None,
        thought: str,
        calls: str,
        answer: str,
        request: gr.Request,
    ) -> Update:
        """Take the corners as given, draw them and write them into the call."""
        place = self._place(request)
        path = place.path()
        skip = tuple(gr.skip() for _ in range(3 + len(self.box_fields)))
        if path is None:
            return (*skip, notice("ask something first", "bad"))
        handle = large(path, place)
        try:
            place.drawn = box_of_pixels((x1, y1, x2, y2), path, handle)
            place.handle, place.call = handle, 0
        except VToolError as err:
            return (*skip, notice(str(err), "bad"))
        typed = (thought, calls, answer)
        return (*self.show(place), *self.box_values(place, typed), "")

    async def go_on(
        self, turn: int | None, thought: str, calls: str, answer: str, request: gr.Request
    ) -> AsyncIterator[Update]:
        """Write the turn as it stands in the fields, and let the policy go on."""
        try:
            edit = read_fields(thought, calls, answer)
        except VToolError as err:
            yield self._refused(str(err))
            return
        async for update in self._rerun(request, int(turn or 0), edit):
            yield update

    async def write_anew(self, turn: int | None, request: gr.Request) -> AsyncIterator[Update]:
        """Let the policy write the turn again."""
        async for update in self._rerun(request, int(turn or 0), None):
            yield update

    def keep_example(self, request: gr.Request) -> Update:
        """The path that is looked at, as an example to imitate."""
        return self._keep(request, "example")

    def keep_pair(self, request: gr.Request) -> Update:
        """The path that is looked at over the first one, as a preference."""
        return self._keep(request, "pair")

    def keep_trace(self, request: gr.Request) -> Update:
        """The record with all its paths."""
        return self._keep(request, "trace")

    def _keep(self, request: gr.Request, kind: str) -> Update:
        session = self.studio.sessions.of(request.session_hash)
        place = session.place(self.name)
        episode = place.attempt.episode if place.attempt else None
        if episode is None or place.attempt is None or place.attempt.going:
            return gr.skip(), notice("ask something first, and let it end", "bad")
        leaves = ends(episode)
        leaf = place.leaf if place.leaf is not None else leaves[-1]
        folder = session.file(kind)
        try:
            if kind == "example":
                packed = supervised(episode, leaf, folder)
            elif kind == "pair":
                packed = preference(episode, leaf, leaves[0], folder)
            else:
                packed = whole(episode, folder)
        except VToolError as err:
            return gr.skip(), notice(str(err), "bad")
        return gr.update(value=str(packed), visible=True), notice(_READ_BY[kind])

    async def _rerun(
        self, request: gr.Request, turn: int, edit: Action | None
    ) -> AsyncIterator[Update]:
        session = self.studio.sessions.of(request.session_hash)
        place = session.place(self.name)
        path, attempt = place.path(), place.attempt
        if path is None or attempt is None or attempt.episode is None or attempt.going:
            yield self._refused("ask something first, and let it end")
            return
        looked = place.leaf
        leaf = looked if looked is not None else ends(attempt.episode)[-1]
        before = len(attempt.episode.contexts)
        try:
            session.check(asked_at(request))
            async for _ in attempt.rerun(leaf, turn, edit):
                _follow(place, before)
                skip = tuple(gr.skip() for _ in self.outputs)
                yield (*self.show(place, live=attempt.going), facts(place), *skip)
        except VToolError as err:
            place.leaf = looked
            yield self._refused(str(err))
            return
        # A turn that answers ends at once: nothing was shown since it began.
        _follow(place, before)
        yield (*self.show(place), facts(place), *self.values(place))

    def _refused(self, why: str) -> Update:
        skip = [gr.skip() for _ in self.outputs]
        skip[self.outputs.index(self.said)] = notice(why, "bad")
        return (*(gr.skip() for _ in range(3)), {"error": why}, *skip)

    def _with_drawn(
        self, path: PathView, place: Place, typed: tuple[str, str, str]
    ) -> Action | None:
        attempt, said = place.attempt, turns(path.context)
        if attempt is None or place.drawn is None or place.turn >= len(said):
            return None
        try:
            turn = read_fields(*typed)
        except DataError:  # half written: then as it was recorded
            turn = said[place.turn]
        try:
            return with_box(
                turn,
                place.drawn,
                place.handle,
                cast=attempt.cast,
                specs=attempt.toolbox.specs,
                context=path.context,
            )
        except DataError:
            return None

    def _place(self, request: gr.Request) -> Place:
        return self.studio.sessions.of(request.session_hash).place(self.name)


def _follow(place: Place, before: int) -> None:
    """Look at the path that was added, if one was: not at the one that was chosen before."""
    episode = place.attempt.episode if place.attempt else None
    if episode is not None and len(episode.contexts) > before:
        place.leaf, place.drawn, place.call, place.handle = None, None, 0, ""


_READ_BY = {
    "example": "kept: a trace of one example. Unpack it and learn from it with a recipe of kind "
    "imitate (trace=FOLDER).",
    "pair": "kept: a trace of two attempts, the better one first. Unpack it and learn from it with "
    "a recipe of kind prefer (trace=FOLDER, pairs.by=ranked).",
    "trace": "kept: the whole record. Unpack it for `vtool view`, or load it under Replay.",
}


def _path_name(number: int, place: Place, leaf: int) -> str:
    assert place.attempt is not None
    assert place.attempt.episode is not None
    context = place.attempt.episode.contexts[leaf]
    told = f"“{context.answer[:24]}”" if context.answer else str(context.stop or "under way")
    return f"{'asked' if number == 0 else f'branch {number}'}: {told}"


def _corners(path: PathView, place: Place) -> tuple[int, int, int, int]:
    """What was drawn, or what the first call of the turn looked at, in pixels."""
    handle, box = large(path, place), place.drawn
    size = path.context.store.size(handle) if handle in path.context.store else None
    if box is None:
        before = sum(len(a.calls) for a in turns(path.context)[: place.turn])
        spots = [s for s in path.spots if s.number == before + 1 and s.handle == handle]
        box = spots[0].box if spots else None
    if box is None or size is None:
        return (0, 0, 0, 0)
    width, height = size
    return (
        round(box.x1 * width),
        round(box.y1 * height),
        round(box.x2 * width),
        round(box.y2 * height),
    )


def box_of_pixels(corners: tuple[Any, ...], path: PathView, handle: str) -> Box:
    """Four numbers as a box of a picture.

    Raises:
        DataError: A number is missing, or there is no such picture.
        GeometryError: The corners are in the wrong order, or outside.
    """
    size = path.context.store.size(handle) if handle in path.context.store else None
    if size is None or any(c is None for c in corners):
        raise DataError("expected four corners in pixels of the picture that is shown")
    x1, y1, x2, y2 = (float(c) for c in corners)
    return Box(x1 / size[0], y1 / size[1], x2 / size[0], y2 / size[1])
