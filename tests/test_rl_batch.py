"""Batches: what the learner sees of a record, and that no layout changes what it sees."""

import dataclasses
import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scripts import begin, completion, picture, question, say
from toy_policy import FAMILIES, episodes, policy, renderer, samples
from vtool.rl.batch import make_batch, make_sample, plan

from vtool.errors import RecordError
from vtool.message import Author, Show
from vtool.record import Episode, Fork, Sampling
from vtool.store import Store


def logps(name, given_samples, rows):
    """Log-probs of every target by sample, whatever row it lies in."""
    batch = make_batch(given_samples, rows, policy(name).vlm.image_token_id)
    with torch.no_grad():
        found, entropy = policy(name)(batch, entropy=True)
    return {int(i): found[batch.sequence == i] for i in batch.sequence.unique()}, batch, entropy


@pytest.mark.parametrize("name", FAMILIES)
def test_packed_padded_and_alone_agree(name):
    all_samples = samples(name)
    alone = {i: logps(name, all_samples, [[i]])[0][i] for i in range(len(all_samples))}
    padded, batch, _ = logps(name, all_samples, [[i] for i in range(len(all_samples))])
    packed, tight, _ = logps(name, all_samples, [[3, 0, 5], [1, 4], [2]])
    assert batch.mask is None
    assert tight.mask is not None
    assert tight.computed < batch.computed
    assert tight.tokens == batch.tokens
    for i, wanted in alone.items():
        assert (padded[i] - wanted).abs().max() < 1e-5
        assert (packed[i] - wanted).abs().max() < 1e-5


@settings(max_examples=8)
@given(order=st.permutations(range(6)), cuts=st.sets(st.integers(1, 5), max_size=4))
def test_any_packing_gives_the_same_log_probs(order, cuts):
    edges = [0, *sorted(cuts), 6]
    rows = [sorted(order[a:b]) for a, b in itertools.pairwise(edges)]
    found, _, _ = logps("qwen3_vl", samples(), rows)
    wanted, _, _ = logps("qwen3_vl", samples(), [[i] for i in range(6)])
    for i in range(6):
        assert (found[i] - wanted[i]).abs().max() < 1e-5


def test_targets_are_the_policys_tokens_and_nothing_else():
    for episode in episodes():
        context = episode.contexts[0]
        sample = make_sample(context, renderer(), policy().vlm.family)
        batch = make_batch([sample], [[0]], policy().vlm.image_token_id)
        mask = context.mask(Author.POLICY)
        assert batch.targets.tolist() == context.ids()[mask].tolist()
        assert batch.old_logp.tolist() == context.logprobs()[mask].tolist()
        assert (batch.reads + 1).tolist() == np.flatnonzero(mask).tolist()
        assert mask.any()
        assert not mask.all()


def test_equal_pictures_are_encoded_once():
    _, batch, _ = logps("qwen3_vl", samples(), [[i] for i in range(6)])
    digests = {p.digest for s in samples() for p in s.pictures}
    assert len(batch.patches) == len(digests) < len(batch.shows)
    assert len(batch.shows) == sum(len(s.pictures) for s in samples())


def test_a_forks_prefix_is_learnt_in_the_parent_only():
    episode = Episode(task_id="t")
    episode.store.add(picture())
    opening = begin(renderer(), [question(Show("image_1"), "What?")], episode.store)
    parent = episode.open("policy")
    for segment in opening.segments:
        parent.append(segment)
    say(renderer(), parent, "I see.\n<answer>7</answer>")
    child = episode.open("policy", edge=Fork(0, at=1))
    say(renderer(), child, "No.\n<answer>8</answer>", seed=2)
    twin = episode.open("policy", edge=Fork(0, at=2))
    for context, targets in ((parent, True), (child, True), (twin, False)):
        sample = make_sample(context, renderer(), policy().vlm.family)
        assert sample.target.any() == targets
        assert not sample.target[: len(parent.segments[0])].any()


def test_credit_goes_to_its_own_segment():
    context = episodes()[2].contexts[0]
    credit = [float(i) for i in range(len(context.segments))]
    sample = make_sample(context, renderer(), policy().vlm.family, credit)
    ends = context.boundaries()
    for i, end in enumerate(ends):
        begins = ends[i - 1] if i else 0
        assert (sample.advantage[begins:end] == i).all()
    with pytest.raises(RecordError, match="2 credits for"):
        make_sample(context, renderer(), policy().vlm.family, [1.0, 2.0])


def test_positions_are_the_familys_own():
    for name in FAMILIES:
        sample = samples(name)[2]
        assert sample.positions.shape == (3, len(sample))
        images = sample.ids == policy(name).vlm.image_token_id
        # Height and width run on their own inside a picture, and nowhere else.
        assert (sample.positions[1] == sample.positions[2])[~images].all()
        assert not (sample.positions[1] == sample.positions[2])[images].all()


def test_placeholders_without_pixels_are_refused():
    sample = samples()[1]
    ids = sample.ids.copy()
    ids[-2] = policy().vlm.image_token_id
    with pytest.raises(RecordError, match="placeholder tokens"):
        make_batch([dataclasses.replace(sample, ids=ids)], [[0]], policy().vlm.image_token_id)


def test_pixels_of_another_grid_are_refused():
    one, two = samples()[0], samples()[1]
    swapped = dataclasses.replace(one.pictures[0], patches=two.pictures[0].patches)
    assert swapped.patches.grid != one.pictures[0].run.grid
    with pytest.raises(RecordError, match="has grid"):
        make_batch(
            [dataclasses.replace(one, pictures=(swapped,))], [[0]], policy().vlm.image_token_id
        )


@given(
    lengths=st.lists(st.integers(1, 50), min_size=1, max_size=30),
    row=st.sampled_from([0, 16, 64]),
    budget=st.integers(1, 300),
)
def test_a_plan_has_everything_once_and_keeps_its_budget(lengths, row, budget):
    batches = plan(lengths, row_tokens=row, batch_tokens=budget)
    assert sorted(i for b in batches for r in b for i in r) == list(range(len(lengths)))
    for rows in batches:
        width = max(sum(lengths[i] for i in r) for r in rows)
        assert len(rows) == 1 or width * len(rows) <= budget
    if not row:
        assert all(len(r) == 1 for b in batches for r in b)


def test_a_context_whose_policy_speaks_first_is_refused():
    context = begin(renderer(), [question("hi")], Store())
    step = renderer().next(context, completion(renderer(), "x"), Sampling())
    bare = Episode(task_id="t").open("policy")
    bare.append(step.segment)
    sample = make_sample(bare, renderer(), policy().vlm.family)
    with pytest.raises(ValueError, match="nothing of its own segment comes before"):
        make_batch([sample], [[0]], policy().vlm.image_token_id)
