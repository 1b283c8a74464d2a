"""A finished evaluation in the log format of Inspect, for its viewer and its analysis tools.

Source: `EvalLog`, version 2, of inspect_ai 0.3 (https://inspect.aisi.org.uk/eval-logs.html);
its own reader takes it (`scripts/check_inspect_log.py`).
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from vtool.errors import DataError
from vtool.media import Clip, Image
from vtool.message import Json, Message, Role, Show, Text
from vtool.store import Store
from vtool.trace import TraceRecord, read_trace

from ..attempt import Attempt
from ..results import read_samples

LARGEST = 512
"""Longest side of a picture in the log."""
SCORER = "vtool"


def write_inspect_log(folder: Path, out: Path, *, pictures: bool = True) -> Path:
    """Write the log of a folder.

    Args:
        folder: A finished evaluation.
        out: File, by custom ending in ``.json``.
        pictures: Whether pictures are put into it, made smaller; else they are named only.

    Raises:
        DataError: The folder holds no finished evaluation.
    """
    body = to_inspect(folder, pictures=pictures)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(body, indent=1) + "\n", encoding="utf-8")
    return out


def to_inspect(folder: Path, *, pictures: bool = True) -> dict[str, Json]:
    """The log of a folder as plain values.

    Raises:
        DataError: The folder holds no finished evaluation.
    """
    attempts = read_samples(folder)
    try:
        report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as err:
        raise DataError(f"{folder} holds no report: {err}") from err
    records = {
        (r.task_id, int(str(r.meta.get("attempt", 0)))): r for r in read_trace(folder / "trace")
    }
    ended = datetime.fromtimestamp((folder / "report.json").stat().st_mtime, UTC).isoformat()
    samples: list[Json] = [
        _sample(a, records.get((a.task_id, a.attempt)), pictures) for a in attempts
    ]
    return {
        "version": 2,
        "status": "success",
        "eval": _spec(report, attempts, ended),
        "results": _results(report, attempts),
        "stats": {"started_at": ended, "completed_at": ended},
        "samples": samples,
    }


def _spec(report: Mapping[str, Any], attempts: Sequence[Attempt], ended: str) -> dict[str, Json]:
    card = report.get("card") or {}
    names: list[Json] = list(dict.fromkeys(a.task_id for a in attempts))
    return {
        "created": ended,
        "task": str(report.get("name") or "vtool"),
        "task_id": str(card.get("settings_hash") or ""),
        "model": f"vtool/{Path(str(card.get('policy') or 'policy')).name}",
        "dataset": {"name": str(report.get("name")), "samples": len(names), "sample_ids": names},
        "config": {"epochs": int(report.get("k") or 1)},
        "packages": {str(k): str(v) for k, v in (card.get("versions") or {}).items()},
        "metadata": {"card": card, "control": report.get("control")},
    }


def _results(report: Mapping[str, Any], attempts: Sequence[Attempt]) -> dict[str, Json]:
    total = report["total"]
    metrics: dict[str, Json] = {
        name: {"name": name, "value": float(total[key])}
        for name, key in (("accuracy", "accuracy"), ("ci_low", "low"), ("ci_high", "high"))
    }
    scored = sum(a.counts for a in attempts)
    score: Json = {
        "name": SCORER,
        "scorer": SCORER,
        "scored_samples": scored,
        "unscored_samples": len(attempts) - scored,
        "metrics": metrics,
    }
    done = sum(not a.broken for a in attempts)
    return {"total_samples": len(attempts), "completed_samples": done, "scores": [score]}


def _sample(attempt: Attempt, record: TraceRecord | None, pictures: bool) -> dict[str, Json]:
    said = attempt.answer or ""
    body: dict[str, Json] = {
        "id": attempt.task_id,
        "epoch": attempt.attempt + 1,
        "input": attempt.question,
        "target": _target(record),
        "messages": list(_messages(record, pictures)) if record else [],
        "output": {"model": SCORER, "choices": [_choice(said)]},
        "metadata": {
            "stop": str(attempt.stop),
            "calls": attempt.calls,
            "tokens": attempt.tokens,
            "tags": dict(attempt.tags),
            "key": attempt.key,
        },
        "total_time": attempt.seconds,
    }
    if attempt.counts:
        how: Json = {"scored_by": attempt.scored_by, "iou": attempt.iou}
        body["scores"] = {SCORER: {"value": attempt.correct, "answer": said, "metadata": how}}
    if attempt.broken:
        told = attempt.error or str(attempt.stop)
        body["error"] = {"message": told, "traceback": "", "traceback_ansi": ""}
    return body


def _choice(said: str) -> dict[str, Json]:
    return {"message": {"role": "assistant", "content": said}, "stop_reason": "stop"}


def _target(record: TraceRecord | None) -> str:
    reference = record.meta.get("reference") if record else None
    texts = reference.get("texts") if isinstance(reference, Mapping) else None
    if isinstance(texts, list) and texts:
        return str(texts[0])
    return "" if reference is None else json.dumps(reference, sort_keys=True, default=str)


def _messages(record: TraceRecord, pictures: bool) -> Iterator[Json]:
    store, number, waiting = record.episode.final.store, 0, list[str]()
    for message in record.episode.path_messages():
        content = list(_content(message, store, pictures))
        if message.role is Role.ASSISTANT:
            calls: list[Json] = []
            for call in message.action.calls if message.action else ():
                number += 1
                waiting.append(f"call_{number}")
                name = {"id": waiting[-1], "function": call.name, "type": "function"}
                calls.append({**name, "arguments": dict(call.arguments)})
            yield {"role": "assistant", "content": content, "tool_calls": calls}
        elif message.role is Role.TOOL:
            told: dict[str, Json] = {"role": "tool", "content": content}
            yield {**told, "tool_call_id": waiting.pop(0)} if waiting else told
        else:
            yield {"role": str(message.role.value), "content": content}


def _content(message: Message, store: Store, pictures: bool) -> Iterator[Json]:
    for part in message.parts:
        if isinstance(part, Text):
            yield {"type": "text", "text": part.text}
        elif isinstance(part, Show):
            yield from _shown(part.handle, store, pictures)


def _shown(handle: str, store: Store, pictures: bool) -> Iterator[Json]:
    value = store[handle].value
    frames = value.frames if isinstance(value, Clip) else (value,)
    for frame in frames:
        if pictures and isinstance(frame, Image):
            yield {"type": "image", "image": _address(frame)}
        else:
            yield {"type": "text", "text": f"[{handle}]"}


def _address(image: Image) -> str:
    side = max(image.size)
    if side > LARGEST:
        width, height = (max(1, round(v * LARGEST / side)) for v in image.size)
        image = image.resize((width, height))
    return f"data:image/png;base64,{base64.b64encode(image.encode('PNG')).decode()}"
