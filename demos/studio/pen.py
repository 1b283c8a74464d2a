"""The pen: a turn as a person may change it, and what a change is worth as training data."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from vtool.errors import DataError
from vtool.geometry import Box
from vtool.message import Action, Json, ToolCall
from vtool.record import Context, Episode, StopReason
from vtool.reward import Score
from vtool.toolspec import Kind, ToolSpec
from vtool.trace import TraceRecord, write_trace

from .path import flat
from .policies import Cast

MAX_WORDS = 8000


def turns(context: Context) -> list[Action]:
    """The assistant turns of a path."""
    return [m.action for m in context.messages() if m.action is not None]


def title(number: int, action: Action) -> str:
    """A turn in a line."""
    what = ", ".join(c.name for c in action.calls) or ("answer" if action.answer else "words")
    return f"turn {number + 1}: {what[:60]}"


def fields(action: Action) -> tuple[str, str, str]:
    """Thought, calls as JSON (one a line) and answer, to be changed by hand."""
    calls = "\n".join(
        json.dumps({"name": c.name, "arguments": dict(c.arguments)}, ensure_ascii=False)
        for c in action.calls
    )
    return action.thought, calls, action.answer or ""


def read_fields(thought: str, calls: str, answer: str) -> Action:
    """What a person wrote, as an action.

    Raises:
        DataError: Not a call, too long, or nothing at all.
    """
    if max(len(thought), len(calls), len(answer)) > MAX_WORDS:
        raise DataError(f"expected at most {MAX_WORDS} characters a field")
    found = tuple(_call(line, n) for n, line in enumerate(calls.splitlines(), 1) if line.strip())
    said = answer.strip()
    if bool(found) == bool(said):
        raise DataError("expected either calls or an answer: a turn has one of them")
    return Action(text="", thought=thought.strip(), calls=found, answer=said or None)


def _call(line: str, number: int) -> ToolCall:
    try:
        body = json.loads(line, parse_constant=_refuse)
        json.dumps(body, allow_nan=False)  # 1e400 is read as infinity
    except (ValueError, RecursionError) as err:
        raise DataError(f"line {number} of the calls is not JSON: {err}") from err
    named = isinstance(body, dict) and isinstance(body.get("name"), str)
    if not named or not isinstance(body.get("arguments", {}), dict):
        raise DataError(f'line {number}: expected {{"name": "zoom", "arguments": {{...}}}}')
    return ToolCall(body["name"], body.get("arguments", {}))


def _refuse(word: str) -> Json:
    raise ValueError(f"expected finite numbers, got {word}")


def with_box(
    action: Action,
    box: Box,
    handle: str,
    *,
    cast: Cast,
    specs: Sequence[ToolSpec],
    context: Context,
) -> Action:
    """The same turn, looking at a place that a person has drawn.

    The first call that takes a box gets it, written as this policy writes places; a turn without
    such a call becomes one with the first tool that takes one.

    Raises:
        DataError: No tool here takes a box.
    """
    takers = {s.name: s for s in specs if _box_name(s)}
    if not takers:
        raise DataError("no tool on offer takes a box; offer one, such as zoom")
    at = next((i for i, c in enumerate(action.calls) if c.name in takers), None)
    old = action.calls[at] if at is not None else ToolCall(next(iter(takers)), {})
    spec = takers[old.name]
    dialect = cast.seat.renderer.dialect
    size = context.store.size(handle)
    assert size is not None
    name = _box_name(spec)
    place = dialect.coordinates.write_box(box, original=size, shown=context.shown(handle))
    given: dict[str, Json] = {**old.arguments, name: list(place)}
    picture = spec.param(name).of  # type: ignore[union-attr]
    if picture is not None:
        given[picture] = dialect.picture_name(handle, context.store)
    call = ToolCall(old.name, given)
    calls = list(action.calls)
    if at is None:
        calls = [call]
    else:
        calls[at] = call
    return replace(action, calls=tuple(calls), answer=None, text="")


def _box_name(spec: ToolSpec) -> str:
    return next((p.name for p in spec.params if p.kind is Kind.BOX), "")


def supervised(episode: Episode, leaf: int, folder: Path) -> Path:
    """A path as an example to imitate: a trace that the `imitate` stage reads.

    Args:
        episode: The record.
        leaf: The path that is right.
        folder: Where the trace goes.

    Returns:
        The trace, packed.

    Raises:
        DataError: The path came to no answer.
    """
    _check_ended(episode.contexts[leaf])
    return _pack([_line(episode, leaf, 1.0, 0, "example")], folder)


def _check_ended(context: Context) -> None:
    """Only what came to an answer is worth learning from.

    Raises:
        DataError: It did not.
    """
    if context.stop is not StopReason.ANSWERED:
        raise DataError(
            f"this path has no answer (it ended as {context.stop or 'nothing'}): go on with it "
            "until it has one"
        )


def preference(episode: Episode, chosen: int, rejected: int, folder: Path) -> Path:
    """Two paths from one past, the better one first: a trace that the `prefer` stage reads.

    Raises:
        DataError: It is one and the same path, or the better one came to no answer.
    """
    if chosen == rejected:
        raise DataError("a preference needs two paths: edit a turn and go on from there first")
    _check_ended(episode.contexts[chosen])
    lines = [
        _line(episode, chosen, 1.0, 0, "chosen"),
        _line(episode, rejected, 0.0, 1, "rejected"),
    ]
    return _pack(lines, folder)


def whole(episode: Episode, folder: Path) -> Path:
    """The record with all its paths, packed, to be looked at again."""
    return _pack([TraceRecord(episode, None, {"by": "studio"})], folder)


def _line(episode: Episode, leaf: int, total: float, attempt: int, role: str) -> TraceRecord:
    score = Score({"person": total}, total)
    meta: dict[str, Json] = {"attempt": attempt, "by": "a person, in the studio", "role": role}
    return TraceRecord(flat(episode, leaf), score, meta)


def _pack(records: Sequence[TraceRecord], folder: Path) -> Path:
    write_trace(folder, records)
    packed = folder.with_suffix(".zip")
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            archive.write(path, path.relative_to(folder).as_posix())
    return packed
