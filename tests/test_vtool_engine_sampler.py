"""Draws: the right distribution, the right truncation, and nothing that was forbidden."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vtool.engines.base import Prompt, Request
from vtool.engines.sampler import Sampler, inverse_cdf, truncate, uniforms
from vtool.errors import EngineError
from vtool.record import Sampling

CPU = torch.device("cpu")


def request(key=(0,), forbidden=(), **sampling):
    prompt = Prompt(np.array([1], dtype=np.int32))
    return Request(
        prompt=prompt,
        sampling=Sampling(**sampling),
        stop_ids=(),
        forbidden_ids=forbidden,
        key=key,
    )


def test_a_key_has_one_stream_however_much_of_it_is_read():
    assert np.array_equal(uniforms((1, 2), 200)[:7], uniforms((1, 2), 7))
    assert not np.array_equal(uniforms((1, 2), 7), uniforms((12,), 7))
    assert not np.array_equal(uniforms((1, 2), 7), uniforms((2, 1), 7))
    assert uniforms((-5, 2**70), 3).shape == (3,)
    assert np.mean(uniforms((3,), 20_000)) == pytest.approx(0.5, abs=0.01)


def test_the_sampler_walks_the_keys_stream_across_blocks():
    sampler = Sampler([request((4,))], 1000, CPU, ())
    u = uniforms((4,), 130)
    for step in range(130):
        assert sampler.draw(torch.zeros(1, 1000)).ids == [int(u[step] * 1000)]


def test_dropping_rows_leaves_the_others_draws_alone():
    keys = [(k,) for k in range(6)]
    logits = torch.randn(6, 50, generator=torch.Generator().manual_seed(0))
    whole = Sampler([request(k) for k in keys], 50, CPU, ())
    wanted = [whole.draw(logits).ids for _ in range(70)]
    cut = Sampler([request(k) for k in keys], 50, CPU, ())
    rows = list(range(6))
    for step in range(70):
        assert cut.draw(logits[rows]).ids == [wanted[step][r] for r in rows]
        if step in (3, 40, 63):
            keep = [i for i in range(len(rows)) if i != 1]
            cut.keep(keep)
            rows = [rows[i] for i in keep]


def test_frequencies_are_those_of_the_tempered_softmax():
    n, logits = 40_000, torch.tensor([0.0, 1.0, 2.0, -1.0, 3.0])
    u = torch.from_numpy(uniforms((0,), n))
    ids = inverse_cdf((logits / 1.7).expand(n, -1), u)
    found = torch.bincount(ids, minlength=5) / n
    assert torch.allclose(found, (logits / 1.7).softmax(0), atol=0.01)


@given(
    st.lists(st.sampled_from([-torch.inf, -40.0, -3.0, 0.0, 0.1, 9.0]), min_size=1, max_size=9),
    st.floats(0, 1, exclude_max=True),
)
def test_nothing_of_probability_zero_is_ever_drawn(values, u):
    logits = torch.tensor([values])
    if not torch.isfinite(logits).any():
        return
    chosen = int(inverse_cdf(logits, torch.tensor([u], dtype=torch.float64)))
    assert logits[0, chosen] > -torch.inf


def test_the_last_uniform_before_one_stays_inside():
    logits = torch.tensor([[1.0, 0.0, -torch.inf]])
    u = torch.tensor([np.nextafter(1.0, 0.0)], dtype=torch.float64)
    assert inverse_cdf(logits, u).tolist() == [1]


@pytest.mark.parametrize(
    ("top_k", "top_p", "kept"),
    [
        (0, 1.0, {0, 1, 2, 3}),
        (2, 1.0, {1, 2}),
        (1, 1.0, {1}),
        (0, 0.5, {1}),
        (0, 0.51, {1, 2}),
        (0, 0.81, {1, 2, 0}),
        (2, 0.62, {1}),
        (2, 0.63, {1, 2}),
        (0, 1e-9, {1}),
    ],
)
def test_truncation_keeps_what_it_should(top_k, top_p, kept):
    # Probabilities 0.15, 0.5, 0.3, 0.05; after top_k = 2: 0.625 and 0.375.
    logits = torch.tensor([[0.15, 0.5, 0.3, 0.05]]).log()
    out = truncate(logits, torch.tensor([[top_k or 99]]), torch.tensor([[top_p]]))
    assert set(torch.isfinite(out[0]).nonzero()[:, 0].tolist()) == kept
    assert torch.equal(out[torch.isfinite(out)], logits[torch.isfinite(out)])


def test_rows_keep_their_own_wishes():
    requests = [
        request((0,), temperature=0.0),
        request((1,), top_k=1),
        request((2,), forbidden=(4,)),
        request((3,), forbidden=(4, 3), temperature=0.0),
        request((4,), temperature=100.0),
    ]
    sampler = Sampler(requests, 5, CPU, never=(0,))
    logits = torch.tensor([[99.0, 1.0, 2.0, 3.0, 40.0]]).expand(5, -1)
    seen = [sampler.draw(logits) for _ in range(60)]
    rows = [{d.ids[r] for d in seen} for r in range(5)]
    assert rows == [{4}, {4}, {3, 2, 1} & rows[2], {2}, {1, 2, 3, 4}]
    assert seen[0].logprobs[0] == pytest.approx(40 - 99, abs=1e-4)


def test_log_probs_ignore_temperature_truncation_and_bans():
    logits = torch.randn(1, 30, generator=torch.Generator().manual_seed(1))
    wish = request((0,), forbidden=(3, 4), temperature=0.3, top_k=4, top_p=0.8, record_top=2)
    drawn = Sampler([wish], 30, CPU, ()).draw(logits)
    raw = logits.log_softmax(-1)[0]
    assert drawn.logprobs[0] == pytest.approx(float(raw[drawn.ids[0]]), abs=1e-6)
    best = raw.topk(2)
    assert [i for i, _ in drawn.top[0]] == best.indices.tolist()
    assert [v for _, v in drawn.top[0]] == pytest.approx(best.values.tolist(), abs=1e-6)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_logits_that_are_no_numbers_are_refused(bad):
    logits = torch.zeros(3, 5)
    logits[1, 2] = bad
    with pytest.raises(EngineError, match="1 of 3 rows"):
        Sampler([request((i,)) for i in range(3)], 5, CPU, ()).draw(logits)


def test_half_precision_logits_give_single_precision_log_probs():
    logits = torch.randn(2, 40, generator=torch.Generator().manual_seed(2)).bfloat16()
    drawn = Sampler([request((0,)), request((1,))], 40, CPU, ()).draw(logits)
    raw = logits.float().log_softmax(-1)
    assert drawn.logprobs == pytest.approx([float(raw[i, drawn.ids[i]]) for i in range(2)])
