"""Chunked log-probs equal the plain computation, in value and gradient, with less memory."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from vtool.rl.logprobs import CAST_ROWS, selected_logprobs

from vtool.errors import VToolError

torch.set_num_threads(1)


def problem(seed, n=13, vocab=50, width=8, dtype=torch.float32):
    g = torch.Generator().manual_seed(seed)
    hidden = torch.randn(n, width, generator=g).to(dtype).requires_grad_()
    weight = torch.randn(vocab, width, generator=g).to(dtype).requires_grad_()
    return hidden, weight, torch.randint(0, vocab, (n,), generator=g)


def plain(hidden, weight, targets, temperature=1.0):
    """The full computation, in float32 or wider."""
    wide = torch.promote_types(hidden.dtype, torch.float32)
    table = (hidden.to(wide) @ weight.to(wide).t() / temperature).log_softmax(-1)
    return table.gather(-1, targets[:, None]).squeeze(-1), -(table.exp() * table).sum(-1)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    n=st.integers(0, 20),
    chunk=st.integers(1, 30),
    temperature=st.sampled_from([1.0, 0.5, 2.0]),
)
def test_values_and_gradients_equal_the_plain_way(seed, n, chunk, temperature):
    hidden, weight, targets = problem(seed, n)
    expected = plain(hidden, weight, targets, temperature)
    got = selected_logprobs(
        hidden, weight, targets, chunk=chunk, entropy=True, temperature=temperature
    )
    g = torch.Generator().manual_seed(seed)
    mix = torch.randn(2, n, generator=g)
    for a, b in zip(got, expected, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)
    grads = [
        torch.autograd.grad((mix[0] * lp + mix[1] * ent).sum(), (hidden, weight))
        for lp, ent in (got, expected)
    ]
    for a, b in zip(*grads, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("entropy", [False, True])
def test_gradcheck(entropy):
    hidden, weight, targets = problem(0, 5, 7, 3, torch.float64)

    def both(h, w):
        out = selected_logprobs(h, w, targets, chunk=2, entropy=entropy, temperature=1.3)
        return tuple(t for t in out if t is not None)

    assert torch.autograd.gradcheck(both, (hidden, weight))


@pytest.mark.parametrize("entropy", [False, True])
def test_bfloat16_accumulates_in_float32(entropy):
    hidden, weight, targets = problem(1, 6, CAST_ROWS + 100, 32, torch.bfloat16)
    expected, _ = plain(hidden, weight, targets)
    logp, ent = selected_logprobs(hidden, weight, targets, chunk=4, entropy=entropy)
    assert logp.dtype == torch.float32
    assert (ent is None) is not entropy
    torch.testing.assert_close(logp, expected, atol=1e-5, rtol=1e-5)
    got = torch.autograd.grad(logp.sum(), (hidden, weight))
    for a, b in zip(got, torch.autograd.grad(expected.sum(), (hidden, weight)), strict=True):
        assert a.dtype == torch.bfloat16
        torch.testing.assert_close(a, b, atol=1e-2, rtol=1e-2)


def test_autocast_does_not_reach_the_logits():
    hidden, weight, targets = problem(2)
    expected, _ = plain(hidden, weight, targets)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logp, _ = selected_logprobs(hidden, weight, targets)
    torch.testing.assert_close(logp, expected, atol=1e-5, rtol=1e-5)


def test_frozen_head_gets_no_gradient_and_costs_none():
    hidden, weight, targets = problem(3)
    selected_logprobs(hidden, weight.detach(), targets)[0].sum().backward()
    expected = torch.autograd.grad(plain(hidden, weight, targets)[0].sum(), hidden)[0]
    torch.testing.assert_close(hidden.grad, expected, atol=1e-5, rtol=1e-5)
    assert weight.grad is None


def test_large_logits_stay_finite():
    hidden, weight, targets = problem(4)
    logp, ent = selected_logprobs(hidden * 1e4, weight, targets, entropy=True)
    grads = torch.autograd.grad((logp + ent).sum(), (hidden, weight))
    assert all(torch.isfinite(t).all() for t in (logp, ent, *grads))


def test_no_tensor_is_larger_than_chunk_times_vocabulary():
    """Watches every allocation that an operation makes, forward and backward."""
    hidden, weight, targets = problem(5, 64, 500, 8)
    chunk = 4

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        largest = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            out = func(*args, **(kwargs or {}))
            for t in out if isinstance(out, (tuple, list)) else (out,):
                if isinstance(t, torch.Tensor):
                    self.largest = max(self.largest, t.numel())
            return out

    with Watch() as watch:
        # The head's own gradient is as large as the head: leave it out here.
        selected_logprobs(hidden, weight.detach(), targets, chunk=chunk)[0].sum().backward()
    assert watch.largest == max(weight.numel(), chunk * 500)
    with Watch() as watch:
        plain(hidden, weight.detach(), targets)[0].sum().backward()
    assert watch.largest == 64 * 500


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"hidden": torch.zeros(3, 4)}, "expected hidden"),
        ({"targets": torch.zeros(2, dtype=torch.int64)}, "one target per row"),
        ({"chunk": 0}, "positive"),
        ({"temperature": 0.0}, "positive"),
    ],
)
def test_what_does_not_fit_is_told(change, match):
    hidden, weight, targets = problem(6)
    given = {"hidden": hidden, "weight": weight, "targets": targets} | change
    with pytest.raises(VToolError, match=match):
        selected_logprobs(**given)
