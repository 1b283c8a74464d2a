"""Policy and learner: what reaches a loss, what a step does, and what it refuses to do."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_policy import FAMILIES, new_policy, policy, samples
from vtool.rl.aggregate import Denominators, Mode
from vtool.rl.batch import make_batch
from vtool.rl.learner import Learner, LearnerSettings, LearnerStopped
from vtool.rl.loss import LossSpec, policy_loss
from vtool.rl.policy import Policy

from vtool.errors import VToolError


def behaviour(name="qwen3_vl", credit=(0.5, -1.0, 2.0), of=None):
    """Samples whose recorded log-probs are those of the policy, as in an on-policy run."""
    given_samples = samples(name, credit)
    batch = make_batch(
        given_samples,
        [[i] for i in range(len(given_samples))],
        policy(name).vlm.image_token_id,
    )
    with torch.no_grad():
        logp, _ = (of or policy(name))(batch)
    out = []
    for i, sample in enumerate(given_samples):
        old = np.zeros(len(sample), np.float32)
        old[sample.target] = logp[batch.sequence == i].numpy()
        out.append(dataclasses.replace(sample, old_logp=old))
    return out


def learner(name="qwen3_vl", steps=10, **settings):
    return Learner(new_policy(name), LearnerSettings(**settings), steps)


# --------------------------------------------------------------- what reaches the loss


@settings(max_examples=10)
@given(seed=st.integers(0, 2**32 - 1))
def test_random_observation_ids_change_no_bit_of_loss_and_metrics(seed):
    """With log-probs held fixed: ids of observations are read by nothing but the model."""
    rng = np.random.default_rng(seed)
    plain = behaviour()
    junk = []
    for sample in plain:
        ids = sample.ids.copy()
        free = ~sample.target & (ids != policy().vlm.image_token_id)
        ids[free] = rng.integers(20, 600, int(free.sum()))
        junk.append(dataclasses.replace(sample, ids=ids))
    rows = [[0, 3], [1], [2, 4, 5]]
    reports = []
    for given_samples in (plain, junk):
        batch = make_batch(given_samples, rows, policy().vlm.image_token_id)
        held = (
            batch.old_logp + 0.1 * torch.sin(torch.arange(len(batch.old_logp)))
        ).requires_grad_()
        counts = np.array([int(s.target.sum()) for s in given_samples])
        report = policy_loss(
            held,
            batch.old_logp,
            batch.advantage,
            sequence=batch.sequence,
            denominators=Denominators(Mode.TOKEN_MEAN, counts),
            spec=LossSpec(clip_high=0.28, kl_coef=0.1, entropy_coef=0.01),
            entropy=batch.old_logp.abs(),
            ref_logp=batch.old_logp - 0.2,
            recomputed_logp=batch.old_logp,
        )
        report.value.backward()
        reports.append((report.value.item(), report.metrics, held.grad.tolist()))
    assert reports[0] == reports[1]


@pytest.mark.parametrize("name", FAMILIES)
def test_pixels_move_the_log_probs(name):
    plain = samples(name)[2]
    first = plain.pictures[0]
    blank = dataclasses.replace(first.patches, data=np.zeros_like(first.patches.data))
    mixed = dataclasses.replace(first.patches, data=first.patches.data[::-1].copy())
    found = []
    for patches in (first.patches, blank, mixed):
        picture = dataclasses.replace(first, patches=patches, digest=str(id(patches)))
        sample = dataclasses.replace(plain, pictures=(picture, *plain.pictures[1:]))
        batch = make_batch([sample], [[0]], policy(name).vlm.image_token_id)
        with torch.no_grad():
            found.append(policy(name)(batch)[0])
    assert (found[0] - found[1]).abs().max() > 1e-3
    assert (found[0] - found[2]).abs().max() > 1e-3


@pytest.mark.parametrize("name", FAMILIES)
def test_the_vision_tower_gets_a_gradient_unless_frozen(name):
    for freeze, moved in (((), True), (("vision",), False)):
        learns = new_policy(name, freeze=freeze)
        batch = make_batch(samples(name), [[0], [1]], learns.vlm.image_token_id)
        learns(batch)[0].sum().backward()
        grads = [p.grad for p in learns.vlm.vision.parameters()]
        assert any(g is not None and g.abs().sum() > 0 for g in grads) == moved
        language = [p.grad for p in learns.vlm.language.parameters()]
        assert any(g is not None and g.abs().sum() > 0 for g in language)
        names = {n for n, _ in learns.named()}
        assert any("visual" in n for n in names) == moved


def test_a_frozen_part_that_does_not_exist_is_named():
    with pytest.raises(ValueError, match="visoin"):
        new_policy(freeze=("visoin",))


@pytest.mark.parametrize("chunk", [1, 7, 4096])
def test_chunks_of_the_head_change_nothing(chunk):
    batch = make_batch(samples(), [[0], [1]], policy().vlm.image_token_id)
    with torch.no_grad():
        wanted, entropy = policy()(batch, entropy=True)
        found, also = Policy(policy().vlm, chunk=chunk)(batch, entropy=True)
    assert torch.allclose(found, wanted, atol=1e-6)
    assert torch.allclose(also, entropy, atol=1e-5)


# --------------------------------------------------------------- what a step does


def state(of):
    return {n: p.detach().clone() for n, p in of.policy.named()}


@pytest.mark.parametrize("mode", [Mode.TOKEN_MEAN, Mode.SEQ_MEAN_TOKEN_MEAN])
def test_micro_batches_and_packing_give_one_and_the_same_step(mode):
    ends = []
    for budget, row in ((10**6, 0), (300, 0), (300, 300)):
        one = learner(batch_tokens=budget, row_tokens=row, aggregation=mode, lr=1e-3)
        found = one.step(behaviour())
        ends.append((state(one), found))
        assert found["mismatch_max"] < 1e-5
        assert abs(found["ratio_mean"] - 1) < 1e-6
    assert len(list(one.batches(behaviour()))) > 1
    for other, metrics in ends[1:]:
        assert metrics["loss"] == pytest.approx(ends[0][1]["loss"], abs=1e-5)
        assert metrics["grad_norm"] == pytest.approx(ends[0][1]["grad_norm"], rel=1e-3)
        # Adam divides by the gradient's own size: where that is nothing but rounding, it may
        # point anywhere, so the bulk is compared.
        gaps = torch.cat([(other[n] - p).abs().flatten() for n, p in ends[0][0].items()])
        assert (gaps < 1e-5).float().mean() > 0.99


def test_a_step_raises_what_was_good_and_lowers_what_was_bad():
    one = learner(lr=1e-3)
    given_samples = behaviour(credit=(1.0, -1.0))
    one.step(given_samples)
    after = behaviour(credit=(1.0, -1.0), of=one.policy)
    change = [
        float((b.old_logp - a.old_logp)[a.target].mean())
        for a, b in zip(given_samples, after, strict=True)
    ]
    good, bad = np.mean(change[::2]), np.mean(change[1::2])
    assert good > bad


def test_equal_steps_give_equal_bits():
    ends = []
    for _ in range(2):
        one = learner(lr=1e-3)
        numbers = [one.step(behaviour()) for _ in range(2)]
        ends.append((state(one), numbers))
    assert ends[0][1] == ends[1][1]
    assert all(torch.equal(p, ends[1][0][n]) for n, p in ends[0][0].items())


def test_who_has_no_credit_counts_in_the_mean_and_moves_nothing():
    settings = {"lr": 1e-3, "grad_clip": 1e9}
    norms = []
    for credit in ((1.0, 0.0), (1.0, 1e-30)):
        one = learner(**settings)
        norms.append(one.step(behaviour(credit=credit))["grad_norm"])
    assert norms[0] == pytest.approx(norms[1], rel=1e-4)
    live = [s for s in behaviour(credit=(1.0, 0.0)) if not s.dead]
    alone = learner(**settings).step(live)["grad_norm"]
    shares = [sum(int(s.target.sum()) for s in group) for group in (live, behaviour())]
    assert norms[0] == pytest.approx(alone * shares[0] / shares[1], rel=1e-4)


def test_a_step_without_any_credit_leaves_all_as_it_is():
    one = learner()
    before = state(one)
    assert one.step(behaviour(credit=(0.0,))) == {"lr": 3e-4, "trained_tokens": 0.0}
    assert one.done == 1
    assert all(torch.equal(p, before[n]) for n, p in state(one).items())


def test_a_kl_term_reads_those_without_credit_too():
    spec = LossSpec(kl_coef=1.0)
    one = Learner(new_policy(seed=1), LearnerSettings(lr=1e-3, loss=spec), 4, policy())
    found = one.step(behaviour(credit=(0.0,), of=one.policy))
    assert found["kl_ref"] > 0
    assert found["step_distance"] > 0


def test_inner_epochs_are_one_step_and_the_second_is_off_policy():
    one = learner(lr=1e-3, inner_epochs=2)
    found = one.step(behaviour())
    assert one.done == 1
    assert found["mismatch_max"] < 1e-5 < found["ratio_max"] - 1


def test_a_reference_pulls_back():
    strayed = []
    for coefficient in (0.0, 30.0):
        spec = LossSpec(kl="k3", kl_coef=coefficient)
        one = Learner(new_policy(), LearnerSettings(lr=1e-3, loss=spec), 6, policy())
        strayed.append([one.step(behaviour())["kl_ref"] for _ in range(6)][-1])
    assert 0 < strayed[1] < 0.5 * strayed[0]


def test_sft_lowers_the_nll_of_what_is_shown():
    one = learner(lr=3e-3)
    nll = [one.imitate(samples())["nll"] for _ in range(6)]
    assert nll[-1] < nll[0] - 0.5
    assert all(map(math.isfinite, nll))


def test_distance_is_what_the_step_says():
    one = learner(lr=1e-3)
    before = one.policy.snapshot()
    found = one.step(behaviour())
    assert found["step_distance"] == pytest.approx(one.policy.distance(before), rel=1e-6)
    assert found["step_distance"] > 0


@pytest.mark.parametrize(
    ("settings", "rates"),
    [
        ({"warmup": 0}, [1, 1, 1, 1]),
        ({"warmup": 4}, [0.25, 0.5, 0.75, 1]),
        ({"schedule": "cosine"}, [1, 0.5 * (1 + math.cos(math.pi / 4)), 0.5, 0.14644660940672627]),
    ],
)
def test_learning_rates(settings, rates):
    spec = LearnerSettings(lr=2.0, **settings)
    assert [spec.rate(i, 4) for i in range(4)] == pytest.approx([2 * r for r in rates])


def test_an_unknown_schedule_is_refused():
    with pytest.raises(VToolError, match="'linear'"):
        LearnerSettings(schedule="linear").rate(0, 1)


# --------------------------------------------------------------- what it refuses to do


def broken(given_samples):
    """A credit that makes the gradient overflow."""
    huge = np.full_like(given_samples[0].advantage, 3e38)
    return [dataclasses.replace(given_samples[0], advantage=huge), *given_samples[1:]]


def test_a_gradient_that_is_not_finite_changes_no_weight():
    one = learner(max_skipped=3)
    one.step(behaviour())
    before = state(one)
    found = one.step(broken(behaviour()))
    assert found["skipped"] == 1
    assert not math.isfinite(found["grad_norm"])
    assert all(torch.equal(p, before[n]) for n, p in state(one).items())
    assert one.skipped == 1
    one.step(behaviour())
    assert one.skipped == 0


def test_many_in_a_row_stop_and_keep_the_last_good_weights():
    one = learner(max_skipped=2)
    before = state(one)
    one.step(broken(behaviour()))
    with pytest.raises(LearnerStopped, match="lower the learning rate"):
        one.step(broken(behaviour()))
    assert all(torch.equal(p, before[n]) for n, p in state(one).items())


def test_weights_that_are_not_finite_are_noticed():
    one = learner(max_skipped=1)
    with torch.no_grad():
        one.policy.vlm.model.lm_head.weight[20] = math.nan
    with pytest.raises(LearnerStopped):
        one.step(behaviour())
