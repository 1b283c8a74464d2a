"""Putting new weights into a model by name, all or none."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from vtool.errors import EngineError, nearest


def load_weights(model: nn.Module, weights: Iterable[tuple[str, Any]]) -> None:
    """Copy tensors into a model.

    Args:
        model: Whose ``state_dict`` names count.
        weights: Names and tensors; those not named stay as they are.

    Raises:
        EngineError: A name or shape is foreign; nothing was changed.
    """
    own = model.state_dict(keep_vars=True)
    new = dict(weights)
    for name, value in new.items():
        check_weight(own, name, value)
    with torch.no_grad():
        for name, value in new.items():
            own[name].copy_(value)


def check_weight(own: Mapping[str, Tensor], name: str, value: Any) -> None:
    """Refuse a tensor that has no place in the model.

    Raises:
        EngineError: No such name, or another shape.
    """
    if name not in own:
        raise EngineError(f"the model has no weight {name!r}{nearest(name, own)}")
    if tuple(value.shape) != tuple(own[name].shape):
        raise EngineError(
            f"weight {name!r} has shape {tuple(own[name].shape)}, not {tuple(value.shape)}"
        )
