"""The conversation and the film strip of a path; every foreign word in them is escaped."""

from __future__ import annotations

from dataclasses import dataclass

from vtool.geometry import Size
from vtool.media import Clip
from vtool.message import Role
from vtool.record import StopReason

from ..figure import HUES, data_address
from ..markup import Html, join, tag
from ..steps import CallView, Sight, Step
from .path import PathView

THUMB = 132
"""Longest side of a picture in the conversation and the strip, in pixels of the page."""

MANY = 4
"""Pictures of one step beyond which they are shown small in the conversation."""


def hue(number: int) -> int:
    """Hue of a call's number, the same wherever it is seen."""
    return HUES[(number - 1) % len(HUES)]


def empty(words: str) -> Html:
    """What stands where there is nothing yet."""
    return tag("p", words, class_="vs-empty")


def notice(words: str, kind: str = "note") -> Html:
    """Something said by the studio itself, never by a policy."""
    return tag("p", words, class_=f"vs-notice {kind}", role="status")


@dataclass(frozen=True, slots=True)
class Asked:
    """Who was asked, for the head of each step.

    Args:
        name: The policy.
        engine: What runs it.
        live: Whether it is still writing.
        picked: Number of the call that the person has chosen, or 0.
    """

    name: str
    engine: str
    live: bool = False
    picked: int = 0


def conversation(path: PathView, asked: Asked) -> Html:
    """Every step of a path, one after the other."""
    items = [_step(path, k, s, asked) for k, s in enumerate(path.steps)]
    tail = [tag("li", "writing", class_="vs-live", role="status")] if asked.live else [_end(path)]
    return tag("ol", items, tail, class_="vs-chat", aria_label="steps")


def _step(path: PathView, k: int, step: Step, asked: Asked) -> Html:
    last = asked.live and k == len(path.steps) - 1
    who, policy = _who(path, k, step, asked)
    seconds = path.seconds[k]
    cost = [f"{step.tokens} tokens"] if step.tokens else []
    cost += [_time(seconds)] if seconds is not None else []
    cost += [f"mean log-prob {step.mean_logprob:.2f}"] if step.mean_logprob is not None else []
    head = tag(
        "div",
        tag("b", who),
        policy,
        tag("span", " · ".join(cost), class_="vs-cost"),
        class_="vs-head",
    )
    said = [
        tag("div", step.thought, class_="vs-thought") if step.thought else None,
        tag("div", step.words, class_="vs-words") if step.words else None,
        *(_call(c, asked, running=last) for c in step.calls),
        *(tag("p", f, class_="vs-fault") for f in step.faults),
        _answer(step),
    ]
    sights = [s for s in step.sights if not s.marks]
    size = "vs-thumbs many" if len(sights) > MANY else "vs-thumbs"
    shown = tag("div", [thumb(s) for s in sights], class_=size) if sights else None
    kind = "policy" if step.who in ("policy", "teacher") else step.who
    return tag("li", head, *said, shown, class_=f"vs-step {kind}", id=f"step-{k + 1}")


def _who(path: PathView, k: int, step: Step, asked: Asked) -> tuple[str, Html | None]:
    if k in path.edited:
        return f"{k + 1} · you", tag("span", "edited by hand", class_="vs-tag pen")
    if step.who in ("policy", "teacher"):
        engine = f"{asked.name} · {asked.engine}"
        version = f" · weights {step.version}" if step.version is not None else ""
        return f"{k + 1} · policy", tag("span", engine + version, class_="vs-tag")
    words = {"user": "question", "tool": "observation", "system": "system"}
    return f"{k + 1} · {words.get(step.who, step.who)}", None


def _call(call: CallView, asked: Asked, *, running: bool) -> Html:
    picked = " picked" if call.number == asked.picked else ""
    number = tag("span", str(call.number), class_="vs-num", style=f"--h:{hue(call.number)}")
    time = tag("span", _time(call.seconds), class_="vs-cost") if call.seconds else None
    line = tag(
        "button",
        number,
        tag("code", f"{call.name}({call.arguments})"),
        time,
        type="button",
        class_=f"vs-call{picked}",
        data_pick=f"call:{call.number}",
        aria_label=f"show call {call.number}, {call.name}, on the picture",
    )
    note = "running" if running and call.note.startswith("not run") else call.note
    cached = "the same call as before: answered from the cache" if call.cached else ""
    notes = [tag("p", n, class_="vs-note") for n in (note, cached) if n]
    fault = [tag("p", call.fault, class_="vs-fault")] if call.fault else []
    return join([line, *notes, *fault])


def _answer(step: Step) -> Html | None:
    if step.answer is None:
        return None
    return tag("p", tag("span", "Answer"), tag("b", step.answer), class_="vs-answer")


def _end(path: PathView) -> Html:
    stop = path.episode.stop
    told = {
        StopReason.ANSWERED: "answered",
        StopReason.CANCELLED: "stopped by you",
        StopReason.FAILED: f"something of ours broke: {path.episode.error}",
    }.get(stop, str(stop).replace("_", " "))
    turns = sum(m.role is Role.ASSISTANT for m in path.context.messages())
    words = f"{told} · {turns} turn{'' if turns == 1 else 's'} · {len(path.context)} tokens"
    return tag("li", words, class_=f"vs-end {stop}", role="status")


def film(path: PathView, picked: str = "") -> Html:
    """Everything that was shown, in order, with what it cost.

    Args:
        path: The path.
        picked: Handle of the picture that is shown large.
    """
    frames = [_frame(path, k, s, s.handle == picked) for k, s in _observations(path)]
    if not frames:
        return empty("Observations appear here, each with its cost in tokens.")
    return tag("div", frames, class_="vs-film", role="group", aria_label="observations")


def _observations(path: PathView) -> list[tuple[int, Sight]]:
    return [(k, s) for k, step in enumerate(path.steps) for s in step.sights if not s.marks]


def _frame(path: PathView, k: int, sight: Sight, picked: bool) -> Html:
    cost = _tokens(path, sight.handle)
    seen = f"seen at {sight.shown[0]}×{sight.shown[1]}" if sight.shown else sight.caption
    told = f"{cost} tokens" if cost else f"step {k + 1}"
    return tag(
        "button",
        _img(sight),
        tag("b", sight.handle),
        tag("span", seen),
        tag("span", told),
        type="button",
        class_=f"vs-frame{' picked' if picked else ''}",
        data_pick=f"picture:{sight.handle}",
        aria_label=f"show {sight.handle}, {told}",
    )


def _tokens(path: PathView, handle: str) -> int:
    """Placeholder tokens of the first showing of a picture (after merging)."""
    for placement in path.context.placements():
        if placement.handle == handle:
            return sum(r.length for r in placement.runs)
    return 0


def thumb(sight: Sight) -> Html:
    """A small picture with its caption."""
    return tag("figure", _img(sight), tag("figcaption", sight.caption or sight.handle))


def _img(sight: Sight) -> Html:
    width, height = fit(sight.image.size, THUMB)
    address = data_address(sight.image, 2 * THUMB)
    return tag("img", src=address, alt=sight.caption or sight.handle, width=width, height=height)


def fit(size: Size, side: int) -> Size:
    """A size whose longer side is that long."""
    scale = side / max(size)
    return (max(1, round(size[0] * scale)), max(1, round(size[1] * scale)))


def clip_of(path: PathView, handle: str) -> Clip | None:
    """The clip of that name, or None."""
    value = path.context.store[handle].value if handle in path.context.store else None
    return value if isinstance(value, Clip) else None


def _time(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"
