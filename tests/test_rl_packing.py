"""Packing: everything once, no row too long, and a packed token sees what it saw alone."""

import itertools
import math
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from vtool.rl.packing import (
    FORWARD,
    PADDING,
    PackingError,
    block_causal_mask,
    concatenate,
    micro_batches,
    pack,
    predictors,
    segment_ids,
    waste,
)

from vtool.families.prefix_attention import layout
from vtool.families.stack import PREFIX

torch.set_num_threads(1)
lengths = st.lists(st.integers(1, 40), max_size=40)
budgets = st.integers(1, 64)


def episode_lengths(seed, count=256):
    """Tokens of simulated multi-turn episodes: prompt, 2-8 turns, observations between."""
    rng = np.random.default_rng(seed)
    out = []
    for _ in range(count):
        turns = int(np.clip(1 + rng.geometric(1 / 3), 2, 8))
        written = np.clip(rng.lognormal(np.log(180), 0.8, turns), 16, 2048).astype(int)
        seen = rng.integers(300, 1301, turns - 1)
        out.append(1500 + int(written.sum() + seen.sum()))
    return out


@given(sizes=lengths, budget=budgets)
def test_every_item_once_and_no_row_over_budget(sizes, budget):
    rows = pack(sizes, budget)
    assert sorted(i for row in rows for i in row) == list(range(len(sizes)))
    for row in rows:
        assert row == sorted(row)
        assert len(row) == 1 or sum(sizes[i] for i in row) <= budget
    assert rows == pack(list(sizes), budget)


@given(sizes=lengths, budget=budgets)
def test_no_two_rows_could_share(sizes, budget):
    rows = sorted(sum(sizes[i] for i in row) for row in pack(sizes, budget))
    assert len(rows) < 2 or rows[0] + rows[1] > budget


@given(sizes=lengths, budget=budgets, data=st.data())
def test_order_of_arrival_does_not_change_the_shape(sizes, budget, data):
    order = data.draw(st.permutations(range(len(sizes))))
    a = [sorted(sizes[i] for i in row) for row in pack(sizes, budget)]
    b = [sorted(sizes[order[i]] for i in row) for row in pack([sizes[i] for i in order], budget)]
    assert a == b


@given(sizes=lengths, budget=budgets)
def test_micro_batches_hold_every_row_within_the_budget(sizes, budget):
    batches = micro_batches(sizes, budget)
    assert sorted(r for batch in batches for r in batch) == list(range(len(sizes)))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(sizes[r] for r in batch) <= budget


def every_cut(count):
    """All ways to cut a row of so many into runs."""
    for marks in itertools.product((False, True), repeat=max(0, count - 1)):
        ends = [i + 1 for i, cut in enumerate(marks) if cut] + [count]
        yield list(zip([0, *ends], ends, strict=False))


@given(sizes=st.lists(st.integers(1, 900), min_size=1, max_size=8), budget=st.integers(1, 3000))
def test_micro_batches_compute_as_little_as_any_cut(sizes, budget):
    ranked = sorted(sizes, reverse=True)

    def cost(runs):
        widths = [(ranked[first], end - first) for first, end in runs]
        if any(count > 1 and width * count > budget for width, count in widths):
            return math.inf
        return sum(FORWARD + width * count for width, count in widths)

    found = micro_batches(sizes, budget)
    ends = list(itertools.accumulate(len(b) for b in found))
    runs = list(zip([0, *ends], ends, strict=False))
    assert [sorted((sizes[r] for r in b), reverse=True) for b in found] == [
        ranked[first:end] for first, end in runs
    ]
    assert cost(runs) == min(cost(r) for r in every_cut(len(sizes)))


def test_a_long_row_does_not_widen_the_short_ones():
    assert micro_batches([40, 900, 40, 40], 4000) == [[1], [0, 2, 3]]
    assert micro_batches([40, 60, 40], 4000) == [[1, 0, 2]]


@pytest.mark.parametrize("seed", range(5))
def test_waste_of_simulated_episodes(seed):
    sizes = episode_lengths(seed)
    assert 4200 < np.mean(sizes) < 5200
    rows = pack(sizes, 16384)
    assert waste(rows, sizes, 16384) <= 1.05
    assert waste(rows, sizes) == 1.0
    order = np.random.default_rng(seed).permutation(len(sizes)).reshape(-1, 8)
    padded = sum(8 * max(sizes[i] for i in batch) for batch in order) / sum(sizes)
    assert padded > 1.5


def test_tables_of_two_rows():
    ids = segment_ids([[2, 1], [2]], width=4)
    assert ids.tolist() == [[0, 0, 1, PADDING], [0, 0, PADDING, PADDING]]
    mask = block_causal_mask(torch.from_numpy(ids))
    assert mask.shape == (2, 1, 4, 4)
    assert mask[0, 0].int().tolist() == [[1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
    assert mask[1, 0].int().tolist() == [[1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]


def test_concatenated_positions_start_anew():
    positions = [np.tile(np.arange(n), (3, 1)) for n in (2, 3, 1)]
    out = concatenate(positions, [[0, 1], [2]])
    assert out.shape == (3, 2, 5)
    assert out[1].tolist() == [[0, 1, 0, 1, 2], [0, 0, 0, 0, 0]]
    assert concatenate([[7, 8], [9]], [[1, 0], [1]], fill=5).tolist() == [[9, 7, 8], [9, 5, 5]]


def test_predictors_never_cross_a_border():
    ids = segment_ids([[3, 2]], width=6)
    before, tokens = predictors([[0, 1, 1, 0, 1, 0]], ids)
    assert before.tolist() == [0, 1, 3]
    assert tokens.tolist() == [1, 2, 4]
    for orphan in ([1, 0, 0, 0, 0, 0], [0, 0, 0, 1, 0, 0], [0, 0, 0, 0, 0, 1]):
        with pytest.raises(PackingError, match="selected"):
            predictors([orphan], ids)


@given(row=st.lists(st.integers(1, 6), min_size=1, max_size=5), extra=st.integers(0, 3))
def test_mask_is_the_definition(row, extra):
    ids = segment_ids([row], width=sum(row) + extra)
    mask = block_causal_mask(torch.from_numpy(ids))[0, 0].numpy()
    for q in range(len(mask)):
        seen = [k for k in range(q + 1) if ids[0, k] == ids[0, q] != PADDING] or [q]
        assert np.flatnonzero(mask[q]).tolist() == seen


@pytest.fixture(scope="module")
def model():
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    text = {
        "vocab_size": 97,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "rope_parameters": {"rope_type": "default", "mrope_section": [2, 3, 3]},
    }
    vision = {"depth": 1, "hidden_size": 16, "num_heads": 2, "out_hidden_size": 32}
    torch.manual_seed(0)
    config = Qwen2_5_VLConfig(text_config=text, vision_config=vision)
    return Qwen2_5_VLForConditionalGeneration(config).eval()


@pytest.mark.parametrize("by_segments", [False, True])
@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 999), sizes=st.lists(st.integers(2, 12), min_size=1, max_size=6))
def test_packing_changes_no_log_prob(model, by_segments, seed, sizes):
    """The real class, three-axis positions, rows of unequal length, both kinds of attention."""
    rng = np.random.default_rng(seed)
    ids = [rng.integers(0, 97, n) for n in sizes]
    positions = [np.sort(rng.integers(0, 20, (3, n))) for n in sizes]
    rows = pack(sizes, 16)

    def log_probs(tokens, where, **attention):
        body = model.model.language_model
        hidden = body(
            inputs_embeds=body.embed_tokens(torch.as_tensor(tokens)),
            position_ids=torch.as_tensor(where),
            **attention,
        ).last_hidden_state
        return model.lm_head(hidden).log_softmax(-1)

    def packed(some):
        if by_segments:
            attention = {"attention_mask": layout([(0, tuple(sizes[i] for i in some[0]))])}
        else:
            segments = segment_ids([[sizes[i] for i in row] for row in some])
            attention = {"attention_mask": block_causal_mask(torch.from_numpy(segments))}
        return log_probs(concatenate(ids, some), concatenate(positions, some), **attention)

    with torch.no_grad(), attending(model, PREFIX if by_segments else "sdpa"):
        # Segments go one row at a time, the mask takes all rows at once.
        tables = [packed([row])[0] for row in rows] if by_segments else packed(rows)
    with torch.no_grad():
        for table, row in zip(tables, rows, strict=True):
            edges = list(itertools.accumulate((sizes[i] for i in row), initial=0))
            for i, start, end in zip(row, edges[:-1], edges[1:], strict=True):
                alone = log_probs(ids[i][None], positions[i][:, None], attention_mask=None)
                torch.testing.assert_close(table[start:end], alone[0], atol=1e-5, rtol=1e-5)


@contextmanager
def attending(model, name):
    """Switch the language tower's attention, and back."""
    config = model.model.language_model.config
    before = config._attn_implementation
    config._attn_implementation = name
    try:
        yield
    finally:
        config._attn_implementation = before


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: pack([3, 0], 8), "item 1 has 0"),
        (lambda: pack([3], 0), "budget of 0"),
        (lambda: micro_batches([3], 0), "at least one"),
        (lambda: segment_ids([[3, 3]], width=5), "does not fit"),
        (lambda: concatenate([[1]], [[0], []]), "at least one row"),
    ],
)
def test_what_cannot_be_packed_is_told(call, match):
    with pytest.raises(PackingError, match=match):
        call()
