"""`vtool ask` and checkpoints by name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vtool import cli, loading
from vtool.commands.own_tools import ready_tools_of
from vtool.errors import CheckpointError, DataError
from vtool.loading import find_checkpoint, tools_of
from vtool.media import Image
from vtool.needs import Lack, LackKind, Package
from vtool.shipped import shipped, shipped_checkpoints
from vtool.toolbox import ToolUnavailable
from vtool.trace import read_trace
from vtool.worlds.moments import draw as draw_moment
from vtool.worlds.moments_files import write_video
from vtool.worlds.zoom import draw


def test_shipped_policies_are_found_by_name():
    names = ("clean", "examples", "idle", "joint", "moments", "restless", "weak")
    assert shipped_checkpoints() == [f"tiny/{name}" for name in names]
    assert find_checkpoint("tiny/clean") == shipped("tiny/clean")
    assert (shipped("tiny/weak") / "model.safetensors").is_file()
    with pytest.raises(DataError, match="did you mean 'tiny/clean'"):
        shipped("tiny/clen")


def test_folders_come_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny" / "clean").mkdir(parents=True)
    assert find_checkpoint("tiny/clean") == Path("tiny/clean")


@pytest.mark.parametrize("name", ["nothing", "./a/b", "/a/b", "a/b/c"])
def test_names_that_are_no_checkpoint(name):
    with pytest.raises(CheckpointError, match="owner/name on a hub"):
        find_checkpoint(name)


def test_hub_names_fetch_only_what_is_safe(tmp_path, monkeypatch):
    asked = {}

    class Hub:
        def snapshot_download(self, name, allow_patterns, local_files_only):
            asked.update(name=name, patterns=allow_patterns, offline=local_files_only)
            return str(tmp_path)

    monkeypatch.setattr(loading, "require", lambda module, extra: Hub())
    assert find_checkpoint("someone/model") == tmp_path
    assert asked == {
        "name": "someone/model",
        "patterns": ["*.json", "*.safetensors", "*.txt"],
        "offline": False,
    }


def test_a_hub_that_cannot_be_reached_is_told(monkeypatch):
    class Hub:
        def snapshot_download(self, name, allow_patterns, local_files_only):
            raise OSError("offline")

    monkeypatch.setattr(loading, "require", lambda module, extra: Hub())
    with pytest.raises(CheckpointError, match="the hub said: offline"):
        find_checkpoint("someone/model")


def run(words: list[str], capsys) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as caught:
        cli.main(words)
    out = capsys.readouterr()
    return int(caught.value.code or 0), out.out, out.err


def test_a_question_is_answered_step_by_step_and_kept(tmp_path, capsys):
    scene = draw(11, kind="one", split="held_out")
    picture = tmp_path / "picture.png"
    picture.write_bytes(Image(scene.pixels).encode("PNG"))
    out = tmp_path / "kept"
    words = ["ask", str(picture), scene.question, "--out", str(out)]
    code, said, _ = run(words, capsys)
    assert code == 0
    for told in ("image_1  384x384, seen at 64x64", "thought", "zoom(image=1, box=[", "answer   "):
        assert told in said, said
    assert ", cut from image_1" in said
    assert {p.name for p in (out / "pictures").iterdir()} == {"image_1.png", "image_2.png"}
    record = next(read_trace(out / "trace"))
    assert record.episode.answer == scene.answer

    code, said, _ = run([*words, "--json"], capsys)
    told = json.loads(said)
    assert code == 0
    assert (told["answer"], told["stop"]) == (scene.answer, "answered")
    assert told["kept"] == str(tmp_path / "kept-2")
    assert told["steps"][0]["calls"][0]["name"] == "zoom"
    assert told["steps"][1]["results"][0]["pictures"] == ["image_2"]


def test_a_video_is_glanced_at_and_looked_into_with_the_policys_own_tools(tmp_path, capsys):
    pytest.importorskip("av")
    write_video(tmp_path / "v.mp4", draw_moment(5))
    (tmp_path / "bad.mp4").write_text("no video")
    asked = ["what colour is the flash?", "--model", "tiny/moments", "--json"]
    code, said, _ = run(
        ["ask", str(tmp_path / "v.mp4"), *asked, "--out", str(tmp_path / "out")], capsys
    )
    told = json.loads(said)
    assert code == 0
    assert told["steps"][0]["calls"][0]["name"] == "resample"
    assert told["steps"][1]["results"][0]["pictures"] == ["clip_2"]
    code, _, err = run(["ask", str(tmp_path / "bad.mp4"), *asked], capsys)
    assert (code, "bad.mp4: the file is no video" in err) == (2, True), err


def test_tools_are_the_checkpoints_own_and_those_that_can_run(tmp_path, monkeypatch, capsys):
    assert tools_of("tiny/moments") == ("resample",)
    assert tools_of(tmp_path) == ()
    assert ready_tools_of(str(tmp_path)) == ["zoom"]
    assert ready_tools_of(str(tmp_path), video=True) == ["resample"]
    assert ready_tools_of("tiny/joint") == list(tools_of("tiny/joint"))
    lack = Lack(LackKind.EXTRA, "cv2", "pip install opencv-python")
    monkeypatch.setattr(Package, "lack", lambda self, settings: lack)
    left = ready_tools_of("tiny/joint")
    assert "zoom" in left
    assert "segment" not in left
    assert "not on offer" in capsys.readouterr().err
    with pytest.raises(ToolUnavailable, match="cv2"):
        ready_tools_of("tiny/moments")


def test_where_there_is_no_answer_it_is_said_why(tmp_path, capsys):
    picture = tmp_path / "p.png"
    picture.write_bytes(Image(draw(1).pixels).encode("PNG"))
    words = ["ask", str(picture), "what?", "--max-tokens", "20", "--out", str(tmp_path / "out")]
    code, _, err = run(words, capsys)
    assert code == 1
    assert "vtool: no answer: " in err


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["ask", "what is it?"], 2, "expected a picture or video"),
        (["ask", "missing.png", "what?"], 2, "cannot read picture"),
        (
            ["ask", "PIC", "what?", "--model", "nothing"],
            1,
            "a shipped policy (tiny/clean, tiny/examples, tiny/idle, tiny/joint, ",
        ),
        (["ask", "PIC", "what?", "--tools", "zom"], 2, "did you mean 'zoom'"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(words, code, said, tmp_path, capsys):
    picture = tmp_path / "p.png"
    picture.write_bytes(Image(draw(1).pixels).encode("PNG"))
    words = [str(picture) if w == "PIC" else w for w in words]
    got, _, err = run([*words, "--out", str(tmp_path / "out")], capsys)
    assert (got, said in err) == (code, True), err
    assert not (tmp_path / "out").exists()
