"""The tiny policy plays whole episodes on engine `hf`, through the programs of the house."""

import asyncio
from pathlib import Path

import numpy as np
import pytest
import torch
from vtool.vision_tools.zoom import zoom

from vtool.engines.hf import HFEngine
from vtool.environment import Limits, ToolEnvironment
from vtool.families.vlm import VLM
from vtool.media import Image
from vtool.pairs import load_renderer
from vtool.programs.branch import branch
from vtool.programs.solo import play
from vtool.record import Sampling
from vtool.scheduler import run_all
from vtool.seat import Seat
from vtool.task import Answer, Task
from vtool.toolbox import Toolbox
from vtool.worlds.zoom import draw

FOLDER = Path(__file__).parent.parent / "assets" / "tiny" / "weak"
TASKS, ATTEMPTS = 3, 4


@pytest.fixture(scope="module")
def vlm():
    return VLM.load(FOLDER)


def collect(vlm, engine, concurrency=0):
    """Groups of attempts, all at once."""
    renderer = load_renderer(FOLDER)
    seat = Seat("policy", renderer, engine, Sampling(max_tokens=48))
    toolbox = Toolbox([zoom])

    def job(number, attempt):
        scene = draw(number)
        task = Task(
            id=str(number),
            prompt=(Image(scene.pixels), scene.question),
            reference=Answer((scene.answer,)),
        )
        env = ToolEnvironment(task, toolbox, Limits(max_turns=3))
        return lambda: play(env, {"policy": seat}, key=(5, number, attempt))

    jobs = [job(n, a) for n in range(TASKS) for a in range(ATTEMPTS)]
    episodes = asyncio.run(run_all(jobs, engine=engine, concurrency=concurrency))
    assert [e.error for e in episodes] == [None] * len(episodes)
    return [c for e in episodes for c in e.contexts], renderer


def full(vlm, renderer, context):
    """Log-probs of the policy's tokens by one forward over the whole context."""
    prompt = renderer.prompt(context)
    blocks = [vlm.family.block(p.run.start, p.run.grid) for p in prompt.pictures]
    positions = torch.from_numpy(vlm.family.positions(len(prompt.ids), blocks))[:, None]
    ids = torch.from_numpy(prompt.ids.astype("int64"))
    with torch.no_grad():
        vision = vlm.encode([p.patches for p in prompt.pictures])
        logits = vlm.head(vlm.hidden(ids[None], positions, vision=vision))[0]
    at = np.flatnonzero(context.mask())
    return logits.log_softmax(-1)[at - 1, ids[at]].numpy(), at


def test_log_probs_of_whole_episodes_equal_one_forward(vlm):
    engine = HFEngine(vlm)
    contexts, renderer = collect(vlm, engine)
    assert max(c.turn for c in contexts) >= 2
    assert max(len(c.placements()) for c in contexts) >= 2
    for context in contexts:
        expected, at = full(vlm, renderer, context)
        assert np.abs(context.logprobs()[at] - expected).max() < 1e-4
    # Each question and its picture were read once for the whole group.
    assert engine.counters.cached_tokens > 0
    assert engine.counters.rows > engine.counters.waves


def test_equal_seeds_give_equal_bits(vlm):
    first, _ = collect(vlm, HFEngine(vlm))
    engine = HFEngine(vlm)
    for _ in range(2):  # the second time on an engine that has served before
        again, _ = collect(vlm, engine)
        for one, other in zip(first, again, strict=True):
            assert np.array_equal(one.ids(), other.ids())
            assert np.array_equal(one.logprobs(), other.logprobs())


def test_concurrency_changes_no_token(vlm):
    wide, _ = collect(vlm, HFEngine(vlm))
    narrow, _ = collect(vlm, HFEngine(vlm), concurrency=5)
    free, _ = collect(vlm, HFEngine(vlm, synchronous=False))
    for others in (narrow, free):
        for one, other in zip(wide, others, strict=True):
            assert np.array_equal(one.ids(), other.ids())
            assert np.abs(one.logprobs() - other.logprobs()).max() < 1e-4


def test_a_learner_can_go_backward_after_the_engine_served(vlm):
    """Nothing that the engine made in inference mode is left where gradients go."""
    contexts, renderer = collect(vlm, HFEngine(vlm))
    prompt = renderer.prompt(contexts[0])
    vlm.zero_grad()
    features = vlm.encode([p.patches for p in prompt.pictures])
    (features.embeds.square().sum() + sum(d.square().sum() for d in features.deepstack)).backward()
    assert any(p.grad is not None and p.grad.any() for p in vlm.vision.parameters())
    vlm.zero_grad()


def test_branches_of_a_tree_draw_the_same_whatever_the_clock(vlm):
    """Paths that end at different turns hold nobody up, and two runs are equal bit for bit."""

    def grow():
        engine, renderer = HFEngine(vlm), load_renderer(FOLDER)
        cast = {"policy": Seat("policy", renderer, engine, Sampling(max_tokens=60))}
        scene = draw(0)
        prompt = (Image(scene.pixels), scene.question)
        task = Task(id="0", prompt=prompt, reference=Answer((scene.answer,)))
        env = ToolEnvironment(task, Toolbox([zoom]), Limits(max_turns=3))

        async def go():
            with engine.participants(1):
                return await branch(env, cast, key=(7,), after=1, width=4)

        return asyncio.run(asyncio.wait_for(go(), 60))

    first, second = grow(), grow()
    assert [c.ids().tolist() for c in first.contexts] == [c.ids().tolist() for c in second.contexts]
    assert all(c.stop is not None for c in first.contexts[1:])
