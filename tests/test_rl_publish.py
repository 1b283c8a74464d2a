"""Publishing: what an engine draws from afterwards."""

import asyncio

import numpy as np
import pytest
import torch
from scripts import begin, question
from toy_policy import new_vlm, renderer
from vtool.rl.publish import publish

from vtool.engines.base import Request
from vtool.engines.hf import HFEngine
from vtool.errors import EngineError
from vtool.record import Sampling
from vtool.store import Store


def draw(engine):
    writer = renderer()
    context = begin(writer, [question("What is it?")], Store())
    request = Request(
        prompt=writer.prompt(context),
        sampling=Sampling(max_tokens=6),
        stop_ids=writer.stop_ids,
        forbidden_ids=writer.forbidden_ids,
    )
    return asyncio.run(engine.generate(request))


def change(vlm):
    with torch.no_grad():
        for parameter in vlm.model.parameters():
            parameter.add_(0.05 * torch.sin(torch.arange(parameter.numel())).view_as(parameter))


def test_the_engine_of_the_same_model_copies_nothing_and_drops_its_caches():
    vlm = new_vlm()
    engine = HFEngine(vlm)
    before = draw(engine)
    change(vlm)
    publish(vlm, engine, 7)
    after = draw(engine)
    assert (before.version, after.version) == (0, 7)
    fresh = draw(HFEngine(vlm))
    assert after.ids.tolist() == fresh.ids.tolist()
    assert np.array_equal(after.logprobs, fresh.logprobs)
    assert not np.array_equal(before.logprobs, after.logprobs)


def test_an_engine_with_a_model_of_its_own_gets_the_weights():
    learns, draws = new_vlm(seed=0), new_vlm(seed=1)
    engine = HFEngine(draws)
    draw(engine)
    publish(learns, engine, 3)
    assert engine.version == 3
    assert np.array_equal(draw(engine).logprobs, draw(HFEngine(learns)).logprobs)
    change(learns)
    assert not np.array_equal(draw(engine).logprobs, draw(HFEngine(learns)).logprobs)


def test_another_model_is_refused():
    with pytest.raises(EngineError, match="no weight"):
        publish(new_vlm("qwen25_vl"), HFEngine(new_vlm("qwen3_vl")), 1)
