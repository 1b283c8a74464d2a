"""Questions about videos: Video-MME, LongVideoBench, MVBench, LVBench, VSI-Bench and others."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from vtool.benchmark import Layout
from vtool.errors import DataError
from vtool.task import Answer, Choice

from ..formats.media import Film, below, film, span_of
from ..formats.records import Record
from .base import Ask, Source, Spec
from .choices import DIRECTLY, DOCUMENTED, LOADED, READ, option
from .finding import files, parquet, split_of, table
from .summaries import by, macro
from .words import row_id

GLANCE = 16
"""Frames shown beside the question, evenly over the film."""
TOOLS = ("glance", "crop_video")


def first_of(record: Record, root: Path, *names: str) -> Film:
    """The first of some paths that is there; the first one, where none is."""
    paths = [below(record.where, root, n) for n in names]
    return Film(record.where, next((p for p in paths if p.is_file()), paths[0]), GLANCE)


def _videomme(record: Record, root: Path) -> Iterator[Ask]:
    lines = record.texts("options")
    options = tuple(line[2:].strip() if line[1:2] == "." else line for line in lines)
    name = record.text("videoID")
    yield Ask(
        id=record.text("question_id"),
        words="Select the best answer to the following multiple-choice question based on the video "
        "and the subtitles. Respond with only the letter (A, B, C, or D) of the correct option.\n"
        + "\n".join((record.text("question"), *lines))
        + "\n"
        + DIRECTLY,
        media=(first_of(record, root, *(f"data/{name}.{e}" for e in ("mp4", "MP4", "mkv"))),),
        reference=option(record, options, record.text("answer")),
        tags={
            "duration": record.text("duration"),
            "domain": record.text("domain"),
            "task": record.text("task_type"),
            "video": name,
        },
    )


VIDEOMME = Spec(
    name="videomme",
    about="Short, medium and long films (Fu et al. 2025); 2700 questions on 900.",
    sources=(
        Source(
            layout=Layout(
                "HF parquet and videos",
                "videomme/test-*.parquet, data/{videoID}.mp4 of lmms-eval/Video-MME",
                LOADED,
            ),
            rows=parquet("videomme/test-*.parquet", *split_of("test")),
            asks=_videomme,
        ),
    ),
    metric="choice",
    published="choice_ranked",
    summary=by("duration", "task"),
    tools=TOOLS,
).benchmark()


def _longvideobench(record: Record, root: Path) -> Iterator[Ask]:
    cells = [record[f"option{i}"] for i in range(5) if f"option{i}" in record]
    if not cells:
        cells = record.items_of("candidates")
    options = tuple(str(c) for c in cells if c is not None and c != "N/A")
    lines = [f"{chr(65 + i)}. {o}" for i, o in enumerate(options)]
    right = int(record.text("correct_choice"))
    if not 0 <= right < len(options):
        raise DataError(
            f"{record.where}: expected correct_choice below {len(options)}, got {right}"
        )
    yield Ask(
        id=record.text("id"),
        words="\n".join((record.text("question"), *lines)) + DIRECTLY + "\n",
        media=(film(record, root, f"videos/{record.text('video_path')}", GLANCE),),
        reference=Choice(options, right),
        tags={
            "duration": str(record["duration_group"]),
            "category": record.text("question_category"),
        },
    )


LONGVIDEOBENCH = Spec(
    name="longvideobench",
    about="Referred reasoning over films up to an hour (Wu et al. 2024); validation 1337.",
    sources=(
        Source(
            layout=Layout(
                "HF parquet and videos",
                "validation-*.parquet, videos/ of longvideobench/LongVideoBench",
                LOADED,
            ),
            rows=parquet(*split_of("validation")),
            asks=_longvideobench,
        ),
        Source(
            layout=Layout("json and videos", "lvb_val.json, videos/", READ),
            rows=table("lvb_val.json"),
            asks=_longvideobench,
        ),
    ),
    metric="choice",
    published="choice_first",
    summary=by("duration", "category"),
    tools=TOOLS,
).benchmark()

_MV_FOLDERS = {
    "star/Charades_segment star/Charades_v1_480": "object_interaction action_sequence "
    "action_prediction",
    "sta/sta_video_segment sta/sta_video": "action_localization",
    "clevrer/video_validation": "moving_count moving_direction moving_attribute "
    "counterfactual_inference object_existence",
    "nturgbd_convert nturgbd": "fine_grained_pose",
    "perception/videos": "character_order object_shuffle state_change action_count",
    "vlnqa": "egocentric_navigation",
    "tvqa/video_fps3_hq_segment": "episodic_reasoning",
    "Moments_in_Time_Raw/videos": "fine_grained_action",
    "scene_qa/video": "scene_transition",
    "ssv2_video_mp4 ssv2_video": "action_antonym",
    "FunQA_test/test": "unexpected_action",
}
MV_FOLDERS = {task: f.split() for f, tasks in _MV_FOLDERS.items() for task in tasks.split()}
"""Folders of the videos of each of the twenty tasks; where there are two, either may be there."""


def _mvbench(record: Record, root: Path) -> Iterator[Ask]:
    options, answer = record.texts("candidates"), record.text("answer")
    task, name = record.text("task"), record.text("video")
    if answer not in options or task not in MV_FOLDERS:
        raise DataError(f"{record.where}: {answer!r} is no candidate, or {task!r} no task")
    lines = "".join(f"({chr(65 + i)}) {o}\n" for i, o in enumerate(options))
    tops = ("", "video/", "data0613/")
    shown = first_of(record, root, *(f"{t}{f}/{name}" for t in tops for f in MV_FOLDERS[task]))
    words = f"Question:{record.text('question')}\nOption:\n{lines}Only give the best option.\n"
    start, end = record.get("start"), record.get("end")
    if start is not None and end is not None and "_segment" not in shown.path.parent.name:
        # The video is whole, and the question about a part of it.
        part = span_of(record.where, float(str(start)), float(str(end)))
        shown = replace(shown, part=(part.start_s, part.end_s))
        words = f"From {part.start_s:g} to {part.end_s:g} seconds of the video. {words}"
    yield Ask(
        id=f"{task}-{row_id(record)}",
        words=words,
        media=(shown,),
        reference=Choice(options, options.index(answer)),
        tags={"task": task},
    )


def _mv_rows(root: Path) -> list[Record]:
    return [
        Record(f"{p.stem}, row {i}", {**dict(r), "task": p.stem})
        for p in files(root, "json/*.json")
        for i, r in enumerate(table(f"json/{p.name}")(root))
    ]


MVBENCH = Spec(
    name="mvbench",
    about="Twenty tasks on short clips (Li et al. 2024); 4000.",
    sources=(
        Source(
            layout=Layout(
                "json and videos",
                "json/<task>.json of OpenGVLab/MVBench; its folders of videos, or video/ with them",
                LOADED,
            ),
            rows=_mv_rows,
            asks=_mvbench,
        ),
    ),
    metric="choice",
    published="choice_mvbench",
    summary=macro("task"),
    tools=TOOLS,
).benchmark()


def _lvbench(record: Record, root: Path) -> Iterator[Ask]:
    kinds = record.get("question_type", "")
    offered = record.get("options")
    lines = record.texts("options") if offered else ()
    listed = "".join(f"\n({chr(65 + i)}) {o}" for i, o in enumerate(lines))
    name = record.text("video_path")
    yield Ask(
        id=row_id(record),
        words=f"{record.text('question')}{listed}\nAnswer the question with the option letter",
        media=(first_of(record, root, name, f"videos/{name}"),),
        reference=Answer((record.text("answer"),)),
        tags={"type": str(kinds[0]) if isinstance(kinds, list) and kinds else str(kinds)},
    )


LVBENCH = Spec(
    name="lvbench",
    about="Films of an hour and more (Wang et al. 2025); 1549.",
    sources=(
        Source(
            layout=Layout(
                "HF parquet and videos", "train-*.parquet and videos of lmms-eval/LVBench", LOADED
            ),
            rows=parquet(*split_of("train")),
            asks=_lvbench,
        ),
    ),
    metric="choice",
    published="choice_ranked",
    summary=by("type"),
    tools=TOOLS,
).benchmark()

_QUANTITIES = (
    "object_abs_distance",
    "object_counting",
    "object_size_estimation",
    "room_size_estimation",
)


def _vsi(record: Record, root: Path) -> Iterator[Ask]:
    kind, gold = record.text("question_type"), record.text("ground_truth")
    start = f"These are frames of a video.\n{record.text('question')}\n"
    reference: Answer | Choice = Answer((gold,))
    if kind in _QUANTITIES:
        words = f"{start}Please answer the question using a single word or phrase."
    else:
        lines = record.texts("options")
        words = f"{start}Options:\n" + "\n".join(lines) + DIRECTLY
        options = tuple(o[2:].strip() if o[1:2] == "." else o for o in lines)
        reference = option(record, options, gold)
    yield Ask(
        id=record.text("id") if "id" in record else row_id(record),
        words=words,
        media=(
            film(record, root, f"{record.text('dataset')}/{record.text('scene_name')}.mp4", GLANCE),
        ),
        reference=reference,
        tags={"type": kind},
    )


def _levels(kind: str) -> str:
    return "object_rel_direction" if kind.startswith("object_rel_direction_") else kind


VSIBENCH = Spec(
    name="vsibench",
    about="Space remembered from walks through rooms (Yang et al. 2025); 5130.",
    sources=(
        Source(
            layout=Layout(
                "HF parquet and videos",
                "test*.parquet, {dataset}/{scene_name}.mp4 of nyu-visionx/VSI-Bench",
                LOADED,
            ),
            rows=parquet("full/test-*.parquet", "test.parquet", *split_of("test")),
            asks=_vsi,
        ),
        Source(
            layout=Layout("jsonl and videos", "test.jsonl, {dataset}/{scene_name}.mp4", DOCUMENTED),
            rows=table("test.jsonl"),
            asks=_vsi,
        ),
    ),
    metric="vsi",
    published="vsi_published",
    summary=macro("type", _levels),
    tools=TOOLS,
).benchmark()


_LINE = re.compile(r"^\s*([A-Z])\.\s+(.*)$", re.MULTILINE)
_TAGGED = re.compile(r"<answer>(.*?)</answer>", re.DOTALL)


def _longreason(record: Record, root: Path) -> Iterator[Ask]:
    """Options stand in the question; five questions lack some, and cannot be answered then."""
    problem, path = record.text("problem").rstrip(), record.text("videos")
    gold = _TAGGED.sub(r"\1", record.text("answer")).strip()
    lines = dict(_LINE.findall(problem))
    options = tuple(lines.get(c, "") for c in "ABCD")
    bare = Path(path).name
    shards = [p.name for p in sorted(root.glob("longvideo_eval_subset*")) if p.is_dir()]
    yield Ask(
        id=record.text("problem_id"),
        words=problem + DIRECTLY,
        media=(first_of(record, root, path, *(f"{s}/{bare}" for s in ("videos", *shards))),),
        reference=option(record, options, gold),
        tags={"type": record.text("problem_type"), "whole": set(lines) == set("ABCD")},
    )


LONGVIDEO_REASON = Spec(
    name="longvideo_reason",
    about="Reasoning over long films by options (LongVideo-Reason-eval, Chen et al. 2025); 1000.",
    sources=(
        Source(
            layout=Layout(
                "HF parquet and videos",
                "test-*.parquet of LongVideo-Reason/longvideo-reason; longvila_videos/, or "
                "longvideo_eval_subset<n>/ as its archives unpack",
                READ,
            ),
            rows=parquet(*split_of("test")),
            asks=_longreason,
        ),
        Source(
            layout=Layout("json and videos", "LongVideoReason_test*.json or test.json[l]", READ),
            rows=table("LongVideoReason_test*.json", "test.jsonl", "test.json"),
            asks=_longreason,
        ),
    ),
    metric="choice",
    summary=by("type"),
    tools=TOOLS,
).benchmark()
