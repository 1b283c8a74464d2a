"""The trainable policy: log-probs of target tokens, with gradients where they are wanted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import nullcontext

import torch
from torch import Tensor, nn

from vtool.families.vlm import VLM

from .batch import Batch
from .logprobs import selected_logprobs


class Policy(nn.Module):
    """A vision-language model as the learner uses it.

    Args:
        vlm: The model.
        freeze: Parts that keep their weights: ``vision``, ``language``.
        chunk: Rows of logits held at once.
    """

    def __init__(self, vlm: VLM, freeze: Iterable[str] = (), chunk: int = 1024) -> None:
        super().__init__()
        self.vlm = vlm
        self.chunk = chunk
        frozen = set(freeze)
        unknown = frozen - {"vision", "language"}
        if unknown:
            raise ValueError(f"freeze takes 'vision' and 'language', got {sorted(unknown)}")
        for part, module in (("vision", vlm.vision), ("language", vlm.language)):
            for parameter in module.parameters():
                parameter.requires_grad_(part not in frozen)
        self._vision_learns = "vision" not in frozen

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
        hidden = vlm.hidden(
            batch.ids.to(device),
            batch.positions.to(device),
            attention_mask=None if batch.mask is None else batch.mask.to(device),
            vision=vision,
            rows=rows,
            visual_mask=batch.visual.to(device),
        )
        reads = hidden.reshape(-1, hidden.shape[-1])[batch.reads.to(device)]
        head = vlm.model.lm_head.weight
        targets = batch.targets.to(device)
        return selected_logprobs(reads, head, targets, chunk=self.chunk, entropy=entropy)

    def named(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Trainable parameters by their names in the checkpoint."""
        return ((name, p) for name, p in self.vlm.model.named_parameters() if p.requires_grad)

    def snapshot(self) -> dict[str, Tensor]:
        """A copy of the trainable parameters."""
        return {name: p.detach().clone() for name, p in self.named()}

    def distance(self, snapshot: dict[str, Tensor]) -> float:
        """Euclidean distance of the trainable parameters from a snapshot."""
        squares = [
            (p.detach().float() - snapshot[name].float()).square().sum() for name, p in self.named()
        ]
        return float(torch.stack(squares).sum().sqrt()) if squares else 0.0
