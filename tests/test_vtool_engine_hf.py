"""The engine's tokens are the model's tokens: log-probs, caches, versions, both families."""

import asyncio
import dataclasses

import numpy as np
import pytest
import torch
from engine_talk import Talk, gap, serve
from tiny_vlm import NAMES, build, shared

from vtool.engines.base import Capabilities, TokenEngine
from vtool.engines.hf import HFEngine
from vtool.errors import EngineError
from vtool.record import Finish
from vtool.scheduler import Barrier

BOTH = pytest.mark.parametrize("name", NAMES)


def openings(vlm):
    """Prompts of different lengths with none, one or several pictures of different sizes."""
    return [
        Talk(vlm, (0,)).say(1, 9, [(64, 64, 1)], 4),
        Talk(vlm, (1,)).say(2, 23),
        Talk(vlm, (2,)).say(3, 3, [(32, 64, 2), (96, 48, 3)], 11),
        Talk(vlm, (3,)).say(4, 5, [(64, 64, 1)], 2).say(5, 3, [(64, 32, 4)], 1),
    ]


def observe(talk, turn):
    """What comes after a turn: text, and for some a new picture or two."""
    shown = [(48, 32, 10 + turn), (64, 64, 20 + talk.key[0])][: (talk.key[0] + turn) % 3]
    talk.say(100 + turn, 3 + talk.key[0], shown, 4)


@BOTH
def test_three_turns_equal_one_full_forward(name):
    vlm = shared(name)
    engine = HFEngine(vlm)
    talks = openings(vlm)
    for turn in range(3):
        # Any of these ids ends a row, so rows end at different times.
        serve(engine, talks, max_tokens=14, stop_ids=tuple(range(0, 100, 7)))
        if turn < 2:
            for talk in talks:
                observe(talk, turn)
    assert len({len(t.drawn) for t in talks}) > 1
    assert gap(vlm, talks) < 1e-4
    assert engine.counters.cached_tokens > 0


@BOTH
def test_a_loaded_eager_model_serves_the_same(name):
    vlm = build(name)
    engine = HFEngine(vlm)
    sdpa = openings(vlm)
    serve(engine, sdpa)
    vlm.model.set_attn_implementation("eager")
    eager = openings(vlm)
    engine.drop_caches()
    serve(engine, eager)
    assert [t.ids for t in eager] == [t.ids for t in sdpa]
    assert vlm.model.config.text_config._attn_implementation == "eager"


def test_the_learners_attention_and_mode_are_put_back():
    vlm = build("qwen3_vl")
    vlm.train()
    vlm.model.config.text_config._attn_implementation = "flex_attention"
    serve(HFEngine(vlm), [Talk(vlm).say(1, 5)])
    assert vlm.training
    assert vlm.model.config.text_config._attn_implementation == "flex_attention"


@BOTH
def test_a_group_reads_its_prompt_and_picture_once(name):
    vlm = shared(name)
    engine = HFEngine(vlm)
    talks = [Talk(vlm, (g,)).say(1, 20, [(64, 64, 1)], 9) for g in range(6)]
    length, visual = len(talks[0].ids), talks[0].pictures[0].run.length
    serve(engine, talks)
    assert engine.counters.prefill_tokens == length
    assert engine.counters.visual_tokens == visual
    assert len({tuple(t.ids) for t in talks}) == 6
    # A latecomer reads only the last token, for its logits.
    late = Talk(vlm, (9,)).say(1, 20, [(64, 64, 1)], 9)
    serve(engine, [late])
    assert engine.counters.prefill_tokens == length + 1
    assert engine.counters.visual_tokens == visual
    assert gap(vlm, [*talks, late]) < 1e-4


@BOTH
def test_a_fork_reads_only_what_is_new(name):
    vlm = shared(name)
    engine = HFEngine(vlm)
    trunk = Talk(vlm, (0,)).say(1, 20, [(64, 32, 1)], 9)
    serve(engine, [trunk])
    trunk.say(2, 18)
    trunk_at_fork = len(trunk.ids)
    paths = [trunk.copy(0, i) for i in range(3)]
    for i, path in enumerate(paths):
        path.say(50 + i, 6)
    before = engine.counters.prefill_tokens
    serve(engine, [trunk])
    assert engine.counters.prefill_tokens - before == 18 + 1  # the drawn token was never read
    before = engine.counters.prefill_tokens
    serve(engine, paths)
    assert engine.counters.prefill_tokens - before == 3 * 6
    assert all(len(p.ids) > trunk_at_fork for p in paths)
    assert gap(vlm, [trunk, *paths]) < 1e-4


def test_the_same_ids_with_another_picture_are_another_prefix():
    vlm = shared("qwen3_vl")
    engine = HFEngine(vlm)
    one = Talk(vlm, (0,)).say(1, 20, [(64, 64, 1)], 9)
    other = Talk(vlm, (1,)).say(1, 20, [(64, 64, 2)], 9)
    assert one.ids == other.ids
    serve(engine, [one])
    serve(engine, [other])
    assert engine.counters.cached_tokens == 0
    assert gap(vlm, [one, other]) < 1e-4


# ------------------------------------------------------------------------------- weights


def test_an_update_changes_outputs_and_drops_what_was_cached():
    vlm = build("qwen3_vl")
    engine = HFEngine(vlm)
    talks = openings(vlm)
    serve(engine, talks)
    weights = {k: v + 0.05 * torch.randn_like(v) for k, v in vlm.model.state_dict().items()}
    engine.update(weights.items(), version=7)
    assert engine.version == 7
    for talk in talks:
        talk.drawn.clear()
        observe(talk, 1)
    done = serve(engine, talks)
    assert {c.version for c in done} == {7}
    assert gap(vlm, talks) < 1e-4


def test_without_the_drop_the_outputs_would_be_wrong(monkeypatch):
    """The test above can fail: stale keys and values are far from the new weights' own."""
    vlm = build("qwen3_vl")
    engine = HFEngine(vlm)
    talks = openings(vlm)
    serve(engine, talks)
    monkeypatch.setattr(engine, "_clear", lambda: None)
    weights = {k: v + 0.05 * torch.randn_like(v) for k, v in vlm.model.state_dict().items()}
    engine.update(weights.items(), version=7)
    for talk in talks:
        talk.drawn.clear()
        observe(talk, 1)
    serve(engine, talks)
    assert gap(vlm, talks) > 1e-2


def test_a_foreign_weight_changes_nothing():
    vlm = build("qwen3_vl")
    engine = HFEngine(vlm)
    name, value = next(iter(vlm.model.state_dict().items()))
    before = value.clone()
    for bad in [("lm_haed.weight", value), ("lm_head.weight", torch.zeros(2, 2))]:
        with pytest.raises(EngineError, match="lm_head"):
            engine.update([(name, value + 1), bad], version=1)
    assert torch.equal(vlm.model.state_dict()[name], before)
    assert engine.version == 0


def test_a_learner_on_the_same_module_only_names_the_version():
    vlm = build("qwen3_vl")
    engine = HFEngine(vlm)
    talk = Talk(vlm).say(1, 20)
    serve(engine, [talk])
    with torch.no_grad():
        vlm.model.lm_head.weight.add_(0.1 * torch.randn_like(vlm.model.lm_head.weight))
    engine.update((), version=1)
    talk.drawn.clear()
    talk.say(2, 3)
    assert serve(engine, [talk])[0].version == 1
    assert gap(vlm, [talk]) < 1e-4


# ------------------------------------------------------------------------------- sampling


@BOTH
def test_draws_do_not_depend_on_company_or_order(name):
    vlm = shared(name)
    crowd, alone = openings(vlm), openings(vlm)
    serve(HFEngine(vlm), list(reversed(crowd)))
    for talk in alone:
        serve(HFEngine(vlm, cache_bytes=0), [talk])
    assert [t.ids for t in crowd] == [t.ids for t in alone]


def test_finish_says_why():
    vlm = shared("qwen3_vl")
    talk = Talk(vlm).say(1, 12)
    free = serve(HFEngine(vlm), [talk.copy()], max_tokens=6)[0]
    assert free.finish is Finish.LENGTH
    assert len(free.ids) == 6
    stop = int(free.ids[3])
    first = free.ids.tolist().index(stop)
    cut = serve(HFEngine(vlm), [talk.copy()], max_tokens=6, stop_ids=(stop,))[0]
    assert cut.finish is Finish.STOP
    assert cut.ids.tolist() == free.ids.tolist()[: first + 1]


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_placeholders_and_forbidden_ids_are_never_drawn(temperature):
    vlm = build("qwen3_vl")
    forbidden = (5, 6)
    loved = [*vlm.placeholder_ids, *forbidden]

    def head(hidden):
        logits = torch.zeros(*hidden.shape[:-1], vlm.vocab_size)
        logits[..., loved] = 30.0
        return logits

    vlm.head = head
    talks = [Talk(vlm, (i,)).say(1, 5, [(32, 32, 1)], 2) for i in range(4)]
    done = serve(HFEngine(vlm), talks, temperature=temperature, forbidden_ids=forbidden)
    for completion in done:
        assert not set(loved) & set(completion.ids.tolist())
        # Raw log-probs: the forbidden ids keep their share of the mass.
        assert completion.logprobs.max() < -25


def test_alternatives_are_raw_and_as_many_as_asked():
    vlm = shared("qwen3_vl")
    talks = [Talk(vlm, (0,)).say(1, 8), Talk(vlm, (1,)).say(2, 9)]

    async def ask():
        engine = HFEngine(vlm)
        return await asyncio.gather(
            engine.generate(talks[0].request(record_top=3, temperature=0.0)),
            engine.generate(talks[1].request()),
        )

    with_top, without = asyncio.run(ask())
    assert without.top == ()
    assert [len(t) for t in with_top.top] == [3] * len(with_top.ids)
    for token, logprob, top in zip(with_top.ids, with_top.logprobs, with_top.top, strict=True):
        assert sum(np.exp(lp) for _, lp in top) < 1
        ids = [i for i, _ in top]
        if token in ids:  # a placeholder may be likelier, and is then listed but never drawn
            assert top[ids.index(token)][1] == pytest.approx(logprob, abs=1e-5)


# ------------------------------------------------------------------------------- failure


def test_a_broken_forward_fails_its_wave_and_no_other():
    vlm = build("qwen3_vl")
    engine = HFEngine(vlm)
    talks = openings(vlm)
    weight = vlm.language.layers[0].self_attn.k_proj.weight
    good = weight.detach().clone()
    with torch.no_grad():
        weight[0] = float("nan")  # keys that are remembered would poison later waves

    async def ask():
        return await asyncio.gather(
            *(engine.generate(t.request()) for t in talks), return_exceptions=True
        )

    broken = asyncio.run(ask())
    assert all(isinstance(b, EngineError) and "NaN" in str(b) for b in broken)
    with torch.no_grad():
        weight.copy_(good)
    serve(engine, talks)
    assert gap(vlm, talks) < 1e-4


def test_out_of_memory_in_the_middle_leaves_a_usable_engine():
    vlm = build("qwen3_vl")
    engine = HFEngine(vlm)
    talks = openings(vlm)
    head, calls = vlm.head, []

    def full(hidden):
        calls.append(1)
        if len(calls) == 4:
            raise torch.OutOfMemoryError("no memory")
        return head(hidden)

    vlm.head = full
    with pytest.raises(EngineError, match="no memory"):
        serve(engine, talks)
    serve(engine, talks)
    assert gap(vlm, talks) < 1e-4


def _empty(talk):
    return dataclasses.replace(talk.request(), prompt=Talk(talk.vlm).prompt)


def _no_picture(talk):
    prompt = dataclasses.replace(talk.prompt, pictures=())
    return dataclasses.replace(talk.request(), prompt=prompt)


def _shifted(talk):
    picture = talk.pictures[0]
    moved = dataclasses.replace(picture, run=dataclasses.replace(picture.run, start=0))
    prompt = dataclasses.replace(talk.prompt, pictures=(moved,))
    return dataclasses.replace(talk.request(), prompt=prompt)


def _wrong_grid(talk):
    picture = talk.pictures[0]
    run = dataclasses.replace(picture.run, grid=(1, 2, 2))
    moved = dataclasses.replace(picture, run=run)
    prompt = dataclasses.replace(talk.prompt, pictures=(moved,))
    return dataclasses.replace(talk.request(), prompt=prompt)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_empty, "empty"),
        (_no_picture, "placeholders"),
        (_shifted, "no placeholders at 0"),
        (_wrong_grid, "grid"),
        (lambda t: t.request(max_tokens=0), "max_tokens"),
        (lambda t: t.request(temperature=-1.0), "temperature"),
        (lambda t: dataclasses.replace(t, ids=[*t.ids, 5000]).request(), "5000"),
    ],
)
def test_a_request_that_cannot_be_served_is_refused_alone(spoil, said):
    vlm = shared("qwen3_vl")
    engine = HFEngine(vlm)
    good = Talk(vlm, (1,)).say(2, 9)
    bad = spoil(Talk(vlm, (0,)).say(1, 4, [(32, 32, 1)], 2))

    async def ask():
        return await asyncio.gather(engine.generate(bad), good.ask(engine), return_exceptions=True)

    refused, served = asyncio.run(ask())
    assert isinstance(refused, EngineError)
    assert said in str(refused)
    assert len(served.ids)


# ------------------------------------------------------------------------------- the contract


def test_it_is_what_the_house_asks_for(tmp_path):
    vlm = build("qwen3_vl")
    vlm.save(tmp_path)
    engine = HFEngine.load(tmp_path, synchronous=False)
    assert isinstance(engine, TokenEngine)
    assert isinstance(engine, Barrier)
    assert engine.capabilities == Capabilities(
        pictures=True, logprobs=True, top=True, synchronous=False, updates=True
    )
    here, there = Talk(vlm).say(1, 9, [(64, 64, 1)], 4), Talk(vlm).say(1, 9, [(64, 64, 1)], 4)
    serve(HFEngine(vlm), [here])
    serve(engine, [there])
    assert here.ids == there.ids
    engine.close()
