"""Moments in videos: Charades-STA, ActivityNet-Captions, TACoS, QVHighlights, NExT-GQA."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from vtool.benchmark import Judged, Layout, Summary
from vtool.errors import DataError
from vtool.geometry import Span
from vtool.task import Choice, Spans, Task

from ..formats.media import span_of
from ..formats.records import Record
from ..formats.tables import read_csv, read_json
from ..metrics.moments import Query, moment_table
from ..metrics.scores import ground_parts, listed_spans, wanted_spans
from ..metrics.spans import CHARADES, TACOS, Grounding, gqa_table, recall_table
from .base import Ask, Source, Spec
from .choices import LOADED, READ
from .films import first_of
from .finding import files, parquet, split_of, table
from .words import row_id

TOOLS = ("glance", "crop_video")
BEFORE = (
    "Please find the visual event described by a sentence in the video, determining its starting "
    "and ending times. The format should be: 'The event happens in the start time - end time'. For "
    "example, The event 'person turn a light on' happens in the 24.3 - 30.4 seonds. Now I will "
    "give you the textual sentence: "
)
AFTER = ". Please return its start time and end time."


def recall(thresholds: Sequence[float]) -> Summary:
    """R@1 at some thresholds, and the mean overlap: the score of each question is its overlap."""
    return lambda judged: recall_table([j.score for j in judged], thresholds)


def one_span(task: Task) -> list[str]:
    """The first annotated span, as the published format writes it."""
    assert isinstance(task.reference, Spans)
    span = task.reference.spans[0]
    return [f"The event happens in {span.start_s} - {span.end_s} seconds."]


def _moment(
    name: str, record: Record, root: Path, sentence: str, span: Span, *paths: str
) -> Iterator[Ask]:
    yield Ask(
        id=name,
        words=f"{BEFORE}{sentence}{AFTER}",
        media=(first_of(record, root, *paths),),
        reference=Spans((span,)),
        tags={"video": Path(paths[0]).stem},
    )


def _charades(record: Record, root: Path) -> Iterator[Ask]:
    start, end = record.numbers("timestamp", 2)
    span, name = span_of(record.where, start, end), record.text("video")
    paths = [f"{f}/{name}" for f in ("Charades_v1_480", "Charades_v1", "videos")]
    yield from _moment(row_id(record), record, root, record.text("caption"), span, *paths)


def _charades_lines(root: Path) -> list[Record]:
    """`VID start end##sentence` a line."""
    out = []
    for path in files(root, "charades_sta_test.txt", "*/charades_sta_test.txt"):
        for at, line in enumerate(path.read_text(encoding="utf-8").splitlines()):
            head, marked, sentence = line.partition("##")
            parts = head.split()
            if not marked or len(parts) != 3:
                raise DataError(
                    f"{path.name}, line {at + 1}: expected `VID start end##sentence`, got {line!r}"
                )
            cells = {
                "video": f"{parts[0]}.mp4",
                "timestamp": [float(parts[1]), float(parts[2])],
                "caption": sentence.strip().rstrip("."),
            }
            out.append(Record(f"{path.stem}, line {at}", cells))
    return out


CHARADES_STA = Spec(
    name="charades_sta",
    about="When something is done at home (Gao et al. 2017); test 3720.",
    sources=(
        Source(
            layout=Layout(
                "HF parquet and videos",
                "test-*.parquet, Charades_v1_480/ of lmms-eval/charades_sta",
                LOADED,
            ),
            rows=parquet(*split_of("test")),
            asks=_charades,
        ),
        Source(
            layout=Layout("text lines and videos", "charades_sta_test.txt, Charades_v1_480/", READ),
            rows=_charades_lines,
            asks=_charades,
        ),
    ),
    metric="span_overlap",
    summary=recall(CHARADES),
    says=one_span,
    tools=TOOLS,
).benchmark()


def _annotated(*patterns: str) -> Callable[[Path], Sequence[Record]]:
    """One record a sentence of `{video: {timestamps, sentences, ...}}`."""

    def rows(root: Path) -> list[Record]:
        return [record for path in files(root, *patterns) for record in _sentences(path)]

    return rows


def _sentences(path: Path) -> Iterator[Record]:
    body = read_json(path)
    if not isinstance(body, dict):
        raise DataError(f"{path.name}: expected an object from video to annotation")
    for video, facts in body.items():
        pairs = zip(facts["timestamps"], facts["sentences"], strict=True)
        for at, (times, sentence) in enumerate(pairs):
            start, end = _seconds(facts, times)
            if start < end:  # A few annotations are turned round; published loaders leave them out.
                cells = {"video": video, "times": [start, end], "sentence": sentence.strip()}
                yield Record(f"{path.stem}, {video}, {at}", cells)


def _seconds(facts: Mapping[str, Any], times: Sequence[float]) -> tuple[float, float]:
    """Seconds inside the film; TACoS counts frames."""
    fps = float(facts.get("fps", 1.0))
    length = facts["duration"] if "duration" in facts else facts["num_frames"] / fps
    return max(0.0, times[0] / fps), min(times[1] / fps, float(length))


def _sentence(record: Record, root: Path, *paths: str) -> Iterator[Ask]:
    span = span_of(record.where, *record.numbers("times", 2))
    sentence = record.text("sentence").rstrip(".")
    yield from _moment(row_id(record), record, root, sentence, span, *paths)


def _activitynet(record: Record, root: Path) -> Iterator[Ask]:
    name = record.text("video")
    return _sentence(record, root, *(f"videos/{name}.{e}" for e in ("mp4", "mkv", "webm")))


ACTIVITYNET = Spec(
    name="activitynet_captions",
    about="When a sentence happens (Krishna et al. 2017); val_1 as a rule.",
    sources=(
        Source(
            layout=Layout("json and videos", "val_1.json (or val_2.json), videos/", READ),
            rows=_annotated("val_1.json", "val_2.json", "captions/val_[12].json"),
            asks=_activitynet,
        ),
    ),
    metric="span_overlap",
    summary=recall(CHARADES),
    says=one_span,
    tools=TOOLS,
).benchmark()


def _tacos(record: Record, root: Path) -> Iterator[Ask]:
    name = record.text("video")
    return _sentence(record, root, f"videos/{name}", f"videos/{Path(name).stem}.mp4")


TACOS_TEST = Spec(
    name="tacos",
    about="When a step of cooking is done; times are frames (Regneri et al. 2013); test 4083.",
    sources=(
        Source(
            layout=Layout("json and videos", "test.json, videos/", READ),
            rows=_annotated("test.json"),
            asks=_tacos,
        ),
    ),
    metric="span_overlap",
    summary=recall(TACOS),
    says=one_span,
    tools=TOOLS,
).benchmark()


def _qv(record: Record, root: Path) -> Iterator[Ask]:
    windows = record.items_of("relevant_windows")
    spans = tuple(span_of(record.where, *map(float, w)) for w in windows)  # type: ignore[call-overload]
    yield Ask(
        id=record.text("qid"),
        words=f"{record.text('query')}\nList the stretches of the video that show this, in "
        "seconds, most certain first, at most ten: [[start, end], ...]",
        media=(
            first_of(record, root, f"videos/{record.text('vid')}.mp4", f"{record.text('vid')}.mp4"),
        ),
        reference=Spans(spans),
        tags={"video": record.text("vid"), "duration": float(record.text("duration"))},
    )


def all_spans(task: Task) -> list[str]:
    """All annotated windows as a list."""
    assert isinstance(task.reference, Spans)
    return [str([[s.start_s, s.end_s] for s in task.reference.spans])]


def moments(judged: Sequence[Judged]) -> dict[str, float]:
    """The official table of QVHighlights."""
    rows = [Query(wanted_spans(j.reference), listed_spans(j.answer or "")) for j in judged]
    return moment_table(rows)


QVHIGHLIGHTS = Spec(
    name="qvhighlights",
    about="Moments of a query, several windows (Lei et al. 2021); val 1550.",
    sources=(
        Source(
            layout=Layout(
                "jsonl and videos",
                "highlight_val_release.jsonl, videos/{vid}.mp4",
                "verified: fields as moment_detr's evaluation reads them; folder documented",
            ),
            rows=table("highlight_val_release.jsonl", "data/highlight_val_release.jsonl"),
            asks=_qv,
        ),
    ),
    metric="moment_overlap",
    summary=moments,
    says=all_spans,
    tools=TOOLS,
).benchmark()


def _gqa_rows(split: str) -> Callable[[Path], Sequence[Record]]:
    def rows(root: Path) -> list[Record]:
        found, spans = files(root, f"{split}.csv"), files(root, f"gsub_{split}.json")
        if not found or not spans:
            return []
        located = read_json(spans[0])
        assert isinstance(located, dict)
        return [r for c in read_csv(found[0]) if (r := _located(c, located)) is not None]

    return rows


def _located(record: Record, located: dict[str, dict[str, dict[str, object]]]) -> Record | None:
    """The row with its stretches; None for a question that has none."""
    facts = located.get(record.text("video_id"))
    spans = facts["location"].get(record.text("qid")) if facts else None
    return Record(record.where, {**dict(record), "spans": spans}) if spans else None


def _next_gqa(record: Record, root: Path) -> Iterator[Ask]:
    options = tuple(record.text(f"a{i}") for i in range(5))
    answer = record.text("answer")
    if answer not in options:
        raise DataError(f"{record.where}: the answer {answer!r} is none of the options")
    lines = "\n".join(f"{chr(65 + i)}. {o}" for i, o in enumerate(options))
    video = record.text("video_id")
    yield Ask(
        id=f"{video}_{record.text('qid')}",
        words=f"{record.text('question')}\n{lines}\nAnswer with the option's letter and the "
        "seconds that show it, such as: B, 3.0 - 7.5",
        media=(first_of(record, root, *(f"{f}/{video}.mp4" for f in ("videos", "NExTVideo"))),),
        reference=Choice(options, options.index(answer)),
        tags={"type": record.text("type"), "spans": record.items_of("spans")},  # type: ignore[dict-item]
    )


def letter_and_span(task: Task) -> list[str]:
    """The right letter with each of the annotated stretches."""
    assert isinstance(task.reference, Choice)
    spans = task.tags["spans"]
    assert isinstance(spans, list)
    return [f"{task.reference.letter}, {s} - {e}" for s, e in spans]  # type: ignore[misc]


def grounding(judged: Sequence[Judged]) -> dict[str, float]:
    """The table of NExT-GQA; no answer counts as wrong."""
    parts = [ground_parts(j.answer, j.reference, j.tags.get("spans")) for j in judged]
    return gqa_table([Grounding(iou, iop, right) for right, iou, iop in parts])


def _next(split: str) -> Spec:
    return Spec(
        name=f"next_gqa_{split}",
        about=f"Questions about actions and where the answer shows, {split} (Xiao et al. 2024).",
        sources=(
            Source(
                layout=Layout(
                    "csv, json and videos",
                    f"{split}.csv, gsub_{split}.json, videos/{{video_id}}.mp4",
                    "verified: fields as eval_ground.py reads them; folder documented",
                ),
                rows=_gqa_rows(split),
                asks=_next_gqa,
            ),
        ),
        metric="grounded",
        summary=grounding,
        says=letter_and_span,
        tools=TOOLS,
    )


NEXT_GQA_VAL, NEXT_GQA_TEST = _next("val").benchmark(), _next("test").benchmark()
