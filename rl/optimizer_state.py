"""An optimiser's state as named tensors and JSON, never as a pickle.

Unlike `Optimizer.load_state_dict` nothing is cast on the way back: fp32 moments of bf16
parameters stay fp32, so a resumed run is bit-exact.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from vtool.errors import CheckpointError


def optimizer_tensors(
    optimizer: torch.optim.Optimizer, names: Mapping[Tensor, str]
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Take an optimiser apart.

    Args:
        optimizer: Any whose state holds tensors, numbers, strings, None and lists of such.
        names: Each of its parameters -> a unique name.

    Returns:
        Tensors on the CPU by key (they may alias the live ones: save before the next step), and
        the layout that `restore_optimizer` needs, as plain JSON.

    Raises:
        CheckpointError: A parameter without a name, a name used twice, or state of another kind.
    """
    check_names(optimizer, names)
    tensors: dict[str, Tensor] = {}
    groups = []
    for i, group in enumerate(optimizer.param_groups):
        options = {k: v for k, v in group.items() if k != "params"}
        plain = {k: _take(f"group/{i}/{k}", v, None, tensors) for k, v in options.items()}
        groups.append({"params": [names[p] for p in group["params"]], "options": plain})
    state: dict[str, Any] = {}
    for param in _params(optimizer):
        name = names[param]
        values = {
            k: _take(f"state/{name}/{k}", v, param, tensors)
            for k, v in optimizer.state.get(param, {}).items()
        }
        state[name] = {"shape": list(param.shape), "values": values}
    return tensors, {"class": type(optimizer).__name__, "groups": groups, "state": state}


def restore_optimizer(
    optimizer: torch.optim.Optimizer,
    names: Mapping[Tensor, str],
    tensors: Mapping[str, Tensor],
    layout: Mapping[str, Any],
) -> None:
    """Put a saved state into an optimiser over the same parameters; arguments as above.

    Raises:
        CheckpointError: Another optimiser, other parameters, shapes or groups; it names them, and
            the optimiser is as it was.
    """
    check_names(optimizer, names)
    check_same_keys(optimizer, names, tensors, layout)
    for i, (group, saved) in enumerate(zip(optimizer.param_groups, layout["groups"], strict=True)):
        for key, value in saved["options"].items():
            group[key] = _give(f"group/{i}/{key}", value, None, tensors)
    for param in _params(optimizer):
        name = names[param]
        values = {
            k: _give(f"state/{name}/{k}", v, param, tensors)
            for k, v in layout["state"][name]["values"].items()
        }
        optimizer.state.pop(param, None)
        if values:
            optimizer.state[param] = values


def check_names(optimizer: torch.optim.Optimizer, names: Mapping[Tensor, str]) -> None:
    """Every parameter of the optimiser needs a name of its own.

    Raises:
        CheckpointError: One has none, or two share one.
    """
    found = [names.get(p) for p in _params(optimizer)]
    if None in found:
        raise CheckpointError(
            f"{found.count(None)} of {len(found)} parameters of the optimiser have no name: pass "
            "{parameter: name for name, parameter in model.named_parameters()}"
        )
    twice = sorted({str(n) for n in found if found.count(n) > 1})
    if twice:
        raise CheckpointError(f"names used for more than one parameter: {_list(twice)}")


def check_same_keys(
    optimizer: torch.optim.Optimizer,
    names: Mapping[Tensor, str],
    tensors: Mapping[str, Tensor],
    layout: Mapping[str, Any],
) -> None:
    """The saved state must be of this optimiser, over these parameters, in these groups.

    Raises:
        CheckpointError: It is not; every kind of difference is named.
    """
    faults = []
    kind = type(optimizer).__name__
    if layout["class"] != kind:
        faults.append(f"it was saved from {layout['class']}, this is {kind}")
    shapes = {names[p]: list(p.shape) for p in _params(optimizer)}
    saved = {name: entry["shape"] for name, entry in layout["state"].items()}
    faults += _key_faults(saved, shapes, "parameters")
    other = [
        f"{n} {saved[n]} -> {shapes[n]}" for n in shapes if saved.get(n, shapes[n]) != shapes[n]
    ]
    if other:
        faults.append(f"shapes differ: {_list(other)}")
    before = [g["params"] for g in layout["groups"]]
    if not faults and before != [[names[p] for p in g["params"]] for g in optimizer.param_groups]:
        faults.append("the parameters are grouped or ordered differently")
    faults += _key_faults(tensors, _wanted(layout), "tensors")
    if faults:
        raise CheckpointError(
            f"the saved optimiser state does not fit: {'; '.join(faults)}. Resume with the same "
            "model, adapters and optimiser, or start a new run from the checkpoint's model"
        )


def _key_faults(saved: Mapping[str, Any], here: Mapping[str, Any], what: str) -> list[str]:
    missing, extra = sorted(here.keys() - saved.keys()), sorted(saved.keys() - here.keys())
    found = [f"{what} without saved state: {_list(missing)}"] if missing else []
    return found + ([f"saved {what} that are not here: {_list(extra)}"] if extra else [])


def _wanted(layout: Mapping[str, Any]) -> dict[str, None]:
    """Keys of the tensors that a layout speaks of."""
    options = [(f"group/{i}", g["options"]) for i, g in enumerate(layout["groups"])]
    values = [(f"state/{name}", e["values"]) for name, e in layout["state"].items()]
    return {
        f"{base}/{key}": None
        for base, plain in [*options, *values]
        for key, value in plain.items()
        if isinstance(value, dict) and "tensor" in value
    }


def _params(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    return [p for group in optimizer.param_groups for p in group["params"]]


def _take(key: str, value: object, param: Tensor | None, tensors: dict[str, Tensor]) -> object:
    """A value as JSON; a tensor goes into `tensors`."""
    if isinstance(value, Tensor):
        tensors[key] = value.detach().cpu().contiguous()
        # AdamW keeps `step` on the CPU beside parameters on a device: remember which went along.
        home = param is not None and value.device == param.device
        return {"tensor": "parameter" if home else str(value.device)}
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": str(value)}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        return {type(value).__name__: [_inner(key, v) for v in value]}
    raise CheckpointError(
        f"optimiser state {key} is a {type(value).__name__}: only tensors, numbers, strings, "
        "None and lists of such can be saved without pickling"
    )


def _inner(key: str, value: object) -> object:
    if isinstance(value, Tensor):
        raise CheckpointError(f"optimiser state {key} is a list of tensors, which has no name each")
    return _take(key, value, None, {})


def _give(key: str, value: object, param: Tensor | None, tensors: Mapping[str, Tensor]) -> object:
    """The inverse of `_take`."""
    if not isinstance(value, dict):
        return value
    ((kind, body),) = value.items()
    if kind == "tensor":
        home = param.device if body == "parameter" and param is not None else body
        return tensors[key].to(device=home, copy=True)
    if kind == "float":
        return float(body)
    inner = [_give(key, v, None, tensors) for v in body]
    return tuple(inner) if kind == "tuple" else inner


def _list(names: list[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more
