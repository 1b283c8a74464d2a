"""Promises of the loss: worked numbers, gradients where they belong, exact micro-batches."""

import importlib
import itertools
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from vtool.rl.aggregate import AggregateError, Denominators, Mode, aggregate
from vtool.rl.clip_cov import clip_cov_weight, covariance
from vtool.rl.kl import KL_ESTIMATORS, k2, k3, k3_plus
from vtool.rl.loss import LossError, LossReport, LossSpec, merge_metrics, policy_loss

torch.set_num_threads(1)
GOLDEN = json.loads((Path(__file__).parent / "golden/mechanisms_section0.json").read_text())
ROOMS = ("aggregate", "loss", "kl", "clip_cov")
ROWS = [row for row in GOLDEN["rows"] if row["call"].split(":")[0] in ROOMS]
MODES = [str(m) for m in Mode]
modes = pytest.mark.parametrize("mode", MODES)
seeds = st.integers(0, 2**31)
few = settings(max_examples=25, deadline=None)


def denominators(mode, sequence):
    length = 16.0 if mode == Mode.SEQ_MEAN_TOKEN_SUM_NORM else None
    return Denominators.of(mode, sequence, length=length)


def batch(seed, n=40, sequences=6, spread=0.5):
    """Random policy tokens: log-probs around the old ones, one advantage per sequence."""
    g = torch.Generator().manual_seed(seed)
    old = -3 * torch.rand(n, generator=g, dtype=torch.float64)
    logp = old + spread * torch.randn(n, generator=g, dtype=torch.float64)
    sequence = torch.randint(0, sequences, (n,), generator=g)
    advantage = torch.randn(sequences, generator=g, dtype=torch.float64)[sequence]
    return logp.requires_grad_(), old, advantage, sequence


def golden_loss(ratio, advantage, logp=None, **settings):
    new = torch.tensor(logp or [0.0] * len(ratio), dtype=torch.float64)
    old = new - torch.tensor(ratio, dtype=torch.float64).log()
    sequence = torch.zeros(len(ratio), dtype=torch.int64)
    return policy_loss(
        new,
        old,
        torch.tensor(advantage, dtype=torch.float64),
        sequence=sequence,
        denominators=Denominators.of("seq-mean-token-mean", sequence),
        spec=LossSpec(**settings),
    ).value


def golden_aggregate(losses, sequence, **settings):
    values = torch.tensor(losses, dtype=torch.float64)
    return aggregate(values, torch.tensor(sequence), Denominators.of(sequence=sequence, **settings))


@pytest.mark.parametrize("row", ROWS, ids=[row["id"] for row in ROWS])
def test_worked_numbers(row):
    room, _, name = row["call"].partition(":")
    if room in ("kl", "clip_cov"):
        kernel = getattr(importlib.import_module(f"vtool.rl.{room}"), name)
        inputs = {k: torch.tensor(v, dtype=torch.float64) for k, v in row["inputs"].items()}
    else:
        kernel, inputs = {"loss": golden_loss, "aggregate": golden_aggregate}[room], row["inputs"]
    np.testing.assert_allclose(kernel(**inputs).numpy(), row["expected"], rtol=0, atol=1e-12)


@modes
@few
@given(seed=seeds)
def test_ratio_one_gives_the_policy_gradient(mode, seed):
    logp, old, advantage, sequence = batch(seed, spread=0.0)
    d = denominators(mode, sequence)
    report = policy_loss(logp, old, advantage, sequence=sequence, denominators=d)
    torch.testing.assert_close(report.value, -aggregate(advantage, sequence, d))
    (grad,) = torch.autograd.grad(report.value, logp)
    (plain,) = torch.autograd.grad(-aggregate(advantage * logp, sequence, d), logp)
    torch.testing.assert_close(grad, plain)
    assert report.metrics["clip_low_fraction"] == report.metrics["clip_high_fraction"] == 0


@modes
@pytest.mark.parametrize("objective", ["ppo", "cispo"])
@few
@given(seed=seeds, cuts=st.lists(st.integers(0, 40), max_size=4))
def test_micro_batches_add_up_exactly(mode, objective, seed, cuts):
    """Even when a cut goes through the middle of a sequence."""
    logp, old, advantage, sequence = batch(seed)
    d = denominators(mode, sequence)
    ref = old - 0.1
    spec = LossSpec(objective=objective, kl_coef=0.1, entropy_coef=0.01)

    def loss(part):
        return policy_loss(
            logp[part],
            old[part],
            advantage[part],
            sequence=sequence[part],
            denominators=d,
            spec=spec,
            entropy=-logp[part],
            ref_logp=ref[part],
        )

    whole = loss(slice(None))
    (grad,) = torch.autograd.grad(whole.value, logp)
    edges = [0, *sorted(cuts), 40]
    parts = [loss(slice(a, b)) for a, b in itertools.pairwise(edges)]
    total = sum(p.value for p in parts)
    torch.testing.assert_close(total, whole.value)
    torch.testing.assert_close(torch.autograd.grad(total, logp)[0], grad)
    merged = merge_metrics(parts)
    for name, value in whole.metrics.items():
        assert merged[name] == pytest.approx(value, abs=1e-6), name
    assert merged["loss"] == pytest.approx(float(whole.value.detach()))


@pytest.mark.parametrize("objective", ["ppo", "gspo", "cispo"])
@few
@given(seed=seeds)
def test_zero_advantage_gives_zero_gradient(objective, seed):
    logp, old, _, sequence = batch(seed, spread=2.0)
    report = policy_loss(
        logp,
        old,
        torch.zeros_like(old),
        sequence=sequence,
        denominators=denominators("seq-mean-token-mean", sequence),
        spec=LossSpec(objective=objective),
    )
    (grad,) = torch.autograd.grad(report.value, logp)
    assert (grad == 0).all()
    if objective != "cispo":
        # Nothing was held back, so nothing was clipped, however far the ratio went.
        assert not any(v for k, v in report.metrics.items() if k.endswith("_fraction"))


def gradient(ratio, advantage, **settings):
    logp = torch.tensor([-1.0], dtype=torch.float64, requires_grad=True)
    old = logp.detach() - math.log(ratio)
    report = policy_loss(
        logp,
        old,
        torch.tensor([advantage], dtype=torch.float64),
        sequence=torch.zeros(1, dtype=torch.int64),
        denominators=Denominators.of("seq-mean-token-mean", [0]),
        spec=LossSpec(**settings),
    )
    return torch.autograd.grad(report.value, logp)[0].item(), report.metrics


@pytest.mark.parametrize(
    ("ratio", "advantage", "settings", "expected", "flag"),
    [
        (1.1, 1.0, {}, -1.1, None),
        (5.0, 1.0, {}, 0.0, "clip_high_fraction"),
        (0.1, -1.0, {}, 0.0, "clip_low_fraction"),
        (2.0, -1.0, {}, 2.0, None),
        (5.0, -1.0, {}, 0.0, "clip_dual_fraction"),
        (5.0, -1.0, {"dual_clip": None}, 5.0, None),
        (1.25, 1.0, {"clip_high": 0.28}, -1.25, None),
        (1.25, 1.0, {"clip_high": 0.2}, 0.0, "clip_high_fraction"),
        (50.0, 1.0, {"objective": "cispo"}, -1.2, "clip_high_fraction"),
    ],
)
def test_where_the_gradient_survives(ratio, advantage, settings, expected, flag):
    grad, metrics = gradient(ratio, advantage, **settings)
    assert grad == pytest.approx(expected)
    fired = [k for k, v in metrics.items() if k.endswith("_fraction") and v == 1]
    assert fired == ([flag] if flag else [])


@pytest.mark.parametrize("gap", [-1e4, -100.0, 100.0, 1e4])
@pytest.mark.parametrize("objective", ["ppo", "gspo", "cispo"])
@pytest.mark.parametrize("advantage", [-1.0, 1.0])
def test_a_broken_token_never_makes_inf(gap, objective, advantage):
    logp = torch.tensor([-1.0], requires_grad=True)
    report = policy_loss(
        logp,
        logp.detach() - gap,
        torch.tensor([advantage]),
        sequence=torch.zeros(1, dtype=torch.int64),
        denominators=Denominators.of("seq-mean-token-mean", [0]),
        spec=LossSpec(objective=objective, dual_clip=None),
    )
    assert math.isfinite(report.value.item())
    assert torch.isfinite(torch.autograd.grad(report.value, logp)[0]).all()


@few
@given(seed=seeds)
def test_gspo_shares_one_ratio_per_sequence(seed):
    """The gradient of each token is then the same multiple of its sequence's advantage."""
    logp, old, advantage, sequence = batch(seed, spread=0.05)
    d = Denominators.of("seq-mean-token-mean", sequence)
    spec = LossSpec(objective="gspo", clip_low=5, clip_high=5, dual_clip=None)
    report = policy_loss(logp, old, advantage, sequence=sequence, denominators=d, spec=spec)
    (grad,) = torch.autograd.grad(report.value, logp)
    for s in sequence.unique():
        mine = sequence == s
        mean = (logp - old)[mine].mean().exp()
        expected = -mean * advantage[mine] / (mine.sum() * d.sequences)
        torch.testing.assert_close(grad[mine], expected.detach())


def test_gspo_refuses_torn_sequences_and_other_means():
    logp, old, advantage, sequence = batch(0)
    spec = LossSpec(objective="gspo")
    d = Denominators.of("seq-mean-token-mean", sequence)
    half = slice(0, 20)
    with pytest.raises(LossError, match="whole sequences"):
        policy_loss(
            logp[half],
            old[half],
            advantage[half],
            sequence=sequence[half],
            denominators=d,
            spec=spec,
        )
    d = Denominators.of("token-mean", sequence)
    with pytest.raises(LossError, match="gspo is defined under"):
        policy_loss(logp, old, advantage, sequence=sequence, denominators=d, spec=spec)


@modes
@few
@given(seed=seeds)
def test_token_order_does_not_matter(mode, seed):
    logp, old, advantage, sequence = batch(seed)
    d = denominators(mode, sequence)
    order = torch.randperm(len(old), generator=torch.Generator().manual_seed(seed))
    a = policy_loss(logp, old, advantage, sequence=sequence, denominators=d).value
    b = policy_loss(
        logp[order], old[order], advantage[order], sequence=sequence[order], denominators=d
    ).value
    torch.testing.assert_close(a, b)


@modes
def test_weights_follow_the_definition(mode):
    """Independent restatement over a padded table with a mask."""
    rng = np.random.default_rng(3)
    mask = np.arange(7)[None] < np.array([1, 7, 0, 4, 2])[:, None]
    table = rng.normal(size=mask.shape) * mask
    sums, counts = table.sum(1), mask.sum(1)
    live = counts > 0
    expected = {
        "token-mean": table.sum() / mask.sum(),
        "seq-mean-token-sum": sums[live].mean(),
        "seq-mean-token-mean": (sums[live] / counts[live]).mean(),
        "seq-mean-token-sum-norm": sums.sum() / 16.0,
    }[mode]
    sequence = np.nonzero(mask)[0]
    got = aggregate(torch.tensor(table[mask]), torch.tensor(sequence), denominators(mode, sequence))
    assert got.item() == pytest.approx(expected)


def test_no_tokens_is_zero_and_connected():
    empty = torch.zeros(0, requires_grad=True)
    report = policy_loss(
        empty * 2,
        torch.zeros(0),
        torch.zeros(0),
        sequence=torch.zeros(0, dtype=torch.int64),
        denominators=Denominators.of("token-mean", [0, 1]),
    )
    report.value.backward()
    assert report.value.item() == 0
    assert report.metrics == {"tokens": 0.0}
    assert merge_metrics([report]) == {"tokens": 0, "loss": 0.0}


@pytest.mark.parametrize("name", ["logp", "old_logp", "advantage", "entropy", "recomputed_logp"])
def test_nan_names_the_tensor_and_the_token(name):
    logp, old, advantage, sequence = batch(0)
    given = {"logp": logp.detach(), "old_logp": old, "advantage": advantage}
    given |= {"entropy": old.clone(), "recomputed_logp": old.clone()}
    given[name] = given[name].clone()
    given[name][7] = math.nan
    with pytest.raises(LossError, match=f"{name} of token 7 is nan"):
        policy_loss(
            **given, sequence=sequence, denominators=Denominators.of("token-mean", sequence)
        )


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"dual_clip": 0.5}, "dual_clip"),
        ({"clip_low": -0.1}, "clip_low"),
        ({"kl": "k4"}, "known: k1"),
        ({"objective": "ppp"}, "ppp"),
    ],
)
def test_settings_that_make_no_loss(settings, match):
    with pytest.raises(ValueError, match=match):
        LossSpec(**settings)


def test_missing_tensor_and_wrong_shape_are_told():
    logp, old, advantage, sequence = batch(0)
    known = {"sequence": sequence, "denominators": Denominators.of("token-mean", sequence)}
    with pytest.raises(LossError, match="ref_logp was not given"):
        policy_loss(logp, old, advantage, spec=LossSpec(kl_coef=0.1), **known)
    with pytest.raises(LossError, match="old_logp must have shape"):
        policy_loss(logp, old[:3], advantage, **known)
    with pytest.raises(AggregateError, match="sequence ids"):
        policy_loss(logp, old, advantage, **(known | {"sequence": sequence + 100}))


@pytest.mark.parametrize(
    ("mode", "length"),
    [("token-mean", 4.0), ("seq-mean-token-sum-norm", None), ("seq-mean-token-sum-norm", 0.0)],
)
def test_constant_length_belongs_to_one_mode(mode, length):
    with pytest.raises(AggregateError, match="length"):
        Denominators.of(mode, [0, 1], length=length)


def test_mismatch_is_zero_for_equal_log_probs_and_seen_otherwise():
    logp, old, advantage, sequence = batch(0)
    known = {"sequence": sequence, "denominators": Denominators.of("token-mean", sequence)}
    same = policy_loss(logp, old, advantage, recomputed_logp=old, **known).metrics
    off = policy_loss(logp, old, advantage, recomputed_logp=old - 0.5, **known).metrics
    assert same["mismatch_kl"] == same["mismatch_max"] == 0
    assert off["mismatch_max"] == pytest.approx(0.5)
    assert off["mismatch_kl"] > 0.1


def test_mismatch_is_the_kl_from_the_record():
    p, q = torch.tensor([0.7, 0.2, 0.1]), torch.tensor([0.3, 0.3, 0.4])
    counts = (p * 1000).round().long()
    drawn = torch.repeat_interleave(torch.arange(3), counts)  # as often as the record says
    sequence = torch.zeros(len(drawn), dtype=torch.int64)
    record, recomputed = p.log()[drawn], q.log()[drawn]
    metrics = policy_loss(
        recomputed.clone().requires_grad_(),
        record,
        torch.ones(len(drawn)),
        sequence=sequence,
        denominators=Denominators.of("token-mean", sequence),
        recomputed_logp=recomputed,
    ).metrics
    assert metrics["mismatch_kl"] == pytest.approx(float((p * (p / q).log()).sum()), abs=1e-5)


def test_weight_scales_the_surrogate_only():
    logp, old, advantage, sequence = batch(0)
    d = Denominators.of("token-mean", sequence)
    weight = torch.zeros_like(old)
    report = policy_loss(logp, old, advantage, sequence=sequence, denominators=d, weight=weight)
    assert (torch.autograd.grad(report.value, logp)[0] == 0).all()


@pytest.mark.parametrize("name", sorted(KL_ESTIMATORS))
def test_kl_of_equal_policies_is_zero(name):
    logp = torch.linspace(-5, -0.1, 9, requires_grad=True)
    value = KL_ESTIMATORS[name](logp, logp.detach())
    assert (value == 0).all()


def test_k1_and_k3_are_unbiased():
    p = torch.tensor([0.6, 0.3, 0.1], dtype=torch.float64)
    q = torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64)
    exact = (p * (p / q).log()).sum()
    for name in ("k1", "k3", "k3+"):
        torch.testing.assert_close((p * KL_ESTIMATORS[name](p.log(), q.log())).sum(), exact)


@few
@given(seed=seeds)
def test_k3_plus_has_the_value_of_k3_and_the_gradient_of_k2(seed):
    logp, ref, _, _ = batch(seed, spread=1.0)
    torch.testing.assert_close(k3_plus(logp, ref), k3(logp, ref))
    (grad,) = torch.autograd.grad(k3_plus(logp, ref).sum(), logp)
    (expected,) = torch.autograd.grad(k2(logp, ref).sum(), logp)
    torch.testing.assert_close(grad, expected)
    assert (k3(logp, ref) >= 0).all()


@pytest.mark.parametrize(("ratio", "drawn"), [(0.0002, 1), (0.25, 2), (1.0, 3)])
def test_covariance_clip_draws_among_candidates_only(ratio, drawn):
    logp = torch.tensor([0.0, 0, 0, 0, -5, -1, -1, -1])
    advantage = torch.tensor([2.0, 2, 2, 2, -2, -2, -2, -2])
    assert covariance(logp, advantage).tolist() == [2, 2, 2, 2, 8, 0, 0, 0]
    clipped = torch.arange(8) == 3
    candidates = torch.arange(8) < 3
    g = torch.Generator().manual_seed(1)
    weight = clip_cov_weight(logp, advantage, clipped, generator=g, ratio=ratio)
    assert (weight == 0).sum() == drawn
    assert candidates[weight == 0].all()
    again = clip_cov_weight(
        logp, advantage, clipped, generator=torch.Generator().manual_seed(1), ratio=ratio
    )
    assert (again == weight).all()


def test_covariance_clip_without_candidates_changes_nothing():
    quiet = torch.zeros(5)
    weight = clip_cov_weight(quiet, quiet, quiet > 0, generator=torch.Generator())
    assert (weight == 1).all()


def test_merge_takes_the_largest_of_maxima():
    value = torch.tensor(0.5)
    a = LossReport(value, {"tokens": 1.0, "ratio_max": 3.0, "entropy": 1.0})
    b = LossReport(value, {"tokens": 3.0, "ratio_max": 2.0, "entropy": 2.0})
    assert merge_metrics([a, b]) == {"tokens": 4, "loss": 1.0, "ratio_max": 3.0, "entropy": 1.75}
