"""What TRL's own functions say on random numbers: `tests/golden/rl_trl.json`.

Run in an environment that holds TRL 1.16.0 (Python 3.11, torch 2.13):

    python -m venv /tmp/trl && /tmp/trl/bin/pip install torch==2.13.0 trl==1.16.0
    /tmp/trl/bin/python scripts/golden_trl.py tests/golden/rl_trl.json

Its trainers are not started: their loss methods are called on a stand-in that holds what they
read, with log-probs of ours in the place of a model. The file holds numbers only. Gradients are
those of the loss by the log-probs.
"""

from __future__ import annotations

import importlib.metadata
import json
import sys
from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import torch
from trl import DPOTrainer, GRPOTrainer
from trl.trainer.utils import nanstd

LOSSES = ("grpo", "bnpo", "dr_grpo", "dapo", "cispo")
PREFERENCES = ("sigmoid", "sigmoid_norm", "hinge", "ipo", "robust")


class Accelerator:
    """One process."""

    num_processes = 1
    sync_gradients = True
    device = torch.device("cpu")

    def gather(self, value: torch.Tensor) -> torch.Tensor:
        """Nobody else has anything."""
        return value.reshape(-1)

    gather_for_metrics = gather

    def reduce(self, value: torch.Tensor, reduction: str = "sum") -> torch.Tensor:
        """Nobody else has anything."""
        return value


def grpo_trainer(loss: str, logp: torch.Tensor, **changes: Any) -> Any:
    """What `GRPOTrainer._compute_loss` reads of itself."""
    settings = SimpleNamespace(
        delta=None, use_bias_correction_kl=False, steps_per_generation=1, entropy_target=None
    )
    entropy = torch.zeros_like(logp).detach()
    read: dict[str, Any] = {
        "args": settings,
        "loss_type": loss,
        "importance_sampling_level": "token",
        "beta": 0.0,
        "epsilon_low": 0.2,
        "epsilon_high": 0.28 if loss != "cispo" else 1.28,
        "top_entropy_quantile": 1.0,
        "off_policy_mask_threshold": None,
        "use_vllm": False,
        "vllm_importance_sampling_correction": False,
        "aux_loss_enabled": False,
        "_entropy_bonus_enabled": False,
        "max_completion_length": 11,
        "current_gradient_accumulation_steps": 1,
        "accelerator": Accelerator(),
        "model": SimpleNamespace(training=True),
        "_metrics": {"train": defaultdict(list), "eval": defaultdict(list)},
        "_get_per_token_logps_and_entropies": lambda *a, **k: (logp, entropy, None),
    }
    return SimpleNamespace(**(read | changes))


def losses(seed: int) -> list[dict[str, Any]]:
    """Policy losses with tool tokens masked, advantages by token and by sequence, KL on and off."""
    torch.manual_seed(seed)
    rows, width = 4, 6
    completion = torch.ones(rows, width, dtype=torch.float64)
    completion[0, 4:], completion[1, 5:] = 0.0, 0.0
    tools = (torch.rand(rows, width) < 0.75).double()
    tools[:, 0] = 1.0
    mask = completion * tools
    old = -torch.rand(rows, width, dtype=torch.float64) * 2
    shift = torch.randn(rows, width, dtype=torch.float64) * 0.4
    ref = old + torch.randn(rows, width, dtype=torch.float64) * 0.2
    given = {"token": torch.randn(rows, width), "sequence": torch.randn(rows)}
    out = []
    for loss in LOSSES:
        for by, advantage in given.items():
            for level, beta in (("token", 0.0), ("token", 0.1), ("sequence", 0.0)):
                if level == "sequence" and (loss != "grpo" or by == "token"):
                    continue
                logp = (old + shift).requires_grad_()
                trainer = grpo_trainer(loss, logp, importance_sampling_level=level, beta=beta)
                inputs = {
                    "prompt_ids": torch.zeros(rows, 1, dtype=torch.long),
                    "prompt_mask": torch.ones(rows, 1),
                    "completion_ids": torch.zeros(rows, width, dtype=torch.long),
                    "completion_mask": completion,
                    "tool_mask": tools,
                    "advantages": advantage.double(),
                    "old_per_token_logps": old,
                    "ref_per_token_logps": ref,
                    "num_items_in_batch": mask.sum(),
                }
                value = GRPOTrainer._compute_loss(trainer, None, inputs)
                (gradient,) = torch.autograd.grad(value, logp)
                row = {"name": loss, "by": by, "level": level, "beta": beta, "length": 11}
                row |= {"old": old.tolist(), "logp": logp.detach().tolist(), "ref": ref.tolist()}
                row |= {"mask": mask.tolist(), "advantage": advantage.double().tolist()}
                out.append(row | {"value": value.item(), "gradient": gradient.tolist()})
    return out


def advantages(seed: int) -> list[dict[str, Any]]:
    """Group advantages: the trainer's own deviation, in the line that its long method has."""
    torch.manual_seed(seed)
    returns = torch.randn(3, 5, dtype=torch.float64)
    returns[1, 2] = torch.nan  # nobody could score it
    returns[2] = 0.25
    centred = returns - torch.nanmean(returns, dim=1, keepdim=True)
    scaled = centred / (nanstd(returns, dim=1)[:, None] + 1e-4)
    rows = [("none", centred), ("group", scaled)]
    given = [[None if x != x else x for x in row] for row in returns.tolist()]
    return [
        {"scale": name, "returns": given, "advantage": found.nan_to_num(0.0).tolist()}
        for name, found in rows
    ]


def preferences(seed: int) -> list[dict[str, Any]]:
    """Preference losses of whole sequences."""
    torch.manual_seed(seed)
    pairs, width = 3, 6
    mask = torch.ones(2 * pairs, width, dtype=torch.long)
    mask[:, 0] = 0  # the prompt
    mask[1, 4:], mask[4, 3:] = 0, 0
    start = -torch.rand(2 * pairs, width - 1, dtype=torch.float64) * mask[:, 1:]
    ref = -torch.rand(2 * pairs, width - 1, dtype=torch.float64) * mask[:, 1:]
    out = []
    for loss in PREFERENCES:
        logp = start.clone().requires_grad_()

        def model(found: torch.Tensor = logp, **_: Any) -> Any:
            nothing = torch.zeros(2 * pairs, width - 1)
            return SimpleNamespace(
                log_probs=found, entropy=nothing, mean_logits=nothing, is_top1=nothing > 0
            )

        sums = ref.sum(1)
        trainer = MagicMock()
        trainer.configure_mock(
            accelerator=Accelerator(),
            model=SimpleNamespace(training=False),
            aux_loss_enabled=False,
            ld_alpha=None,
            precompute_ref_logps=True,
            f_divergence_type="reverse_kl",
            loss_types=[loss],
            loss_weights=[1.0],
            beta=0.3,
            label_smoothing=0.1 if loss == "robust" else 0.0,
            use_weighting=False,
            _metrics={"train": defaultdict(list), "eval": defaultdict(list)},
        )
        inputs = {
            "input_ids": torch.ones(2 * pairs, width, dtype=torch.long),
            "attention_mask": torch.ones(2 * pairs, width, dtype=torch.long),
            "completion_mask": mask,
            "ref_chosen_logps": sums[:pairs],
            "ref_rejected_logps": sums[pairs:],
        }
        value = DPOTrainer._compute_loss(trainer, model, inputs, False)
        (gradient,) = torch.autograd.grad(value, logp)
        row = {"name": loss, "beta": 0.3, "label_smoothing": trainer.label_smoothing}
        row |= {"logp": start.tolist(), "ref": ref.tolist(), "mask": mask[:, 1:].tolist()}
        out.append(row | {"value": value.item(), "gradient": gradient.tolist()})
    return out


def main(path: str) -> None:
    """Write the file."""
    body = {
        "about": "Numbers of TRL's own functions; made by scripts/golden_trl.py.",
        "trl": importlib.metadata.version("trl"),
        "losses": [row for seed in range(3) for row in losses(seed)],
        "advantages": [row for seed in range(3) for row in advantages(seed)],
        "preferences": [row for seed in range(3) for row in preferences(seed)],
    }
    Path(path).write_text(json.dumps(body) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
