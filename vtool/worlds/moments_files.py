"""Write the moment world as files: mp4 videos plus ``tasks.jsonl`` in the format users bring.

The same arguments give the same bytes with one version of the encoder, and the same times,
questions and answers with any.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

from vtool.errors import require

from .files import TASKS_FILE, check_seed, task_file
from .moments import GLANCE, SIDE, Ask, Moment, draw
from .zoom import Split

BASE: Final = Fraction(1, 12800)
"""Unit of presentation times; a tenth of a second is 1280 of it."""
CODEC: Final = {"preset": "ultrafast", "crf": "18", "sc_threshold": "0", "g": "24", "bf": "0"}


def make(
    folder: str | Path,
    *,
    seed: int,
    videos: int = 100,
    asks: Sequence[str] = tuple(Ask),
    split: Split | str = Split.TRAIN,
    variable: float = 0.25,
    tenths: Sequence[int] = (200, 1200),
) -> Path:
    """Write a folder of videos and its task file.

    Args:
        folder: Created if needed; it must hold no task file yet.
        seed: Of the videos, 0 to 2**20 - 1.
        videos: How many.
        asks: Questions about each: `what`, `where`, `when`, `both`.
        split: ``train`` or ``held_out``; they share no layout and no background.
        variable: Share of videos with a variable frame rate.
        tenths: Shortest and longest video, in tenths of a second.

    Returns:
        Path of the task file.

    Raises:
        FileExistsError: The folder holds a task file already.
        ValueError: An argument is outside what is offered.
        MissingExtra: PyAV is not installed.
    """
    if videos < 1 or not asks or not 0 <= variable <= 1 or len(tenths) != 2:
        raise ValueError(
            "expected at least one video and one question, a share of variable rates in [0, 1] "
            f"and two lengths, got {videos}, {list(asks)}, {variable} and {list(tenths)}"
        )
    wanted = [Ask(a) for a in asks]
    if len(set(wanted)) < len(wanted):
        raise ValueError(f"expected every question once, got {', '.join(wanted)}")
    check_seed(seed)
    out = Path(folder)
    with task_file(out, "videos") as lines:
        for number in range(videos):
            moment = draw(
                (seed << 32) + number,
                split=split,
                variable=variable,
                tenths=(int(tenths[0]), int(tenths[1])),
            )
            name = f"videos/{number:06d}.mp4"
            write_video(out / name, moment)
            for ask in wanted:
                lines.write(json.dumps(record(moment, ask, number, name, split)) + "\n")
    return out / TASKS_FILE


def write_video(path: Path, moment: Moment) -> None:
    """Encode one video; one thread, so that the bytes do not depend on the machine's load."""
    av = require("av", "video")
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=10)
        stream.width = stream.height = SIDE
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = stream.time_base = BASE
        stream.codec_context.thread_count = 1
        stream.options = dict(CODEC)
        unit = int(Fraction(1, 10) / BASE)
        for row, tick in enumerate(moment.ticks):
            frame = av.VideoFrame.from_ndarray(moment.frame(row), format="rgb24")
            frame.pts, frame.time_base = int(tick) * unit, BASE
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))


def record(moment: Moment, ask: Ask, number: int, video: str, split: Split | str) -> dict[str, Any]:
    """One line of ``tasks.jsonl``."""
    span = [moment.span.start_s, moment.span.end_s]
    line: dict[str, Any] = {
        "id": f"moments-{Split(split).value}-{number:06d}-{ask.value}",
        "videos": [video],
        "glance": GLANCE,
        "messages": [{"role": "user", "content": f"<video>{ask.words}"}],
    }
    if (words := moment.answer(ask)) is not None:
        line["answer"] = words
    if ask.timed:
        line["spans"] = [span]
    line["evidence"] = [{"video": 0, "span": span}]
    line["tags"] = {
        "kind": ask.value,
        "split": Split(split).value,
        "layout": moment.layout,
        "background": moment.background,
        "rate": "variable" if moment.variable else "constant",
        "seconds": moment.seconds,
        "sort": moment.sort.value,
        "gap": moment.gap,
        "color": moment.color,
        "place": moment.place,
        "box": [round(v, 4) for v in _corners(moment)],
    }
    return line


def _corners(moment: Moment) -> tuple[float, float, float, float]:
    box = moment.box
    return box.x1, box.y1, box.x2, box.y2
