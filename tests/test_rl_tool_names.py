"""Tools under random names: drawn by task and step, bound to the same tools, kept out of eval."""

from __future__ import annotations

import pytest
from vtool.rl.assembly import make_env
from vtool.rl.curriculum import dressers
from vtool.rl.recipe import Recipe
from vtool.rl.tool_names import NAMES, SEEDS, in_evaluation, offered, renamed, tool_names

from vtool.errors import DataError, RecipeError, UnknownName, VToolError
from vtool.task import Answer, Task
from vtool.toolbox import Toolbox

TASK = Task(id="a", prompt=("what?",), reference=Answer(("1",)))


def named(task: Task, toolbox: Toolbox, seed: int | None = None) -> list[str]:
    return [s.name for s in offered(task, toolbox, seed)[1].specs]


def test_a_task_is_told_other_names_each_step_and_the_same_within_one() -> None:
    dress = tool_names(0)
    notes = [dress(TASK, step).tags[NAMES] for step in range(20)]
    assert dress(TASK, 3).tags[NAMES] == notes[3]
    assert len({str(n) for n in notes}) == 20
    assert all(n["seed"] < SEEDS for n in notes)  # type: ignore[index,call-overload]


def test_a_share_keeps_own_names() -> None:
    dress = tool_names(0, share=0.25)
    told = sum(NAMES in dress(TASK, step).tags for step in range(400))
    assert 70 < told < 130
    with pytest.raises(RecipeError, match="from 0 to 1"):
        tool_names(0, share=1.5)


def test_tools_keep_to_the_choice_of_the_task_under_their_new_names() -> None:
    box = Toolbox(["zoom", "flip"])
    assert named(TASK, box) == ["zoom", "flip"]
    task = renamed(Task(id="a", prompt=("what?",), reference=Answer(("1",)), tools=("flip",)), 5)
    asked, tools = offered(task, box)
    assert asked.tools is None
    assert len(tools.specs) == 1
    assert tools.specs[0].name.startswith("tool_")
    assert tools.specs[0].description == box.only(["flip"]).specs[0].description


def test_a_run_may_have_one_set_of_names_and_a_note_goes_before_it() -> None:
    box = Toolbox(["zoom"])
    assert named(TASK, box, 7) == named(TASK, box, 7) != named(TASK, box, 8)
    assert named(renamed(TASK, 8), box, 7) == named(TASK, box, 8)


def test_wordings_are_drawn_and_those_of_tools_not_offered_are_left_out() -> None:
    said = {"zoom": ["Enlarge a region."], "flip": ["Turn over."]}
    box = Toolbox(["zoom"])
    texts = {offered(renamed(TASK, s, said), box)[1].specs[0].description for s in range(20)}
    assert texts == {"Enlarge a region.", "Look closer at a part of a picture."}


def test_names_may_be_words_of_ones_own() -> None:
    box, words = Toolbox(["zoom"]), ["amber", "birch", "cedar", "dune"]
    seen = set()
    for seed in range(30):
        (spec,) = offered(renamed(TASK, seed, words=words), box)[1].specs
        names = [spec.name, *(p.name for p in spec.params)]
        assert len(set(names)) == 3
        seen |= set(names)
    assert seen == set(words)
    with pytest.raises(VToolError, match=r"3 names are needed .* got 2 different words"):
        offered(renamed(TASK, 0, words=["amber", "birch", "amber"]), box)


def test_a_note_of_somebody_else_is_refused() -> None:
    task = Task(id="a", prompt=("what?",), reference=Answer(("1",)), tags={NAMES: "odd"})
    with pytest.raises(DataError, match="must hold a seed, got 'odd'"):
        offered(task, Toolbox(["zoom"]))


def test_evaluation_has_names_of_its_own_or_none() -> None:
    assert in_evaluation([TASK], None) == [TASK]
    assert in_evaluation([TASK], SEEDS)[0].tags[NAMES] == {"seed": SEEDS}


def test_the_curriculum_knows_it_by_name() -> None:
    assert NAMES in dressers.get(NAMES)(0)(TASK, 0).tags
    with pytest.raises(UnknownName, match="tool_names"):
        dressers.get("tool_namse")


def test_environments_of_a_run_offer_the_tools_so() -> None:
    box = Toolbox(["zoom"])
    own = make_env(Recipe(), box)(TASK, 0)
    run = make_env(Recipe(tool_names=3), box)(TASK, 0)
    drawn = make_env(Recipe(tool_names=3), box)(renamed(TASK, 4), 0)
    names = [env.specs[0].name for env in (own, run, drawn)]
    assert names[0] == "zoom"
    assert len(set(names)) == 3
