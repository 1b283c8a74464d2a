"""The joint policy's experts, tokenizer and demonstrations."""

from __future__ import annotations

import asyncio
import json
import re

import numpy as np
import pytest
import torch
from vtool.rl.tiny.expert import Scribe
from vtool.rl.tiny.export import export
from vtool.rl.tiny.joint_build import DRILLS, LEARNT, begin, mix, new_tokenizer
from vtool.rl.tiny.joint_card import card
from vtool.rl.tiny.joint_drill import drills
from vtool.rl.tiny.joint_expert import OFFERED, WORLDS, demo_of, episodes, joint_toolbox
from vtool.rl.tiny.joint_measure import LIMITS, measure
from vtool.rl.tiny.spec import FAMILY
from vtool.rl.tiny.teach import Lesson, teach

from vtool.engines.scripted import ScriptedEngine
from vtool.environment import ToolEnvironment
from vtool.message import Role
from vtool.pairs import load_renderer
from vtool.programs.solo import play
from vtool.record import Sampling, StopReason
from vtool.seat import Seat


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A fresh joint policy, its renderer, and a few expert episodes of each world."""
    torch.set_num_threads(1)
    tokenizer = new_tokenizer(0, count=4, zooms=20)
    vlm = begin(tokenizer, 0)
    folder = tmp_path_factory.mktemp("joint")
    export(vlm, Scribe(tokenizer), folder, "", OFFERED)
    played = {name: list(episodes(name, 6, 3, chunk=4)) for name in WORLDS}
    return tokenizer, vlm, folder, load_renderer(folder), played


def test_the_experts_are_right(made):
    *_, played = made
    assert {name: len(rows) for name, rows in played.items()} == dict.fromkeys(WORLDS, 6)


def test_a_demonstration_is_what_the_policy_meets_token_by_token(made):
    """Its words, said by a policy, give the same ids through the run-time path."""
    *_, renderer, played = made
    for rows in played.values():
        context = rows[0].episode.final
        lines = [m.text for m in context.messages() if m.role is Role.ASSISTANT]
        engine = ScriptedEngine(lines, renderer.codec, renderer.stop_ids[:1])
        seats = {"policy": Seat("policy", renderer, engine, Sampling(max_tokens=200))}
        env = ToolEnvironment(rows[0].task, joint_toolbox(), LIMITS)
        episode = asyncio.run(play(env, seats))
        assert episode.stop is StopReason.ANSWERED, episode.error
        demo = demo_of(context, renderer)
        assert demo.ids == episode.final.ids().tolist()
        assert demo.learn == episode.final.mask().tolist()
        shapes = [FAMILY.shown_size((v.shape[1], v.shape[0])) for v in demo.views]
        assert [(v.shape[1], v.shape[0]) for v in demo.views] == shapes


def test_what_experts_write_is_one_token_a_number(made):
    tokenizer, *_, played = made
    for rows in played.values():
        calls = [c for r in rows for a in r.episode.actions() for c in a.calls]
        for call in calls:
            for place in [call.arguments.get("box", []), *call.arguments.get("points", [])]:
                for number in place:
                    assert len(tokenizer.encode(f" {number}").ids) <= 2
                    assert number % 10 == 0


def test_the_policy_begins_as_the_clean_one(made):
    from tokenizers import Tokenizer

    from vtool.families.vlm import VLM
    from vtool.shipped import shipped

    tokenizer, vlm, *_ = made
    assert max(tokenizer.get_vocab().values()) < 680
    assert tokenizer.get_vocab_size() == LEARNT
    old = VLM.load(shipped("tiny/clean"))
    known = Tokenizer.from_file(str(shipped("tiny/clean") / "tokenizer.json"))
    for a, b in zip(vlm.vision.parameters(), old.vision.parameters(), strict=True):
        assert torch.equal(a, b)
    mine, theirs = (v.model.get_input_embeddings().weight for v in (vlm, old))
    for word in ("<|im_end|>", "<tool_call>", "840", "Ġred"):
        assert torch.equal(mine[tokenizer.token_to_id(word)], theirs[known.token_to_id(word)])


def test_a_mix_is_taught_and_measured(made, tmp_path):
    tokenizer, vlm, _, renderer, played = made
    pools = {n: [demo_of(p.episode.final, renderer) for p in rows] for n, rows in played.items()}
    scribe, said = Scribe(tokenizer), []
    shares = {"zoom": 2, **dict.fromkeys(WORLDS, 1)}
    lesson = Lesson("joint", 6, 2e-3, {"one": 0.5, "two": 0.5})
    batch = mix(pools, shares)(lesson, scribe, np.random.default_rng(0))
    assert len(batch) == 2 + len(WORLDS) + 3 * DRILLS
    teach(vlm, scribe, lesson, seed=0, log=said.append, every=5, source=mix(pools, shares))
    assert said[-1]["loss"] < said[0]["loss"]
    export(vlm, scribe, tmp_path / "joint", "", OFFERED)
    found = measure(tmp_path / "joint", count=2, names=("depth", "detect"))
    assert set(found) == {"depth", "detect"}
    assert all(0 <= row["accuracy"] <= 1 for row in found.values())
    text = card(0, 2, found, {"depth": 0.5, "detect": 0.25})
    assert "| depth | " in text


def test_a_drill_learns_what_its_words_decide(made):
    tokenizer, *_ = made
    scribe, rng = Scribe(tokenizer), np.random.default_rng(0)
    said = {name: [] for name in ("box", "depth", "mask")}
    for name, found in said.items():
        for demo in drills(20, [name], scribe, rng):
            assert not demo.views
            cut = demo.learn.index(True)
            found.append([tokenizer.decode(ids) for ids in (demo.ids[:cut], demo.ids[cut:])])
    for asked, decided in said["box"]:
        wanted, read = re.findall(r"digit (\d)|digit is (\d)", asked)
        assert decided.endswith("yes." if wanted[0] == read[1] else "no.")
    for asked, decided in said["depth"]:
        first = re.findall(r'"label": "point (\d)"', asked)[0]
        assert f"point {first} {decided.split()[2].rstrip('.')} at" in asked
        assert json.loads("{" + asked.split("{")[1])["relative_depth"] < 1
    for asked, decided in said["mask"]:
        one, two = re.findall(r"The (\w+) shape covers ([\d.]+)\. ?", asked + " ")
        assert max((float(one[1]), one[0]), (float(two[1]), two[0]))[1] in decided


def test_worlds_without_a_drill_have_none(made):
    assert drills(3, ["zoom", "page"], Scribe(made[0]), np.random.default_rng(0)) == []
