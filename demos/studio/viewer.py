"""Conversation left, picture and strip right: the three panels that most tabs have."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import gradio as gr

from vtool.errors import DataError
from vtool.geometry import Box
from vtool.store import Store

from ..markup import Html
from .board import NOTHING, board
from .panels import Asked, conversation, empty, film
from .path import PathView
from .session import Place

FIRST = "Every step appears here: thought, call, what came back, and the answer."
STRIP = "Observations appear here, each with its cost in tokens."


@dataclass(frozen=True, slots=True)
class Panels:
    """The components."""

    chat: Any
    board: Any
    film: Any

    @property
    def all(self) -> list[Any]:
        """In the order in which `show` answers."""
        return [self.chat, self.board, self.film]


def script() -> str:
    """What runs in the browser: tells what was clicked and drawn."""
    return files(__package__).joinpath("studio.js").read_text(encoding="utf-8")


def make_panel(words: str, name: str, **options: Any) -> Any:
    """One panel of markup."""
    return gr.HTML(empty(words), js_on_load=script(), elem_classes=["vs-panel", name], **options)


def show(place: Place, *, live: bool = False) -> tuple[Html, Html, Html]:
    """The three panels of where a visitor is."""
    path = place.path()
    if path is None or place.attempt is None:
        return empty(FIRST), empty(NOTHING), empty(STRIP)
    cast = place.attempt.cast
    asked = Asked(cast.name, cast.engine, live, place.call)
    handle = large(path, place)
    drawn = place.drawn if place.handle == handle else None
    picture = board(path, handle, call=place.call, drawn=drawn)
    return conversation(path, asked), picture, film(path, handle)


def large(path: PathView, place: Place) -> str:
    """The picture that is shown large: the chosen one, else the source."""
    if place.handle in path.context.store:
        return place.handle
    return path.sources[0] if path.sources else ""


def pick(place: Place, told: object) -> None:
    """Follow what was clicked or drawn.

    Args:
        place: Where the visitor is.
        told: ``call:2``, ``picture:image_2`` or ``box:image_1:x1,y1,x2,y2`` in shares.

    Raises:
        DataError: None of these; the browser is no place to trust.
    """
    kind, _, rest = str(told).partition(":")
    path = place.path()
    if path is None:
        return
    if kind == "call" and rest.isdecimal():
        place.call = 0 if place.call == int(rest) else int(rest)
        if place.call:
            place.handle = _where(path, place.call)
    elif kind == "picture" and rest in path.context.store:
        place.handle, place.call = rest, 0
    elif kind == "box":
        place.handle, place.drawn = read_box_on(rest, path.context.store)
        place.call = 0
    else:
        raise DataError(f"expected a call, a picture or a box, got {str(told)[:80]!r}")


def read_box_on(told: str, store: Store) -> tuple[str, Box]:
    """Handle and box of a drawing.

    Raises:
        DataError: Not four shares of a picture that is here.
    """
    handle, _, numbers = told.rpartition(":")
    try:
        corners = [float(n) for n in numbers.split(",")]
        box = Box(*corners)
    except (ValueError, TypeError) as err:
        raise DataError(f"expected four corners, got {numbers[:80]!r}") from err
    if handle not in store:
        raise DataError(f"there is no picture {handle[:40]!r} here")
    return handle, box


def _where(path: PathView, call: int) -> str:
    """The picture on which a call's box is shown: the source, where it can be told there."""
    handles = [s.handle for s in path.spots if s.number == call]
    return next((h for h in handles if h in path.sources), handles[0] if handles else "")


def facts(place: Place) -> dict[str, Any]:
    """A path as plain values, for programs."""
    path = place.path()
    if path is None or place.attempt is None:
        return {"answer": None, "stop": None, "steps": []}
    cast = place.attempt.cast
    return {
        "task": path.episode.task_id,
        "policy": cast.name,
        "engine": cast.engine,
        "answer": path.episode.answer,
        "stop": str(path.episode.stop),
        "error": path.episode.error,
        "tokens": len(path.context),
        "paths": len(place.attempt.episode.leaves()) if place.attempt.episode else 0,
        "steps": [_fact(path, k) for k in range(len(path.steps))],
    }


def _fact(path: PathView, k: int) -> dict[str, Any]:
    step = path.steps[k]
    return {
        "who": "you" if k in path.edited else step.who,
        "thought": step.thought,
        "words": step.words,
        "answer": step.answer,
        "calls": [
            {
                "number": c.number,
                "name": c.name,
                "arguments": c.arguments,
                "fault": c.fault,
                "seconds": round(c.seconds, 4),
            }
            for c in step.calls
        ],
        "faults": list(step.faults),
        "pictures": [s.handle for s in step.sights if not s.marks],
        "tokens": step.tokens,
        "seconds": path.seconds[k],
    }
