"""The joint policy's experts, tokenizer and demonstrations."""

from __future__ import annotations

import asyncio
import json
import re

import numpy as np
import pytest
import torch
from vtool.rl.methods.trial import ground_names, ground_of
from vtool.rl.recipe import load_recipe
from vtool.rl.tiny.expert import Scribe
from vtool.rl.tiny.export import export
from vtool.rl.tiny.joint_build import LEARNT, begin, carried, mix, new_tokenizer
from vtool.rl.tiny.joint_card import card
from vtool.rl.tiny.joint_drill import drills
from vtool.rl.tiny.joint_expert import (
    OFFERED,
    WORLDS,
    demo_of,
    episodes,
    joint_toolbox,
    texts_of,
)
from vtool.rl.tiny.joint_measure import LIMITS, NAMES, measure
from vtool.rl.tiny.joint_stages import DRILLS, STAGES, beside
from vtool.rl.tiny.joint_times import between, framed, in_order, looked_up, retold
from vtool.rl.tiny.joint_videos import ROWS, WORDS, decided_demos, grown
from vtool.rl.tiny.moments_expert import MomentScribe, turns
from vtool.rl.tiny.spec import FAMILY
from vtool.rl.tiny.teach import Lesson, teach

from vtool.data import load_tasks
from vtool.engines.scripted import ScriptedEngine
from vtool.environment import ToolEnvironment
from vtool.message import Role
from vtool.pairs import RenderSettings, load_renderer
from vtool.programs.solo import play
from vtool.record import Sampling, StopReason
from vtool.seat import Seat
from vtool.shipped import shipped
from vtool.worlds.moments import Ask, draw
from vtool.worlds.moments_files import make


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


@pytest.fixture(scope="module")
def wider(made, tmp_path_factory):
    """The same policy under the tokenizer that knows times and the moment world's words."""
    known, vlm, *_ = made
    tokenizer = grown(known)
    policy = carried(vlm, known, tokenizer, 0, ROWS)
    folder = tmp_path_factory.mktemp("wider")
    export(policy, Scribe(tokenizer), folder, "", OFFERED)
    return tokenizer, policy, folder


def test_the_wider_tokenizer_has_times_and_writes_other_texts_as_before(made, wider):
    known, *_, played = made
    tokenizer = wider[0]
    assert max(tokenizer.get_vocab().values()) < ROWS
    for word in WORDS:
        assert len(tokenizer.encode(word).ids) == 1
    for time in ("12.4", "119.0", "20.5"):
        assert [tokenizer.decode([i]) for i in tokenizer.encode(time).ids] == [
            time.split(".")[0],
            "." + time.split(".")[1],
        ]
    assert tokenizer.encode("0.0213").tokens == ["0.", "0", "2", "1", "3"]
    for rows in played.values():
        for text in (t for r in rows for t in texts_of(r)):
            assert tokenizer.encode(text).tokens == known.encode(text).tokens


def test_what_was_known_is_carried_into_the_wider_policy(made, wider):
    known, vlm, *_ = made
    tokenizer, policy, _ = wider
    mine, theirs = (v.model.get_input_embeddings().weight for v in (policy, vlm))
    assert len(mine) == ROWS
    for token, row in known.get_vocab().items():
        assert torch.equal(mine[tokenizer.token_to_id(token)], theirs[row])
    for a, b in zip(policy.vision.parameters(), vlm.vision.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_demonstration_of_the_moment_world_is_what_the_policy_meets(wider, tmp_path):
    """With every tool on offer, through the file and the tool, token by token, frames at 64x64."""
    tokenizer, _, folder = wider
    scribe, renderer = MomentScribe(tokenizer, FAMILY), load_renderer(folder)
    path = make(tmp_path / "w", seed=3, videos=2, variable=0.5)
    for number, task in enumerate(load_tasks(path)):
        moment, ask = draw((3 << 32) + number // 4, variable=0.5), Ask(task.tags["kind"])
        said, shown = turns(moment, ask)
        engine = ScriptedEngine([scribe.encode(f"{t.text}<|im_end|>") for t in said])
        seats = {"policy": Seat("policy", renderer, engine, Sampling(max_tokens=160))}
        env = ToolEnvironment(task, joint_toolbox(), LIMITS)
        episode = asyncio.run(play(env, seats, key=(0, 0)))
        assert episode.stop is StopReason.ANSWERED
        demo = scribe.write(moment, ask, said, shown)
        assert episode.final.ids().tolist() == demo.ids
        assert episode.final.mask().tolist() == demo.learn
        assert len(demo.ids) < LIMITS.max_tokens
        assert {v.shape for v in demo.views} == {(64, 64, 3)}


@pytest.mark.parametrize("stage", STAGES, ids=lambda s: s[0].name)
def test_a_stage_holds_what_its_mixture_says(made, wider, stage):
    *_, played = made
    tokenizer, _, folder = wider
    renderer, scribe = load_renderer(folder), Scribe(tokenizer)
    pools = {n: [demo_of(p.episode.final, renderer) for p in rows] for n, rows in played.items()}
    lesson, mixture = stage
    source = beside(mixture, mix(pools, mixture.pictures, mixture.drills))
    batch = source(lesson, scribe, np.random.default_rng(0))
    drilled = len({"box", "depth", "mask"} & set(mixture.pictures))
    count = sum(mixture.pictures.values()) + drilled * mixture.drills
    for many in ("episodes", "decided", "frames", "times", "framed", "retold"):
        count += getattr(mixture, many)
    assert len(batch) == count
    shown = max(len(d.views) for d in batch)
    assert shown >= (16 if mixture.episodes else 8)


def test_videos_are_learnt_beside_pictures(made, wider):
    *_, played = made
    tokenizer, policy, folder = wider
    renderer, scribe = load_renderer(folder), Scribe(tokenizer)
    pools = {n: [demo_of(p.episode.final, renderer) for p in rows] for n, rows in played.items()}
    lesson = Lesson("joint", 6, 2e-3, {"one": 0.5, "two": 0.5}, frozen=True)
    for _, mixture in STAGES[:2]:
        source, said = beside(mixture, mix(pools, mixture.pictures)), []
        teach(policy, scribe, lesson, seed=0, log=said.append, every=5, source=source)
        assert said[-1]["loss"] < said[0]["loss"]


def test_what_follows_from_notes_is_what_an_episode_says(wider):
    """The drill's ids are those of the episode without its frames; notes are given, not learnt."""
    tokenizer = wider[0]
    for demo in decided_demos(20, Scribe(tokenizer), np.random.default_rng(0)):
        assert not demo.views
        learnt = tokenizer.decode(
            [i for i, mine in zip(demo.ids, demo.learn, strict=True) if mine],
            skip_special_tokens=False,
        )
        assert " dark" not in learnt
        assert " light" not in learnt
        whole = tokenizer.decode(demo.ids, skip_special_tokens=False)
        spans = re.findall(r'"span": \[([\d.]+), ([\d.]+)\]', learnt)
        assert 1 <= len(spans) <= 2
        for start, end in spans:
            assert f"{start} dark" in whole
            assert f"{end} dark" in whole or float(end) == float(spans[0][1])
        timed = "when" in whole.split("<|im_end|>")[0]
        assert ("from " in learnt.split("<answer>")[1]) is timed


@pytest.mark.parametrize("drill", [looked_up, in_order, framed, retold, between])
def test_drills_in_times_learn_times_that_stand_before(wider, drill):
    scribe, rng = Scribe(wider[0]), np.random.default_rng(0)
    for _ in range(20):
        demo = drill(scribe, rng)
        assert (len(demo.views) > 0) is (drill is framed)
        pairs = list(zip(demo.ids, demo.learn, strict=True))
        learnt = "".join(wider[0].decode([i]) if mine else " " for i, mine in pairs)
        times = re.findall(r"[0-9]+\.[0-9]|\.[0-9]", learnt)
        assert times
        assert set(learnt) <= set("0123456789. ")
        before = wider[0].decode(demo.ids[: demo.learn.index(True)])
        if drill is not retold:
            assert all(t in before for t in times)


def test_a_tenth_is_looked_up_behind_its_second_in_any_order(wider):
    scribe, rng = Scribe(wider[0]), np.random.default_rng(1)
    orders = set()
    for _ in range(30):
        asked, said = wider[0].decode(looked_up(scribe, rng).ids).split("assistant")
        told, again = (re.findall(r"[0-9]+\.[0-9]", t) for t in (asked, said))
        assert sorted(told) == sorted(again)
        assert len({t.split(".")[0] for t in told}) == len(told) <= 8
        orders.add(told == again)
    assert orders == {True, False}


def test_overlaps_are_measured_where_moments_are_asked_for(wider):
    found = measure(wider[2], count=4, names=("moments",))["moments"]
    assert 0 <= found["tiou"] <= 1
    assert 0 <= found["words"] <= 1
    text = card(0, 4, {"moments": found}, {"moments": 0.177})
    assert "| moments | " in text.split("mean tIoU")[1]


def test_worlds_without_a_drill_have_none(made):
    assert drills(3, ["zoom", "page"], Scribe(made[0]), np.random.default_rng(0)) == []


@pytest.mark.parametrize("name", [n for n in ground_names() if ground_of(n).model == "tiny/joint"])
def test_grounds_of_the_joint_policy_offer_what_it_learnt_to_choose_from(name):
    assert ground_of(name).tools == OFFERED


def test_the_recipe_of_the_joint_policy_plays_every_world_with_every_tool():
    recipe = load_recipe("joint")
    assert tuple(recipe.data.worlds) == NAMES
    assert recipe.tools == OFFERED == RenderSettings.read(shipped("tiny/joint")).tools
    assert {"temporal_accuracy", "box_iou"} <= set(recipe.reward.options["weights"])
