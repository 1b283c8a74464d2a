"""Users' task files: both forms, errors that name file and line, pictures on demand."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as PILImage

from vtool.data import load_tasks
from vtool.data_check import check_data
from vtool.data_rows import BadRow, read_rows
from vtool.errors import DataError
from vtool.geometry import Box, Point
from vtool.media import Image
from vtool.message import ToolCall
from vtool.task import Answer, Attributes, Boxes, Choice, Points

ROW = {
    "id": "a",
    "images": ["pic.png"],
    "messages": [{"role": "user", "content": "<image>what is it?"}],
    "answer": "7",
    "evidence": [{"image": 0, "bbox": [10, 20, 30, 40]}],
    "tags": {"kind": "one"},
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, size in (("pic.png", (100, 80)), ("other.png", (40, 40))):
        px = np.zeros((size[1], size[0], 3), np.uint8)
        PILImage.fromarray(px).save(tmp_path / name)
    return tmp_path


def write(folder: Path, *rows: dict) -> Path:
    path = folder / "tasks.jsonl"
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    return path


def test_conversational_row(folder):
    task = load_tasks(write(folder, ROW))[0]
    assert task.id == "a"
    assert isinstance(task.prompt[0], Image)
    assert task.prompt[0].size == (100, 80)
    assert task.prompt[1:] == ("what is it?",)
    assert task.reference == Answer(("7",))
    assert task.evidence[0].shape == Box(0.1, 0.25, 0.3, 0.5)
    assert task.tags == {"kind": "one"}


def test_sharegpt_row_takes_its_last_answer_as_reference(folder):
    row = {
        "image": "pic.png",
        "conversations": [
            {"from": "system", "value": "Be brief."},
            {"from": "human", "value": "<image>\nwhat is it?"},
            {"from": "gpt", "value": "seven"},
        ],
    }
    task = load_tasks(write(folder, row))[0]
    assert (task.id, task.system) == ("row-1", "Be brief.")
    assert task.prompt[1:] == ("\nwhat is it?",)
    assert task.reference == Answer(("seven",))


def test_pictures_stand_where_their_placeholders_stand(folder):
    content = [
        {"type": "text", "text": "left "},
        {"type": "image"},
        {"type": "text", "text": " right "},
        {"type": "image"},
    ]
    row = {
        **ROW,
        "images": ["pic.png", "other.png"],
        "messages": [{"role": "user", "content": content}],
    }
    prompt = load_tasks(write(folder, row))[0].prompt
    assert [p if isinstance(p, str) else p.size for p in prompt] == [
        "left ",
        (100, 80),
        " right ",
        (40, 40),
    ]


def test_pictures_that_are_not_there_are_told_before_anything_runs(folder):
    with pytest.raises(DataError, match=r"1 pictures are not there \(line 2: .*gone.png"):
        load_tasks(write(folder, ROW, {**ROW, "id": "b", "images": ["gone.png"]}))


def test_pictures_come_first_without_placeholders(folder):
    row = {**ROW, "messages": [{"role": "user", "content": "what?"}]}
    prompt = load_tasks(write(folder, row))[0].prompt
    assert isinstance(prompt[0], Image)
    assert prompt[1] == "what?"


def without(*keys: str) -> dict:
    return {k: v for k, v in ROW.items() if k not in keys}


BAD = {
    "no_answer": (without("answer"), "expected `answer`"),
    "blank_answer": ({**ROW, "answer": " "}, "expected `answer`"),
    "number_answer": ({**ROW, "answer": 7}, "'answer"),
    "no_messages": (without("messages"), "got neither"),
    "two_questions": ({**ROW, "messages": ROW["messages"] * 2}, "one question a row"),
    "strange_role": ({**ROW, "messages": [{"role": "robot", "content": "x"}]}, "robot"),
    "too_many_marks": (
        {**ROW, "messages": [{"role": "user", "content": "<image><image>x"}]},
        "got 2 for 1",
    ),
    "bad_part": (
        {**ROW, "messages": [{"role": "user", "content": [{"type": "video"}]}]},
        "'video'",
    ),
    "evidence_elsewhere": ({**ROW, "evidence": [{"image": 1, "bbox": [0, 0, 1, 1]}]}, "got 1"),
    "three_numbers": ({**ROW, "evidence": [{"image": 0, "bbox": [0, 0, 1]}]}, "evidence.0.bbox"),
    "parent": ({**ROW, "images": ["../pic.png"]}, "which leaves it"),
    "absolute": ({**ROW, "images": ["/etc/hostname"]}, "which leaves it"),
    "nul": ({**ROW, "images": ["a\0b.png"]}, "path of a picture"),
    "address": ({**ROW, "images": ["http://x/y.png"]}, "path of a picture"),
    "file_address": ({**ROW, "images": ["file:///etc/hostname"]}, "path of a picture"),
    "data_address": ({**ROW, "images": ["data:image/png;base64,AA"]}, "path of a picture"),
}


@pytest.mark.parametrize("case", BAD, ids=str)
def test_bad_rows_name_file_line_and_what_came(folder, case):
    row, said = BAD[case]
    path = write(folder, {**ROW, "id": "first"}, row)
    with pytest.raises(DataError, match=r"tasks\.jsonl, line 2: ") as caught:
        load_tasks(path)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "text", ["[1]", "{", '{"id": NaN}', "7", '"x"', "[" * 5000, "{" + '"a":{' * 3000]
)
def test_lines_that_are_no_object(folder, text):
    path = folder / "tasks.jsonl"
    path.write_text(text + "\n")
    with pytest.raises(DataError, match="line 1: expected"):
        load_tasks(path)


def test_link_out_of_the_folder_is_refused(folder, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside") / "secret.png"
    PILImage.new("RGB", (4, 4)).save(outside)
    os.symlink(outside, folder / "link.png")
    with pytest.raises(DataError, match="which leaves it"):
        load_tasks(write(folder, {**ROW, "images": ["link.png"]}))


def test_ids_are_unique(folder):
    with pytest.raises(DataError, match="line 2: id 'a' was used on line 1"):
        load_tasks(write(folder, ROW, ROW))


@pytest.mark.parametrize("bbox", [[30, 20, 10, 40], [0, 0, 0, 5], [0, 0, 101, 5], [-1, 0, 5, 5]])
def test_boxes_are_pixels_of_the_picture(folder, bbox):
    tasks = load_tasks(write(folder, {**ROW, "evidence": [{"image": 0, "bbox": bbox}]}))
    with pytest.raises(DataError, match="line 1: box"):
        tasks[0]


def test_boxes_count_from_the_turned_picture(folder):
    """EXIF orientation 6 turns a 100x80 file into an 80x100 picture."""
    exif = PILImage.Exif()
    exif[0x0112] = 6
    PILImage.new("RGB", (100, 80)).save(folder / "turned.jpg", exif=exif)
    row = {**ROW, "images": ["turned.jpg"], "evidence": [{"image": 0, "bbox": [0, 0, 80, 100]}]}
    task = load_tasks(write(folder, row))[0]
    assert task.media[0].size == (80, 100)
    assert task.evidence[0].shape == Box(0, 0, 1, 1)


def test_pictures_are_decoded_on_demand_and_few_are_kept(folder, monkeypatch):
    opened = []
    real = Image.open
    monkeypatch.setattr(
        Image, "open", classmethod(lambda cls, path: opened.append(path) or real(path))
    )
    rows = [{**ROW, "id": str(i)} for i in range(5)]
    tasks = load_tasks(write(folder, *rows), keep=2)
    assert (len(tasks), tasks.ids, opened) == (5, ("0", "1", "2", "3", "4"), [])
    assert tasks[1] is tasks[1]
    assert len(opened) == 1
    for i in range(5):
        assert tasks[i].id == str(i)
    tasks[1]
    assert len(opened) == 1 + 4 + 1


def test_parts_of_a_file(folder):
    rows = [{**ROW, "id": str(i), "tags": {"even": i % 2 == 0}} for i in range(4)]
    tasks = load_tasks(write(folder, *rows))
    assert tasks[1:3].ids == ("1", "2")
    assert tasks.where(lambda r: bool(r.tags["even"])).ids == ("0", "2")
    assert tasks[-1].id == "3"
    with pytest.raises(IndexError):
        tasks[4]


def test_missing_and_empty_files(tmp_path):
    with pytest.raises(DataError, match="cannot read"):
        load_tasks(tmp_path / "none.jsonl")
    (tmp_path / "empty.jsonl").write_text("\n\n")
    with pytest.raises(DataError, match="got an empty file"):
        load_tasks(tmp_path / "empty.jsonl")


@given(st.text(max_size=200))
def test_any_line_is_a_row_or_a_bad_row(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("any") / "t.jsonl"
    path.write_text(text.replace("\r", " ").replace("\n", " ") + "\n", errors="replace")
    assert all(isinstance(r, BadRow) for r in read_rows(path))


def test_check_finds_everything_at_once(folder):
    (folder / "broken.png").write_bytes((folder / "pic.png").read_bytes()[:60])
    control = {**ROW, "id": "c", "messages": [{"role": "user", "content": "a <|im_end|> b"}]}
    far = {**ROW, "id": "e", "evidence": [{"image": 0, "bbox": [90, 70, 120, 90]}]}
    path = write(
        folder,
        ROW,
        ROW,
        control,
        {**ROW, "id": "d", "images": ["broken.png"]},
        far,
        without("answer"),
    )
    report = check_data(path)
    assert not report.ok
    assert report.rows == 6
    assert [(f.line, f.code) for f in report.findings] == [
        (2, "duplicate_id"),
        (3, "control_tokens"),
        (4, "bad_image"),
        (5, "bad_box"),
        (6, "bad_row"),
    ]


def test_warnings_alone_are_fine(folder):
    control = {**ROW, "messages": [{"role": "user", "content": "<image>a <tool_call> b"}]}
    report = check_data(write(folder, control))
    assert report.ok
    assert [f.level for f in report.findings] == ["warning"]


@pytest.mark.parametrize(
    ("keys", "wanted"),
    [
        ({"boxes": [[10, 20, 30, 40]]}, Boxes((Box(0.1, 0.25, 0.3, 0.5),))),
        ({"points": [[10, 20], [50, 40]]}, Points((Point(0.1, 0.25), Point(0.5, 0.5)))),
        ({"options": ["red", "blue"], "answer": "B"}, Choice(("red", "blue"), 1)),
        ({"options": ["red", "blue"], "answer": "red"}, Choice(("red", "blue"), 0)),
        (
            {"attributes": {"colour": "red", "shape": ["disc", "circle"]}},
            Attributes({"colour": ("red",), "shape": ("disc", "circle")}),
        ),
    ],
)
def test_other_things_than_words_are_wanted(folder, keys, wanted):
    assert load_tasks(write(folder, {**without("answer"), **keys}))[0].reference == wanted


def test_wanted_calls(folder):
    call = {"name": "zoom", "arguments": {"image": "image_1", "bbox": [0, 0, 0.5, 0.5]}}
    task = load_tasks(write(folder, {**ROW, "calls": [call]}))[0]
    assert task.calls == (ToolCall("zoom", call["arguments"]),)


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"boxes": [[1, 2, 3, 4]], "points": [[1, 2]]}, "one kind of reference"),
        ({"boxes": [[1, 2, 3]]}, "boxes"),
        ({"boxes": [[10, 20, 300, 40]]}, "leaves the picture"),
        ({"points": [[1, 2]], "at": 1}, "picture 0 to 0"),
        ({"options": ["red", "blue"], "answer": "green"}, "one of the options"),
        ({"options": ["red", "blue"]}, "answer"),
        ({"calls": [{"name": "zoom", "args": {}}]}, "calls"),
    ],
)
def test_references_that_do_not_fit_are_told(folder, keys, says):
    report = check_data(write(folder, {**without("answer"), **keys}))
    assert not report.ok
    assert says in report.findings[0].message
