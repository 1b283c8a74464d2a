"""Partial rollouts: cut and gone on with, the same tokens; groups that wait; staleness."""

import asyncio
import dataclasses
import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sampling import TASK, Unsure, looks, maker, own_ids, seats
from scripts import picture
from toy_run import told, toy_recipe, trained
from vtool.rl.checkpoint import Checkpoints
from vtool.rl.partial import Partial, PartialSettings
from vtool.rl.rollout_sampler import SamplerSpec, Scene
from vtool.rl.run import Run
from vtool.rl.train import train

from vtool.engines.hf import HFEngine
from vtool.environment import Limits, ToolEnvironment
from vtool.errors import CheckpointError, RecipeError
from vtool.families.vlm import VLM
from vtool.message import Author
from vtool.pairs import load_renderer
from vtool.programs.part import play_part
from vtool.programs.solo import play
from vtool.record import Sampling, StopReason
from vtool.seat import Seat
from vtool.shipped import shipped
from vtool.task import Answer, Task
from vtool.toolbox import Toolbox
from vtool.trace import TraceWriter, read_trace
from vtool.worlds.zoom import draw


def in_parts(make, who, tokens, key=(1,), between=lambda e: e):
    """An attempt played in parts of so many tokens, each in a fresh environment."""
    episode, parts = None, 0
    while episode is None or episode.stop is StopReason.SUSPENDED:
        env = make(0)
        if episode is not None:
            episode = between(episode)
        episode = asyncio.run(play_part(env, who, key=key, tokens=tokens, episode=episode))
        parts += 1
        assert parts < 1000
    return episode, parts


def policy_tokens(episode):
    return [s for s in episode.final.segments if s.author is Author.POLICY]


@settings(max_examples=15)
@given(tokens=st.integers(1, 120), turns=st.integers(0, 2))
def test_parts_have_the_tokens_and_log_probs_of_the_whole(tokens, turns):
    whole = asyncio.run(play(maker()(0), seats(Unsure(looks(turns))), key=(1,)))
    episode, parts = in_parts(maker(), seats(Unsure(looks(turns))), tokens)
    assert own_ids(episode) == own_ids(whole)
    assert episode.final.logprobs().tolist() == whole.final.logprobs().tolist()
    assert (episode.stop, episode.answer) == (whole.stop, whole.answer)
    assert [m.action for m in episode.path_messages()] == [m.action for m in whole.path_messages()]
    assert parts == -(-int(whole.final.mask().sum()) // tokens) or parts <= 1 + turns + parts


def test_a_cut_turn_is_several_segments_and_the_last_holds_the_message():
    episode, parts = in_parts(maker(), seats(Unsure(looks(1))), 20)
    assert parts > 2
    first = [s for s in policy_tokens(episode) if s.turn == 0]
    assert len(first) > 1
    assert [bool(s.messages) for s in first] == [False] * (len(first) - 1) + [True]
    assert all(len(s) == 20 for s in first[:-1])
    spans = [s.call_spans for s in first]
    assert not any(spans[:-1])
    assert all(0 <= c.start < c.end <= len(first[-1]) for c in spans[-1])


@pytest.fixture(scope="module")
def tiny():
    folder = shipped("tiny/weak")
    return VLM.load(folder), load_renderer(folder)


def small_world():
    from vtool.vision_tools.zoom import zoom

    from vtool.media import Image

    scene = draw(2)
    task = Task(
        id="2", prompt=(Image(scene.pixels), scene.question), reference=Answer((scene.answer,))
    )
    box = Toolbox([zoom])
    return lambda seed: ToolEnvironment(task, box, Limits(max_turns=3, max_tokens=320), seed)


@pytest.mark.parametrize("tokens", [1, 7, 30])
def test_a_real_policy_draws_on_as_if_it_had_not_been_cut(tiny, tokens):
    """Equal weights: the same tokens; log-probs to rounding (another batch, another prefill)."""
    vlm, renderer = tiny
    who = {"policy": Seat("policy", renderer, HFEngine(vlm), Sampling(max_tokens=48))}
    whole = asyncio.run(play(small_world()(0), who, key=(5,)))
    episode, parts = in_parts(small_world(), who, tokens, key=(5,))
    assert parts > 1
    assert own_ids(episode) == own_ids(whole)
    assert np.allclose(episode.final.logprobs(), whole.final.logprobs(), atol=1e-4)


def test_every_piece_keeps_the_version_and_log_probs_of_its_weights(tiny):
    _, renderer = tiny
    vlm = VLM.load(shipped("tiny/weak"))
    engine = HFEngine(vlm)
    who = {"policy": Seat("policy", renderer, engine, Sampling(max_tokens=48))}
    seen = []

    def newer(episode):
        seen.append([s.logprobs.copy() for s in policy_tokens(episode)])
        with torch.no_grad():
            vlm.language.norm.weight.mul_(1.02)
        engine.update((), version=engine.version + 1)
        return episode

    episode, _ = in_parts(small_world(), who, 8, key=(5,), between=newer)
    pieces = policy_tokens(episode)
    assert [s.version for s in pieces] == sorted(s.version for s in pieces)
    assert len({s.version for s in pieces}) > 2
    for before in seen:
        for one, two in zip(before, pieces, strict=False):
            assert np.array_equal(one, two.logprobs)


def test_a_waiting_attempt_goes_on_from_disk_as_from_memory(tmp_path, tiny):
    vlm, renderer = tiny
    count = [0]

    def who():  # caches of another attempt would change the last bit
        return {"policy": Seat("policy", renderer, HFEngine(vlm), Sampling(max_tokens=48))}

    def from_disk(episode):
        count[0] += 1
        folder = tmp_path / str(count[0])
        with TraceWriter(folder) as writer:
            writer.write(episode)
        return next(read_trace(folder)).episode

    stored, _ = in_parts(small_world(), who(), 9, key=(5,), between=from_disk)
    kept, _ = in_parts(small_world(), who(), 9, key=(5,))
    assert count[0] > 1
    assert own_ids(stored) == own_ids(kept)
    assert stored.final.logprobs().tolist() == kept.final.logprobs().tolist()


# ------------------------------------------------------------------- groups that wait


def scene(engine, size=3, step=0, task=TASK):
    return Scene(seats(engine), lambda t, n: maker(t, max_turns=5)(n), size, step=step)


def run_steps(sampler, engine, steps, fresh=lambda step: [TASK] if step == 0 else []):
    ended = []
    for step in range(steps):
        found = asyncio.run(sampler.play(fresh(step), (0, step), scene(engine, step=step)))
        ended.append([g for _, g in found])
    return ended


def test_a_group_waits_until_all_of_it_has_ended():
    lengths = lambda key: looks(key[3] - 1 if key[3] > 1 else 0)(key)  # noqa: E731
    sampler = Partial(PartialSettings(tokens=60, staleness=9))
    ended = run_steps(sampler, Unsure(lengths), 6)
    when = [i for i, groups in enumerate(ended) if groups]
    assert len(when) == 1
    assert when[0] >= 1
    (group,) = ended[when[0]]
    assert len(group.episodes) == 3
    assert all(e.stop is StopReason.ANSWERED for e in group.episodes)
    assert sampler.waiting == 0


@pytest.mark.parametrize("staleness", [0, 1, 2])
def test_no_group_waits_longer_than_its_staleness(staleness):
    sampler = Partial(PartialSettings(tokens=1, staleness=staleness))
    ended = run_steps(sampler, Unsure(looks(2)), 4)
    assert [len(groups) for groups in ended] == [int(i == staleness) for i in range(4)]


def test_waiting_groups_are_gone_on_with_once_a_step():
    """A refill in the same step must not give them a second helping."""
    sampler = Partial(PartialSettings(tokens=5, staleness=9))
    engine = Unsure(looks(1))
    asyncio.run(sampler.play([TASK], (0, 0), scene(engine, step=0)))
    asyncio.run(sampler.play([], (0, 1), scene(engine, step=1)))
    length = len(sampler.groups[0].episodes[0].final)
    other = dataclasses.replace(TASK, id="u", prompt=(picture(seed=3), "digit?"))
    asyncio.run(sampler.play([other], (0, 1), scene(engine, step=1)))
    assert len(sampler.groups[0].episodes[0].final) == length
    assert sampler.waiting == 2


def test_without_a_cut_it_is_flat_sampling():
    found = asyncio.run(
        Partial(PartialSettings(tokens=10_000)).play([TASK], (7,), scene(Unsure(looks(1))))
    )
    for attempt, episode in enumerate(found[0][1].episodes):
        alone = asyncio.run(play(maker()(attempt), seats(Unsure(looks(1))), key=(7, 0, attempt)))
        assert own_ids(episode) == own_ids(alone)


@pytest.mark.parametrize("bad", [{"tokens": 0}, {"staleness": -1}])
def test_settings_that_make_no_sampler_are_refused(bad):
    with pytest.raises(RecipeError, match="tokens >= 1"):
        PartialSettings(**bad)


# ------------------------------------------------------------------- a run


CUT = {"sampler": SamplerSpec("partial", {"tokens": 40, "staleness": 2}), "group_size": 4}


def test_a_run_of_partial_rollouts_learns_and_resumes_to_the_same_bits(tmp_path):
    recipe = toy_recipe(steps=5, prompts=3, checkpoint_every=1, keep=9, **CUT)
    train(recipe, tmp_path / "whole")
    rows = told(tmp_path / "whole")
    assert any(r.get("staleness_max", 0) >= 1 for r in rows)
    assert max(r.get("staleness_max", 0) for r in rows) <= 2
    assert any(r.get("trained_tokens", 0) > 0 for r in rows)
    waited = sorted((tmp_path / "whole/checkpoints").glob("*/memory/partial/groups.json"))
    assert any(json.loads(p.read_text())["groups"] for p in waited)
    for stop in (1, 3):
        out = tmp_path / f"stopped{stop}"
        train(dataclasses.replace(recipe, steps=stop), out)
        train(recipe, out)
        assert told(out) == rows
        assert trained(out) == trained(tmp_path / "whole")


def test_stale_tokens_are_told_apart_from_a_mismatch(tmp_path):
    train(toy_recipe(steps=4, prompts=3, **CUT), tmp_path)
    for row in told(tmp_path):
        if row.get("staleness_max"):
            assert "mismatch_max" not in row
        elif row.get("trained_tokens"):
            assert row["mismatch_max"] < 1e-3


def test_a_checkpoint_without_the_memory_is_refused(tmp_path):
    train(toy_recipe(steps=2, **CUT), tmp_path)
    loaded = Checkpoints(tmp_path / "checkpoints").load_latest()
    assert (loaded.memory / "partial" / "trace" / "episodes.jsonl").is_file()
    run = Run(toy_recipe(steps=2, sampler=SamplerSpec("partial", {"tokens": 9})), tmp_path)
    with pytest.raises(CheckpointError, match="sampler"):
        run.begin(resume=True, force=())
    out = tmp_path / "flat"
    train(toy_recipe(steps=2), out)
    with pytest.raises(CheckpointError, match="no memory 'partial'"):
        train(toy_recipe(steps=2, **CUT), out, force=["sampler", "group_size"])
