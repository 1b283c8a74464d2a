"""R5, tool bonuses: for using tools at all, while few do, or of several kinds.

A bonus is never paid by the call: it is capped per episode, and worth nothing by itself until a
combine joins it with a right answer (`conditional_bonus`, `multi_bonus`, `gated_curiosity`).
"""

from __future__ import annotations

from collections.abc import Sequence

from vtool.evidence import on_source
from vtool.geometry import Box
from vtool.message import Outcome
from vtool.record import Episode
from vtool.reward import Scope, reward
from vtool.shaping import cosine
from vtool.task import Task

TARGET_RATE = 0.3
FULL_VIEW = 0.95
"""A crop that shows so much of its picture is no look closer."""


@reward("tool_used")
def tool_used(episode: Episode, task: Task) -> float:
    """1 if at least one call did something: it ran, and showed more than the whole picture again.

    Source: VITAL's R_tool (any successful call); the 1[tool] of DeepEyes. Trap: DeepEyes' first
    code paid per call, and a full-picture zoom is a successful call: neither counts here.
    """
    return float(any(useful(episode, o) for o in episode.outcomes()))


@reward("tool_called")
def tool_called(episode: Episode, task: Task) -> float:
    """1 if any call was made, refused ones too.

    Source: the 1[any call] of DeepEyesV2's discount and of VisionThink's.
    """
    return float(any(a.calls for a in episode.actions()))


@reward("tools_used_all")
def tools_used_all(episode: Episode, task: Task, *, tools: Sequence[str] = ()) -> float:
    """1 if each of these tools was used with success.

    Args:
        episode: The attempt.
        task: Not read.
        tools: The tools' own names, such as [search, python].

    Source: ARPO and Tool-Star (both search and python). Join it by `multi_bonus`.
    """
    used = {o.bound.tool for o in episode.outcomes() if o.bound is not None and o.fault is None}
    return float(bool(tools) and set(tools) <= used)


@reward("tool_turns")
def tool_turns(episode: Episode, task: Task, *, each: float = 0.1, most: float = 1.0) -> float:
    """min(`most`, `each` * turns with a useful call).

    Source: PyVision-RL (+.1 a tool turn, for right answers only: join it by `conditional_bonus`).
    """
    return min(most, each * useful_turns(episode))


@reward("tool_turns_cosine")
def tool_turns_cosine(
    episode: Episode, task: Task, *, step: int = 0, until: int = 200, each: float = 0.1
) -> float:
    """min(1, `each` * turns with a useful call), fading to 0 over the first `until` steps.

    Source: SPEAR, (cos(pi t / 200) + 1) / 2: factors 1, .854, .5, 0 at steps 0, 50, 100, 200.
    """
    return min(1.0, each * useful_turns(episode)) * cosine(step, until)


@reward("curiosity_tool_rate", scope=Scope.GROUP)
def curiosity_tool_rate(
    episodes: Sequence[Episode], task: Task, *, target: float = TARGET_RATE, scale: float = 0.5
) -> list[float]:
    """A bonus for tool users while few of their group use tools: `scale max(0, target - rate)`.

    Source: Pixel-Reasoner's curiosity reward, as ported in verl-tool (H = 0.3, alpha = 0.5).
    Trap: it is paid for wrong answers too; `gated_curiosity` asks for a right one.
    """
    used = [any(a.calls for a in e.actions()) for e in episodes]
    rate = sum(used) / len(used)
    return [scale * max(0.0, target - rate) if u else 0.0 for u in used]


@reward("curiosity_relative", scope=Scope.GROUP)
def curiosity_relative(
    episodes: Sequence[Episode], task: Task, *, target: float = TARGET_RATE, scale: float = 0.25
) -> list[float]:
    """The same, relative to the rate: `scale max(0, target - rate) / (2 rate)`.

    Source: Pixel-Reasoner's own code (.25, .3). Trap: at a rate of 1/8 it pays .175, twice the
    port's .0875; for video the code divides it by 1.5: set `scale`.
    """
    used = [any(a.calls for a in e.actions()) for e in episodes]
    rate = sum(used) / len(used)
    return [scale * max(0.0, target - rate) / (2 * rate) if u else 0.0 for u in used]


def useful(episode: Episode, outcome: Outcome) -> bool:
    """Whether a call did something: it ran, and no picture it made is the whole one again."""
    if outcome.call is None or outcome.fault is not None:
        return False
    return not any(full_view(episode, handle) for handle in outcome.handles)


def full_view(episode: Episode, handle: str) -> bool:
    """Whether a picture shows (nearly) all of the picture that it was cut from."""
    store = episode.final.store
    place = on_source(store, handle) if handle in store else None
    made_by_cutting = handle in store and store[handle].origin.ops is not None
    whole = place is not None and isinstance(place.shape, Box) and place.shape.area >= FULL_VIEW
    return made_by_cutting and whole


def useful_turns(episode: Episode) -> int:
    """Turns with at least one useful call."""
    return sum(any(useful(episode, o) for o in m.outcomes) for m in episode.path_messages())
