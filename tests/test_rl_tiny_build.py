import json
from pathlib import Path

import pytest
from vtool.rl.tiny.__main__ import main
from vtool.rl.tiny.card import card
from vtool.rl.tiny.warmstart import LESSONS, shrink

from vtool.families.vlm import VLM


def test_easy_pictures_come_first():
    objects = [lesson.objects for lesson in LESSONS]
    assert objects == sorted(objects)
    assert objects[:3] == [1, 2, 4]
    assert [lesson.frozen for lesson in LESSONS][-1] is False
    assert set(LESSONS[-1].kinds) == {"none", "one", "two"}


@pytest.mark.parametrize(("steps", "scale", "wanted"), [(500, 1.0, 500), (500, 0.1, 50), (9, 0, 2)])
def test_a_shorter_recipe_shrinks_every_stage(steps: int, scale: float, wanted: int):
    assert shrink(steps, scale) == wanted


def test_the_card_says_what_was_measured():
    row = {"accuracy": 0.975, "format": 1.0, "calls": 1.01, "hit": 0.99, "iou": 0.77}
    text = card("weak", 3, {"count": 250, "one": row, "without_tool": 0.112})
    assert "| one | 0.975 | 1.000 | 1.010 | 0.990 | 0.770 |" in text
    assert "250 held-out pictures" in text
    assert "--seed 3" in text
    assert "0.112" in text


@pytest.mark.parametrize("arguments", [[], ["out", "--measure", "folder"]])
def test_the_command_asks_for_one_thing(arguments: list[str], capsys):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert "either OUT" in capsys.readouterr().err


@pytest.mark.slow
def test_one_command_builds_both_starts_from_nothing(tmp_path: Path, capsys):
    assert main([str(tmp_path), "--minutes", "0.02", "--count", "3"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    stages = {line["stage"] for line in lines if "stage" in line}
    assert stages == {"vision", *(lesson.name for lesson in LESSONS), "weaken"}
    assert {line["policy"] for line in lines if "policy" in line} == {"clean", "weak"}
    for name in ("clean", "weak"):
        folder = tmp_path / name
        assert VLM.load(folder).family.name == "qwen3_vl"
        assert "How it was made" in (folder / "README.md").read_text()
    assert main(["--measure", str(tmp_path / "weak"), "--count", "2"]) == 0
    again = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {line["policy"] for line in again} == {"weak"}
