"""What verl's own functions say on random numbers: `tests/golden/rl_verl.json`.

Run in an environment that holds verl 0.9.1 (Python 3.11, torch 2.13); only its pure functions are
called, so heavy libraries that they do not use are replaced by empty stand-ins where missing:

    python -m venv /tmp/verl && /tmp/verl/bin/pip install torch==2.13.0 tensordict==0.10.0 \
        transformers==5.10.4 omegaconf && /tmp/verl/bin/pip install --no-deps verl==0.9.1
    /tmp/verl/bin/python scripts/golden_verl.py tests/golden/rl_verl.json

The file holds numbers only. Gradients are those of the loss by the log-probs.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.metadata
import json
import sys
import types
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import torch

ABSENT = ("ray", "hydra", "vllm", "sglang", "torchdata", "wandb", "codetiming", "peft", "datasets")


class _StandIns(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Empty modules for libraries that are not installed."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name.split(".")[0] not in ABSENT:
            return None
        return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def create_module(self, spec: Any) -> types.ModuleType:
        module = types.ModuleType(spec.name)
        module.__path__ = []  # type: ignore[attr-defined]
        module.__version__ = "0"  # type: ignore[attr-defined]
        module.__getattr__ = lambda name: MagicMock()  # type: ignore[method-assign]
        return module

    def exec_module(self, module: types.ModuleType) -> None:
        pass


sys.meta_path.append(_StandIns())

from verl.trainer.ppo import core_algos as verl  # noqa: E402
from verl.trainer.ppo.rollout_corr_helper import compute_rollout_correction_weights  # noqa: E402

MODES = ("token-mean", "seq-mean-token-sum", "seq-mean-token-mean", "seq-mean-token-sum-norm")


def plain(value: Any) -> Any:
    """Tensors and arrays as lists."""
    if isinstance(value, torch.Tensor | np.ndarray):
        return value.tolist()
    return value


def config(**changes: Any) -> Any:
    """What verl's losses read of their settings."""
    cov = {"clip_cov_ratio": 0.5, "clip_cov_lb": 0.0, "clip_cov_ub": 99.0, "kl_cov_ratio": 0.2}
    cov |= {"ppo_kl_coef": 1.0} | changes.pop("cov", {})
    settings: dict[str, Any] = {"clip_ratio": 0.2, "clip_ratio_low": 0.2, "clip_ratio_high": 0.28}
    settings |= {"clip_ratio_c": 3.0, "global_batch_info": {}} | changes
    made = verl.ActorConfig.__new__(verl.ActorConfig)
    for name, value in (settings | {"policy_loss": SimpleNamespace(**cov)}).items():
        object.__setattr__(made, name, value)
    return made


def losses(seed: int) -> list[dict[str, Any]]:
    """Every policy loss that we have, by tokens."""
    torch.manual_seed(seed)
    rows, width = 5, 7
    mask = (torch.rand(rows, width) < 0.7).double()
    mask[:, 0] = 1.0
    mask[seed % rows] *= seed % 2  # a sequence of no tokens, now and then
    old = -torch.rand(rows, width, dtype=torch.float64) * 2
    shift = torch.randn(rows, width, dtype=torch.float64) * 0.4
    by_token = torch.randn(rows, width, dtype=torch.float64)
    by_row = torch.randn(rows, 1, dtype=torch.float64).expand(rows, width).contiguous()
    out = []
    for name in ("vanilla", "gspo", "cispo", "clip_cov", "kl_cov"):
        for kind, advantage in (("token", by_token), ("sequence", by_row)):
            for mode in MODES:
                if name == "gspo" and mode != "seq-mean-token-mean":
                    continue
                logp = (old + shift).requires_grad_()
                settings = config()
                if name == "clip_cov":  # so many that no draw decides
                    settings = config(cov={"clip_cov_ratio": 1.0})
                value, _ = verl.get_policy_loss_fn(name)(
                    old_log_prob=old,
                    log_prob=logp,
                    advantages=advantage,
                    response_mask=mask,
                    loss_agg_mode=mode,
                    config=settings,
                )
                (gradient,) = torch.autograd.grad(value, logp)
                given = {"old": old, "logp": logp.detach(), "advantage": advantage, "mask": mask}
                found = {"value": value.item(), "gradient": plain(gradient)}
                told = {k: plain(v) for k, v in given.items()}
                out.append({"name": name, "by": kind, "mode": mode, **told, **found})
    return out


def advantages(seed: int) -> list[dict[str, Any]]:
    """Every estimator that we have."""
    rng = np.random.default_rng(seed)
    groups = np.array([0, 0, 0, 0, 1, 1, 1, 2, 2, 3])
    lengths = rng.integers(1, 6, len(groups))
    mask = torch.tensor([[float(t < n) for t in range(6)] for n in lengths], dtype=torch.float64)
    returns = rng.normal(size=len(groups)).round(3)
    returns[groups == 2] = 0.5
    out = []
    for name, options in (
        ("grpo", {"norm_adv_by_std_in_grpo": True}),
        ("grpo", {"norm_adv_by_std_in_grpo": False}),
        ("rloo", {}),
        ("reinforce_plus_plus_baseline", {}),
    ):
        rewards = torch.zeros_like(mask)
        for i, n in enumerate(lengths):
            rewards[i, n - 1] = returns[i]
        found, _ = verl.get_adv_estimator_fn(name)(
            token_level_rewards=rewards, response_mask=mask, index=groups, **options
        )
        row = {"name": name, "options": options, "returns": plain(returns)}
        row |= {"groups": plain(groups), "lengths": plain(lengths)}
        out.append(row | {"advantage": plain(found)})
    return out


def kls(seed: int) -> list[dict[str, Any]]:
    """KL estimators, with gradient."""
    torch.manual_seed(seed)
    start = -torch.rand(9, dtype=torch.float64) * 4
    ref = start + torch.randn(9, dtype=torch.float64)
    out = []
    for name in ("k1", "k2", "k3", "k3+"):
        logp = start.clone().requires_grad_()
        value = verl.kl_penalty(logp, ref, name)
        (gradient,) = torch.autograd.grad(value.sum(), logp)
        row = {"name": name, "logp": plain(start), "ref": plain(ref)}
        out.append(row | {"value": plain(value.detach()), "gradient": plain(gradient)})
    return out


def rewards_with_kl(seed: int) -> dict[str, Any]:
    """REINFORCE++ returns before whitening, with the KL as a reward of each token."""
    torch.manual_seed(seed)
    old = -torch.rand(3, 5, dtype=torch.float64)
    ref = -torch.rand(3, 5, dtype=torch.float64)
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [1, 0, 0, 0, 0]], dtype=torch.float64)
    scores = torch.zeros(3, 5, dtype=torch.float64)
    for row, last in enumerate((4, 2, 0)):
        scores[row, last] = float(row) - 0.5
    rewards = (scores - 0.1 * verl.kl_penalty(old, ref, "k1")) * mask
    _, returns = verl.get_adv_estimator_fn("reinforce_plus_plus")(
        token_level_rewards=rewards, response_mask=mask, config=SimpleNamespace(gamma=1.0)
    )
    given = {"old": old, "ref": ref, "mask": mask, "returns": returns * mask}
    return {k: plain(v) for k, v in given.items()} | {"coef": 0.1}


def corrections(seed: int) -> list[dict[str, Any]]:
    """Importance weights between engine and learner."""
    torch.manual_seed(seed)
    ratio = torch.randn(4, 5, dtype=torch.float64) * 0.3
    mask = (torch.rand(4, 5) < 0.7).double()
    mask[:, 0] = 1.0
    out = []
    for level in ("token", "sequence"):
        for bounds in (2.0, "0.5_2.0"):
            weights, _ = compute_rollout_correction_weights(ratio, mask, level, bounds)
            row = {"level": level, "bounds": bounds, "log_ratio": plain(ratio)}
            out.append(row | {"mask": plain(mask), "weight": plain(weights * mask)})
    return out


def main(path: str) -> None:
    """Write the file."""
    body = {
        "about": "Numbers of verl's own functions; made by scripts/golden_verl.py.",
        "verl": importlib.metadata.version("verl"),
        "losses": [row for seed in range(3) for row in losses(seed)],
        "advantages": [row for seed in range(3) for row in advantages(seed)],
        "kl": [row for seed in range(3) for row in kls(seed)],
        "kl_in_reward": [rewards_with_kl(seed) for seed in range(3)],
        "corrections": [row for seed in range(3) for row in corrections(seed)],
    }
    Path(path).write_text(json.dumps(body) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
