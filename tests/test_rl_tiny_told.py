"""A policy that is told its tools: its demonstrations are what it meets at run time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from vtool.rl.tiny.joint_build import begin
from vtool.rl.tiny.told import NAMES, NEW_NAMES, OFFERED, ToldScribe, drill_row, system_text
from vtool.rl.tiny.told_build import build, build_base, drill_loss, new_tokenizer

from vtool.dialects.hermes import Hermes
from vtool.media import Image
from vtool.message import Author, Message, Role, Show, Text
from vtool.pairs import RenderSettings, load_renderer
from vtool.store import Store
from vtool.toolbox import Toolbox
from vtool.worlds import zoom as world


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("told") / "base"
    build_base(folder, steps=2, log=lambda entry: None)
    return folder


def scribe(base: Path, *, share: float) -> ToldScribe:
    from tokenizers import Tokenizer

    return ToldScribe(Tokenizer.from_file(str(base / "tokenizer.json")), share=share)


@pytest.mark.parametrize("renamed", [False, True])
def test_a_demonstration_begins_as_the_renderer_begins(base: Path, renamed: bool) -> None:
    writer, renderer = scribe(base, share=float(renamed)), load_renderer(base)
    scene = world.draw(3, kind="one")
    specs, helps = writer.offer(np.random.default_rng(0))
    demo = writer.written(scene, [], [scene.pixels], specs, helps)
    store = Store()
    handle = store.add(Image(scene.pixels)).handle
    asked = Message(role=Role.USER, parts=(Show(handle), Text(scene.question)), author=Author.USER)
    begun = renderer.begin([asked], specs, store)
    assert demo.ids == [int(i) for s in begun for i in s.ids]


def test_the_call_is_made_under_the_name_that_was_told(base: Path) -> None:
    writer = scribe(base, share=1.0)
    rng = np.random.default_rng(1)
    for seed in range(5):
        demo = writer.told(world.draw(seed, kind="one"), rng, 1)
        said = writer.tokenizer.decode(demo.ids, skip_special_tokens=False)
        prompt, turn = said.split("<|im_start|>assistant")[:2]
        call = Hermes().parse(turn.split("<|im_end|>")[0]).calls[0]
        told = prompt.split("Look closer")[0].rsplit('"name": "', 1)[1].split('"')[0]
        assert call.name == told.strip()
        assert all(f'"{name}"' in prompt for name in call.arguments)


def test_names_differ_by_episode_only_where_they_are_drawn(base: Path) -> None:
    rng = np.random.default_rng(2)
    drawn = {scribe(base, share=1.0).offer(rng)[1].name for _ in range(8)}
    fixed = {scribe(base, share=0.0).offer(rng)[1].name for _ in range(8)}
    assert len(drawn) == 8
    assert fixed == {"zoom"}


def test_a_share_of_episodes_draws_names(base: Path) -> None:
    rng = np.random.default_rng(4)
    half = [scribe(base, share=0.5).offer(rng)[1].name for _ in range(60)]
    assert 15 < half.count("zoom") < 45
    assert len(set(half)) > 20


def test_the_tool_that_helps_comes_first_or_last(base: Path) -> None:
    rng = np.random.default_rng(3)
    offers = [scribe(base, share=0.0).offer(rng)[0] for _ in range(20)]
    assert {tuple(s.name for s in o) for o in offers} == {OFFERED, OFFERED[::-1]}


def test_a_drill_asks_for_names_that_its_prompt_holds(base: Path) -> None:
    writer, names = scribe(base, share=1.0), set(NAMES)
    for i in range(6):
        ids, learn = drill_row(writer, np.random.default_rng(i))
        said = [t for t, on in zip(ids, learn, strict=True) if on]
        looked = [writer.tokenizer.decode(said[k : k + 3]) for k in range(0, len(said), 3)]
        before = writer.tokenizer.decode(ids[: learn.index(True)], skip_special_tokens=False)
        assert len(looked) == 3
        assert all(name in names and f'"{name}"' in before for name in looked)


def test_no_name_of_evaluation_is_one_of_learning() -> None:
    assert not set(NAMES) & set(NEW_NAMES)
    assert {w for n in NEW_NAMES for w in n.split("-")} == {w for n in NAMES for w in n.split("-")}
    assert len(NEW_NAMES) > 100


def test_padding_adds_nothing_to_the_loss_of_a_drill(base: Path) -> None:
    writer = scribe(base, share=1.0)
    short, long = sorted((drill_row(writer, np.random.default_rng(i)) for i in range(2)), key=size)
    short = (short[0][40:], short[1][40:])
    vlm = begin(writer.tokenizer, 0)
    with torch.no_grad():
        alone, other, both = (drill_loss(vlm, rows) for rows in ([short], [long], [short, long]))
    assert both.item() == pytest.approx((alone.item() + other.item()) / 2, rel=1e-4)


def size(row: tuple[list[int], list[bool]]) -> int:
    return len(row[0])


def test_an_arm_is_built_and_told_its_tools(base: Path, tmp_path: Path) -> None:
    log: list[Any] = []
    build(base, tmp_path / "arm", share=1.0, seed=0, scale=0.01, log=log.append)
    assert (tmp_path / "arm" / "model.safetensors").is_file()
    assert RenderSettings.read(tmp_path / "arm").announce
    assert log


def test_the_tokenizer_reads_the_system_turn_back() -> None:
    tokenizer = new_tokenizer(20)
    said = system_text(Toolbox(OFFERED).view(9, words=NAMES).specs)
    ids = tokenizer.encode(said, add_special_tokens=False).ids
    assert tokenizer.decode(ids, skip_special_tokens=False) == said
