"""Samples that begin alike: the beginning is computed once, and nothing else changes."""

import dataclasses
from functools import cache

import numpy as np
import pytest
import torch
import toy_policy
from clips import EVEN, film_episode, video_renderer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scripts import answer_text, observation, picture, question, reply, say, zoom_text
from toy_policy import FAMILIES
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from vtool.rl.batch import make_sample
from vtool.rl.gathering import target_logprobs
from vtool.rl.learner import Learner, LearnerSettings
from vtool.rl.loss import LossSpec
from vtool.rl.policy import Policy
from vtool.rl.prefix_groups import PrefixGroup, make_shared_batch, pack_groups, prefix_groups

from vtool.engines.attention import lean_attention
from vtool.errors import VToolError
from vtool.families import prefix_attention as attention
from vtool.families.adapters import AdapterSpec, add_adapter
from vtool.families.prefix_attention import is_layout, layout, prefix_attention
from vtool.families.stack import PREFIX
from vtool.families.vlm import VLM
from vtool.message import Show
from vtool.record import Episode, Fork

torch.set_num_threads(1)


# ----------------------------------------------------------------------- samples


def attempt(renderer, turns, seed, shown=0, words="What is it?"):
    """One attempt at the question of picture `shown`; what it says depends on the seed."""
    episode = Episode(task_id=f"t{shown}", seed=seed)
    episode.store.add(picture(48 + 16 * (shown % 2), 32, shown))
    context = episode.open("policy")
    for segment in renderer.begin([question(Show("image_1"), words)], (), episode.store):
        context.append(segment)
    go_on(renderer, episode, context, turns, seed)
    return episode


def go_on(renderer, episode, context, turns, seed):
    """Some zooms and an answer."""
    for turn in range(turns - 1):
        act = say(renderer, context, zoom_text("hermes", (100, 200, 600, 800), 1), seed=seed + turn)
        entry = episode.store.add(picture(32 + 16 * turn, 48, 100 + seed + turn))
        reply(renderer, context, observation(Show(entry.handle), call=act.action.calls[0]))
    say(renderer, context, answer_text(), seed=seed + 9)


def sample(context, name="qwen3_vl", credit=1.0):
    family = toy_policy.policy(name).vlm.family
    made = make_sample(context, toy_policy.renderer(name), family, credit)
    rng = np.random.default_rng(len(made))
    old = np.where(made.target, rng.uniform(-7, -6, len(made)), 0).astype(np.float32)
    return dataclasses.replace(made, old_logp=old)


@cache
def step_samples(name="qwen3_vl"):
    """Two groups of attempts of very different lengths, one lone attempt, one without credit."""
    renderer = toy_policy.renderer(name)
    turns = [(1, 0), (3, 0), (1, 1), (2, 0), (5, 0), (2, 1), (1, 2)]
    made = [
        sample(attempt(renderer, t, 10 * i, shown).contexts[0], name, (0.5, -1.0, 2.0)[i % 3])
        for i, (t, shown) in enumerate(turns)
    ]
    still = attempt(renderer, 2, 70, 0).contexts[0]
    return (*made, sample(still, name, 0.0))


def groups_of(samples, budget=10**6):
    groups, rest = prefix_groups(samples, range(len(samples)), budget)
    return [g.members for g in groups], rest


# --------------------------------------------------------------------- attention


def apart(groups, row):
    """What a row of groups holds as whole sequences, and where each of their tokens stands."""
    out, start = [], 0
    for prefix, branches in groups:
        at = start + prefix
        for own in branches:
            out.append([*range(start, start + prefix), *range(at, at + own)])
            at += own
        start = at
    assert start == row
    return out


def group_lists():
    branches = st.lists(st.integers(1, 40), min_size=1, max_size=5).map(tuple)
    return st.lists(st.tuples(st.integers(0, 12), branches), min_size=1, max_size=4)


@pytest.mark.parametrize("fewer_heads", [True, False])
@settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(groups=group_lists(), heads=st.sampled_from([(4, 2), (2, 2), (3, 1)]))
def test_a_row_of_groups_is_attended_to_as_its_sequences_apart(
    fewer_heads, groups, heads, monkeypatch
):
    """The way of a CPU and that of a GPU."""
    monkeypatch.setattr(attention, "masks_with_fewer_heads", lambda device: fewer_heads)
    tokens = sum(prefix + sum(branches) for prefix, branches in groups)
    torch.manual_seed(tokens)
    shapes = [(1, h, tokens, 8) for h in (heads[0], heads[1], heads[1])]
    q, k, v = (torch.randn(s, dtype=torch.float64, requires_grad=True) for s in shapes)
    found, _ = prefix_attention(None, q, k, v, layout(groups))
    weight = torch.randn_like(found)
    gradients = torch.autograd.grad((found * weight).sum(), (q, k, v))

    wanted = torch.zeros_like(found)
    places = set()
    for whole in apart(groups, tokens):
        new = [i for i in whole if i not in places]
        places.update(new)
        out = torch.nn.functional.scaled_dot_product_attention(
            q[:, :, whole], k[:, :, whole], v[:, :, whole], is_causal=True, enable_gqa=True
        ).transpose(1, 2)
        keep = [whole.index(i) for i in new]
        wanted = wanted.index_copy(1, torch.tensor(new), out[:, keep])
    same = torch.autograd.grad((wanted * weight).sum(), (q, k, v))
    torch.testing.assert_close(found, wanted)
    torch.testing.assert_close(gradients, same)


def test_with_any_other_mask_it_is_the_librarys_own():
    module = torch.nn.Module()
    module.num_key_value_groups, module.is_causal = 2, True
    q, k, v = torch.randn(2, 4, 5, 8), torch.randn(2, 2, 5, 8), torch.randn(2, 2, 5, 8)
    for mask in (None, torch.ones(2, 1, 5, 5).tril().bool(), torch.zeros(2, 1, 5, 5)):
        found, _ = prefix_attention(module, q, k, v, mask, scaling=0.3)
        wanted, _ = sdpa_attention_forward(module, q, k, v, mask, scaling=0.3)
        assert torch.equal(found, wanted)


def test_an_ordinary_kernel_refuses_a_layout():
    q = torch.randn(1, 2, 5, 8)
    with pytest.raises(RuntimeError, match="attn_mask"):
        sdpa_attention_forward(torch.nn.Module(), q, q, q, layout([(2, (2, 1))]))


def test_a_layout_for_another_row_is_refused():
    q = torch.randn(1, 2, 6, 8)
    with pytest.raises(VToolError, match="one row of 5 tokens, got 1 of 6"):
        prefix_attention(None, q, q, q, layout([(2, (2, 1))]))
    two = torch.randn(2, 2, 5, 8)
    with pytest.raises(VToolError, match="got 2 of 5"):
        prefix_attention(None, two, two, two, layout([(2, (2, 1))]))


@pytest.mark.parametrize("groups", [[], [(3, ())], [(-1, (2,))], [(3, (2, 0))]])
def test_lengths_that_cannot_be_are_refused(groups):
    with pytest.raises(VToolError, match="groups of a prefix"):
        layout(groups)


# ------------------------------------------------------------------------ groups


def test_attempts_at_one_question_share_all_but_the_last_token_of_its_prompt():
    samples = step_samples()
    groups, rest = prefix_groups(samples, range(len(samples)), 10**6)
    assert [g.members for g in groups] == [(0, 1, 3, 4, 7), (2, 5)]
    assert rest == [6]
    for group in groups:
        for i in group.members:
            assert group.prefix == int(np.argmax(samples[i].target)) - 1


def test_equal_words_on_other_pictures_are_no_common_beginning():
    renderer = toy_policy.renderer()
    # Pictures 0 and 2 have one size: all ids and positions of the prompts are equal.
    made = [sample(attempt(renderer, 1, 0, shown).contexts[0]) for shown in (0, 2)]
    assert np.array_equal(made[0].ids[:20], made[1].ids[:20])
    assert groups_of(made) == ([], [0, 1])


def test_equal_ids_at_other_positions_are_no_common_beginning():
    first = sample(attempt(toy_policy.renderer(), 1, 0).contexts[0])
    later = dataclasses.replace(first, positions=first.positions + 1)
    assert groups_of([first, later]) == ([], [0, 1])


def test_a_fork_shares_the_prompt_of_its_parent():
    renderer = toy_policy.renderer()
    episode = attempt(renderer, 3, 0)
    child = episode.open("policy", edge=Fork(0, at=3))
    go_on(renderer, episode, child, 1, 40)
    made = [sample(c) for c in episode.contexts]
    groups, rest = prefix_groups(made[::-1], (0, 1), 10**6)
    assert (groups[0].members, rest) == ((0, 1), [])
    assert groups[0].prefix == int(np.argmax(made[0].target)) - 1 < np.argmax(made[1].target) - 1


def test_what_has_no_target_or_would_tear_a_picture_stays_alone():
    first = sample(attempt(toy_policy.renderer(), 1, 0).contexts[0])
    none = dataclasses.replace(first, target=np.zeros_like(first.target))
    inside = first.target.copy()
    inside[first.pictures[0].run.start + 2] = True
    torn = dataclasses.replace(first, target=inside)
    assert groups_of([none, none]) == ([], [0, 1])
    assert groups_of([torn, torn]) == ([], [0, 1])
    assert groups_of([torn, first, first]) == ([(1, 2)], [0])


def test_a_group_beyond_the_budget_is_cut_into_several():
    samples = [step_samples()[0]] * 7
    prefix = prefix_groups(samples, range(7), 10**6)[0][0].prefix
    own = len(samples[0]) - prefix
    budget = prefix + 3 * own
    groups, rest = prefix_groups(samples, range(7), budget)
    assert [g.members for g in groups] == [(0, 1, 2), (3, 4, 5)]
    assert rest == [6]
    assert all(g.tokens(samples) == budget for g in groups)
    assert groups_of(samples, 1) == ([], list(range(7)))
    rows = pack_groups(samples, groups, 2 * budget)
    assert [len(row) for row in rows] == [2]


# -------------------------------------------------------------------- the learner


def learner(policy, **options):
    return Learner(policy, LearnerSettings(**{"batch_tokens": 900, **options}), 3)


def gradients(policy, samples, **options):
    """Of one step's objective, and what it tells."""
    one = learner(policy, **options)
    metrics = [one._backward(w) for w in one._works(samples, ())]
    return {n: p.grad for n, p in policy.named() if p.grad is not None}, metrics


def same(a, b):
    assert a.keys() == b.keys()
    for key, value in a.items():
        assert (value - b[key]).norm() <= 2e-5 * value.norm() + 1e-7, key


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("name", FAMILIES)
def test_gradients_are_those_of_samples_side_by_side(name, checkpointing):
    loss = LossSpec(clip_low=0.2, clip_high=0.28, entropy_coef=0.01)
    found = [
        gradients(
            toy_policy.new_policy(name, checkpointing=checkpointing).train(),
            step_samples(name),
            share_prefixes=share,
            loss=loss,
        )[0]
        for share in (True, False)
    ]
    assert any("visual" in n for n in found[0])
    same(*found)


def test_a_step_tells_the_same_numbers():
    told = []
    for share in (True, False):
        one = learner(toy_policy.new_policy(), share_prefixes=share)
        told.append(one.step(step_samples()))
    assert told[0].keys() == told[1].keys()
    for key, value in told[0].items():
        assert told[1][key] == pytest.approx(value, rel=2e-3, abs=1e-5), key


@pytest.mark.parametrize("name", FAMILIES)
def test_log_probs_come_back_to_their_samples(name):
    samples = step_samples(name)
    rows = []
    for share in (True, False):
        one = learner(toy_policy.policy(name), share_prefixes=share)
        rows.append(target_logprobs(one.policy, samples, one.batches(samples)))
    for sample_, a, b in zip(samples, *rows, strict=True):
        assert len(a) == sample_.target.sum()
        np.testing.assert_allclose(a, b, atol=2e-5)


@pytest.mark.parametrize("name", FAMILIES)
def test_clips_in_a_shared_prompt(name):
    renderer = video_renderer(name)
    made = []
    for seed in range(3):
        context = film_episode(renderer, (EVEN, EVEN[:4])).final
        say(renderer, context, answer_text(), seed=seed)
        made.append(make_sample(context, renderer, toy_policy.policy(name).vlm.family, 1.0))
    one = learner(toy_policy.policy(name))
    batches = list(one.batches(made))
    assert [is_layout(b.mask) for b in batches] == [True]
    assert batches[0].ids.numel() < sum(len(s) for s in made)
    plain = learner(toy_policy.policy(name), share_prefixes=False)
    rows = [target_logprobs(x.policy, made, x.batches(made)) for x in (one, plain)]
    for a, b in zip(*rows, strict=True):
        np.testing.assert_allclose(a, b, atol=2e-5)


def test_adapters_learn_from_shared_prompts():
    found = []
    for share in (True, False):
        vlm = toy_policy.new_vlm()
        torch.manual_seed(3)
        add_adapter(vlm, AdapterSpec(rank=2))
        for key, parameter in vlm.named_parameters():
            if ".lora_B" in key:  # they begin at zero, where nothing reaches the other factor
                torch.nn.init.normal_(parameter, std=0.1)
        found.append(gradients(Policy(vlm), step_samples(), share_prefixes=share)[0])
    assert all(".lora_" in n for n in found[0])
    same(*found)


def test_each_token_of_a_prompt_is_computed_once():
    samples = step_samples()
    batches = list(learner(toy_policy.policy(), batch_tokens=10**6).batches(samples))
    groups, rest = prefix_groups(samples, range(len(samples)), 10**6)
    wanted = sum(g.tokens(samples) for g in groups)
    assert [b.ids.numel() for b in batches] == [wanted, *(len(samples[i]) for i in rest)]
    assert batches[0].computed == batches[0].tokens
    assert sorted(set(torch.cat([b.sequence for b in batches]).tolist())) == list(range(8))


def test_where_nothing_is_shared_every_bit_stays():
    lone = [step_samples()[i] for i in (0, 2, 6)]
    bits = [gradients(toy_policy.new_policy(), lone, share_prefixes=s)[0] for s in (True, False)]
    assert all(torch.equal(v, bits[1][k]) for k, v in bits[0].items())


# ---------------------------------------------------------------------- the model


def test_a_model_that_attends_another_way_is_left_as_it_is():
    vlm = toy_policy.new_vlm()
    eager = VLM.from_config(vlm.model.config, attention="eager")
    policy = Policy(eager)
    assert not policy.shares
    one = learner(policy)
    assert not any(is_layout(b.mask) for b in one.batches(step_samples()))
    assert one.policy.vlm.language.config._attn_implementation == "eager"


def test_engines_use_their_own_attention_in_between():
    vlm = toy_policy.new_policy().vlm
    config = vlm.language.config
    assert config._attn_implementation == PREFIX
    with lean_attention(vlm) as lean:
        assert lean
        assert config._attn_implementation != PREFIX
    assert config._attn_implementation == PREFIX


def test_a_checkpoint_does_not_name_it(tmp_path):
    toy_policy.new_policy().vlm.save(tmp_path)
    assert PREFIX not in (tmp_path / "config.json").read_text()
    assert VLM.load(tmp_path).language.config._attn_implementation == "sdpa"


def test_groups_of_one_row_keep_pictures_of_each_apart():
    samples = step_samples()
    groups = [PrefixGroup(g.prefix, g.members) for g in prefix_groups(samples, range(8), 10**6)[0]]
    batch = make_shared_batch(samples, groups, toy_policy.policy().vlm.visual_ids)
    shown = sum(len(samples[i].pictures) for g in groups for i in g.members)
    spared = sum((len(g.members) - 1) for g in groups)  # a prompt shows one picture
    assert len(batch.shows) == shown - spared
    assert batch.ids.shape == batch.visual.shape
