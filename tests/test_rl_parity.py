"""Equal to 1e-6 to what TRL's and verl's own functions say on random numbers.

The numbers are in `golden/rl_trl.json` and `golden/rl_verl.json`, with the scripts that made them
in `scripts/`. Where we differ on purpose, the difference has a test of its own at the end.
"""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from vtool.rl.advantage import group_norm, rloo
from vtool.rl.aggregate import Denominators
from vtool.rl.attempts import Attempts, Layout
from vtool.rl.batch import Sample
from vtool.rl.correction import CorrectionSpec, importance_weight
from vtool.rl.credit_rules import credit_rules
from vtool.rl.gathering import priced
from vtool.rl.kl import KL_ESTIMATORS
from vtool.rl.loss import LossSpec, policy_loss
from vtool.rl.preference import PreferenceSpec, preference_loss

from vtool.config import build

GOLDEN = Path(__file__).parent / "golden"
VERL = json.loads((GOLDEN / "rl_verl.json").read_text())
TRL = json.loads((GOLDEN / "rl_trl.json").read_text())
NEAR = {"rel": 0, "abs": 1e-6}


def tensor(rows):
    return torch.tensor(rows, dtype=torch.float64)


def flat(row, spec, mode, length=None, average=True):
    """Our loss on a padded case: value, and gradient laid back onto the padding."""
    mask = tensor(row["mask"]).bool()
    logp = tensor(row["logp"]).requires_grad_()
    advantage = tensor(row["advantage"])
    if advantage.ndim == 1:
        advantage = advantage[:, None]
    advantage = advantage.expand_as(mask)
    sequence = torch.arange(len(mask))[:, None].expand_as(mask)[mask]
    norm = mode == "seq-mean-token-sum-norm"
    denominators = Denominators(mode, mask.sum(1).numpy(), length if norm else None, average)
    ref = tensor(row["ref"])[mask] if spec.kl_coef else None
    report = policy_loss(
        logp[mask],
        tensor(row["old"])[mask],
        advantage[mask],
        sequence=sequence,
        denominators=denominators,
        spec=spec,
        ref_logp=ref,
        generator=torch.Generator().manual_seed(0),
    )
    (gradient,) = torch.autograd.grad(report.value, logp)
    return float(report.value.detach()), gradient


VERL_SPECS = {
    "vanilla": {"dual_clip": 3.0},
    "gspo": {"objective": "gspo_token", "dual_clip": None},
    "cispo": {"objective": "cispo"},
    "clip_cov": {
        "objective": "clip_cov",
        "dual_clip": None,
        "cov": {"ratio": 1.0, "low": 0.0, "high": 99.0},
    },
    "kl_cov": {"objective": "kl_cov", "cov": {"ratio": 0.2}},
}


def spec_of(options):
    return build(LossSpec, {"clip_low": 0.2, "clip_high": 0.28, **options})


@pytest.mark.parametrize("number", range(len(VERL["losses"])))
def test_losses_of_verl(number):
    row = VERL["losses"][number]
    length = len(row["mask"][0])  # verl's default divisor: the padded width
    value, gradient = flat(row, spec_of(VERL_SPECS[row["name"]]), row["mode"], length)
    assert value == pytest.approx(row["value"], **NEAR)
    assert gradient.tolist() == pytest.approx(np.array(row["gradient"]), **NEAR)


@pytest.mark.parametrize("row", [r for r in VERL["losses"] if r["name"] == "gspo"])
def test_both_forms_of_gspo_agree_where_a_sequence_has_one_advantage(row):
    sequence = flat(row, spec_of({"objective": "gspo", "dual_clip": None}), row["mode"])
    token = flat(row, spec_of({"objective": "gspo_token", "dual_clip": None}), row["mode"])
    same = torch.allclose(sequence[1], token[1], atol=1e-12)
    assert sequence[0] == pytest.approx(token[0], abs=1e-12)
    assert same is (row["by"] == "sequence")


@pytest.mark.parametrize("row", VERL["advantages"])
def test_advantages_of_verl(row):
    """Through the kernels, on groups of two and more; alone in a group we differ on purpose."""
    returns, groups = np.array(row["returns"]), np.array(row["groups"])
    wanted, lengths = np.array(row["advantage"]), row["lengths"]
    if row["name"] == "reinforce_plus_plus_baseline":
        centred = group_norm(returns, groups=groups, scale="none", singleton="raw")
        tokens = np.repeat(centred, lengths)
        deviation = np.sqrt(tokens.var(ddof=1) + 1e-8)
        ours = (centred - tokens.mean()) / deviation
    elif row["name"] == "rloo":
        ours = rloo(returns, groups=groups)
        ours[-1] = returns[-1]
    else:
        scaled = row["options"]["norm_adv_by_std_in_grpo"]
        scale = "std" if scaled else "none"
        ours = group_norm(returns, groups=groups, scale=scale, singleton="raw")
    for value, found, length in zip(ours, wanted, lengths, strict=True):
        assert found[:length] == pytest.approx(value, abs=1e-6)


@pytest.mark.parametrize("row", VERL["kl"])
def test_kl_of_verl(row):
    logp = tensor(row["logp"]).requires_grad_()
    value = KL_ESTIMATORS[row["name"]](logp, tensor(row["ref"]))
    (gradient,) = torch.autograd.grad(value.sum(), logp)
    assert value.tolist() == pytest.approx(row["value"], **NEAR)
    assert gradient.tolist() == pytest.approx(row["gradient"], **NEAR)


@pytest.mark.parametrize("row", VERL["kl_in_reward"])
def test_kl_as_a_reward_of_verl(row):
    """What REINFORCE++ returns from each token on, the outcome included."""
    samples, references = [], []
    for number, length in enumerate((5, 3, 1)):
        old = np.array(row["old"][number][:length], np.float32)
        references.append(np.array(row["ref"][number][:length], np.float32))
        credit = np.full(length, number - 0.5, np.float32)
        ids, places = np.zeros(length, np.int32), np.zeros((3, length), np.int64)
        samples.append(Sample(ids, places, (), np.ones(length, bool), old, credit))
    found = priced(samples, references, LossSpec(kl="k1", kl_coef=row["coef"], kl_in="reward"))
    for sample, wanted in zip(found, row["returns"], strict=True):
        assert sample.advantage.tolist() == pytest.approx(wanted[: len(sample)], abs=1e-6)


@pytest.mark.parametrize("row", VERL["corrections"])
def test_importance_weights_of_verl(row):
    mask = tensor(row["mask"]).bool()
    ratio = tensor(row["log_ratio"])[mask]
    sequence = torch.arange(len(mask))[:, None].expand_as(mask)[mask]
    floor = 0.5 if row["bounds"] == "0.5_2.0" else None
    found = importance_weight(
        ratio,
        torch.zeros_like(ratio),
        sequence=sequence,
        denominators=Denominators("token-mean", mask.sum(1).numpy()),
        spec=CorrectionSpec(row["level"], floor=floor),
    )
    assert found.tolist() == pytest.approx(tensor(row["weight"])[mask].tolist(), **NEAR)


TRL_MODES = {
    "grpo": "seq-mean-token-mean",
    "bnpo": "token-mean",
    "dapo": "token-mean",
    "cispo": "token-mean",
    "dr_grpo": "seq-mean-token-sum-norm",
}


@pytest.mark.parametrize("number", range(len(TRL["losses"])))
def test_losses_of_trl(number):
    row = TRL["losses"][number]
    options = {"dual_clip": None, "kl_coef": row["beta"]}
    if row["name"] == "cispo":  # one bound, told as a ratio
        options |= {"objective": "cispo", "clip_low": 1.0}
    elif row["level"] == "sequence":
        options |= {"objective": "gspo"}
    value, gradient = flat(row, spec_of(options), TRL_MODES[row["name"]], row["length"])
    assert value == pytest.approx(row["value"], **NEAR)
    assert gradient.tolist() == pytest.approx(np.array(row["gradient"]), **NEAR)


@pytest.mark.parametrize("row", TRL["advantages"])
def test_advantages_of_trl(row):
    scale = "std" if row["scale"] == "group" else "none"
    for returns, wanted in zip(row["returns"], row["advantage"], strict=True):
        values = [np.nan if r is None else r for r in returns]
        attempts = Attempts.of(Layout.flat([1] * len(values)), values)
        ours = credit_rules.get("group")(attempts, scale=scale, eps=1e-4)
        assert ours == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize("row", TRL["preferences"])
def test_preferences_of_trl(row):
    logp, ref = tensor(row["logp"]).requires_grad_(), tensor(row["ref"])
    spec = PreferenceSpec(row["name"], row["beta"], row["label_smoothing"])
    chosen, rejected = logp.sum(1).chunk(2)
    lengths = tensor(row["mask"]).sum(1).chunk(2)
    value, _ = preference_loss(
        chosen,
        rejected,
        *ref.sum(1).chunk(2),
        spec=spec,
        chosen_tokens=lengths[0],
        rejected_tokens=lengths[1],
    )
    (gradient,) = torch.autograd.grad(value, logp)
    assert float(value.detach()) == pytest.approx(row["value"], **NEAR)
    assert gradient.tolist() == pytest.approx(np.array(row["gradient"]), **NEAR)


# ------------------------------------------------------------ where we differ on purpose


def test_alone_in_a_group_verl_gives_the_raw_return_and_we_nothing():
    row = next(r for r in VERL["advantages"] if r["name"] == "grpo")
    assert row["groups"].count(row["groups"][-1]) == 1
    assert row["advantage"][-1][0] == pytest.approx(row["returns"][-1], abs=1e-5)
    assert group_norm([row["returns"][-1]])[0] == 0.0
    assert rloo([row["returns"][-1]])[0] == 0.0


def test_verl_averages_sequences_in_the_sum_norm_mode_and_we_add_them_up_unless_told():
    row = next(r for r in VERL["losses"] if r["mode"] == "seq-mean-token-sum-norm")
    rows = sum(any(m) for m in row["mask"])
    value, _ = flat(row, spec_of({}), row["mode"], len(row["mask"][0]), average=False)
    assert value == pytest.approx(row["value"] * rows, abs=1e-6)


def test_trl_keeps_no_bound_below_in_cispo_and_verl_does():
    """With a lower bound of 0 we are TRL, with one of .8 verl: both by `clip_low`."""
    row = next(r for r in TRL["losses"] if r["name"] == "cispo" and not r["beta"])
    bounded, _ = flat(row, spec_of({"objective": "cispo"}), "token-mean")
    assert bounded != pytest.approx(row["value"], abs=1e-6)


def test_trl_guards_the_deviation_with_more_than_verl():
    verl, trl = (group_norm([1.0, 0.0, 0.0, 0.0], eps=eps)[0] for eps in (1e-6, 1e-4))
    assert verl == pytest.approx(1.5, abs=1e-5)
    assert abs(verl - trl) > 1e-4
