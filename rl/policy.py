"""The trainable policy: log-probs of target tokens, with gradients where they are wanted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import nullcontext

import torch
from torch import Tensor, nn

from vtool.families.adapters import has_adapter, without_adapter
from vtool.families.prefix_attention import install, is_layout
from vtool.families.vlm import VLM

from .batch import Batch
from .logprobs import selected_logprobs


class Policy(nn.Module):
    """A vision-language model as the learner uses it.

    Args:
        vlm: The model.
        freeze: Parts that keep their weights: ``vision``, ``language``.
        chunk: Rows of logits held at once.
        checkpointing: Keep only the inputs of each layer for the backward pass, and compute the
            rest again: a third more time, a fraction of the memory.
    """

    def __init__(
        self,
        vlm: VLM,
        freeze: Iterable[str] = (),
        chunk: int = 1024,
        *,
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        self.vlm = vlm
        self.chunk = chunk
        frozen = set(freeze)
        unknown = frozen - {"vision", "language"}
        if unknown:
            raise ValueError(f"freeze takes 'vision' and 'language', got {sorted(unknown)}")
        low_rank = has_adapter(vlm)
        for part, module in (("vision", vlm.vision), ("language", vlm.language)):
            for name, parameter in module.named_parameters():
                parameter.requires_grad_(part not in frozen and (not low_rank or ".lora_" in name))
        self.shares = install(vlm)
        """Whether it reads rows in which samples share their beginnings."""
        self._vision_learns = any(p.requires_grad for p in vlm.vision.parameters())
        if checkpointing:
            vlm.language.gradient_checkpointing_enable({"use_reentrant": False})
            vlm.vision.gradient_checkpointing = True

    def forward(self, batch: Batch, *, entropy: bool = False) -> tuple[Tensor, Tensor | None]:
        """Log-probs of the targets.

        Only the hidden states that predict a target reach the language head.

        Args:
            batch: Rows of samples.
            entropy: Whether to return the entropy of each distribution too.

        Returns:
            float32 (N,) log-probs and float32 (N,) entropies in nats, or None.
        """
        vlm = self.vlm
        vision, rows = None, None
        if batch.patches:
            with nullcontext() if self._vision_learns else torch.no_grad():
                vision = vlm.encode(batch.patches)
            rows = vision.rows(batch.shows)
        device = vlm.device
        reads = vlm.hidden(
            batch.ids.to(device),
            batch.positions.to(device),
            attention_mask=_there(batch.mask, device),
            vision=vision,
            rows=rows,
            visual_mask=batch.visual.to(device),
            at=batch.reads.to(device),
        )
        head = vlm.model.lm_head.weight
        targets = batch.targets.to(device)
        return selected_logprobs(reads, head, targets, chunk=self.chunk, entropy=entropy)

    def named(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Trainable parameters by their names in the checkpoint."""
        return ((name, p) for name, p in self.vlm.model.named_parameters() if p.requires_grad)

    @property
    def learns(self) -> int:
        """How many numbers are trained."""
        return sum(p.numel() for _, p in self.named())

    def snapshot(self) -> dict[str, Tensor]:
        """A copy of the trainable parameters."""
        return {name: p.detach().clone() for name, p in self.named()}

    def distance(self, snapshot: dict[str, Tensor]) -> float:
        """Euclidean distance of the trainable parameters from a snapshot."""
        squares = [
            (p.detach().float() - snapshot[name].float()).square().sum() for name, p in self.named()
        ]
        return float(torch.stack(squares).sum().sqrt()) if squares else 0.0


def _there(mask: Tensor | None, device: torch.device) -> Tensor | None:
    """A mask on the device; a layout is read by the host and stays."""
    return mask if mask is None or is_layout(mask) else mask.to(device)


class Base(nn.Module):
    """The model under a policy's adapters: a reference that takes no memory of its own.

    Args:
        policy: One that has adapters.
    """

    def __init__(self, policy: Policy) -> None:
        super().__init__()
        # Not a submodule: its parameters are the policy's.
        object.__setattr__(self, "_policy", policy)

    def forward(self, batch: Batch, *, entropy: bool = False) -> tuple[Tensor, Tensor | None]:
        """Log-probs of the targets without the adapters, see `Policy.forward`."""
        with torch.no_grad(), without_adapter(self._policy.vlm):
            return self._policy(batch, entropy=entropy)
