"""A policy that is told its tools: its demonstrations are what it meets at run time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from vtool.rl.tiny import tokenizer as tokens
from vtool.rl.tiny.joint_build import begin
from vtool.rl.tiny.told import OFFERED, ToldScribe, copying_row, system_text, texts
from vtool.rl.tiny.told_build import build, build_base, copying_loss

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


def scribe(base: Path, *, renamed: bool) -> ToldScribe:
    from tokenizers import Tokenizer

    return ToldScribe(Tokenizer.from_file(str(base / "tokenizer.json")), renamed=renamed)


@pytest.mark.parametrize("renamed", [False, True])
def test_a_demonstration_begins_as_the_renderer_begins(base: Path, renamed: bool) -> None:
    writer, renderer = scribe(base, renamed=renamed), load_renderer(base)
    scene = world.draw(3, kind="one")
    specs, helps = writer.offer(np.random.default_rng(0))
    demo = writer.written(scene, [], [scene.pixels], specs, helps)
    store = Store()
    handle = store.add(Image(scene.pixels)).handle
    asked = Message(role=Role.USER, parts=(Show(handle), Text(scene.question)), author=Author.USER)
    begun = renderer.begin([asked], specs, store)
    assert demo.ids == [int(i) for s in begun for i in s.ids]


def test_the_call_is_made_under_the_name_that_was_told(base: Path) -> None:
    writer = scribe(base, renamed=True)
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
    drawn = {scribe(base, renamed=True).offer(rng)[1].name for _ in range(8)}
    fixed = {scribe(base, renamed=False).offer(rng)[1].name for _ in range(8)}
    assert len(drawn) == 8
    assert fixed == {"zoom"}


def test_the_tool_that_helps_comes_first_or_last(base: Path) -> None:
    rng = np.random.default_rng(3)
    offers = [scribe(base, renamed=False).offer(rng)[0] for _ in range(20)]
    assert {tuple(s.name for s in o) for o in offers} == {OFFERED, OFFERED[::-1]}


def test_a_drill_repeats_its_first_half_and_only_that_is_learnt(base: Path) -> None:
    writer = scribe(base, renamed=True)
    rows = [copying_row(writer, np.random.default_rng(i)) for i in range(4)]
    assert all(row[: len(row) // 2] == row[len(row) // 2 :] for row in rows)
    vlm = begin(writer.tokenizer, 0)
    with torch.no_grad():
        short, long = sorted(rows, key=len)[0], sorted(rows, key=len)[-1]
        alone, padded = copying_loss(vlm, [short]), copying_loss(vlm, [short, long])
        other = copying_loss(vlm, [long])
    counts = [len(short) // 2, len(long) // 2]
    mixed = (alone * counts[0] + other * counts[1]) / sum(counts)
    assert padded.item() == pytest.approx(mixed.item(), rel=1e-4)


def test_an_arm_is_built_and_told_its_tools(base: Path, tmp_path: Path) -> None:
    log: list[Any] = []
    build(base, tmp_path / "arm", renamed=True, seed=0, scale=0.01, log=log.append)
    assert (tmp_path / "arm" / "model.safetensors").is_file()
    assert RenderSettings.read(tmp_path / "arm").announce
    assert log


def test_the_tokenizer_reads_the_system_turn_back() -> None:
    tokenizer = tokens.train(texts(20), learnt=640)
    said = system_text(Toolbox(OFFERED).view(9).specs)
    ids = tokenizer.encode(said, add_special_tokens=False).ids
    assert tokenizer.decode(ids, skip_special_tokens=False) == said
