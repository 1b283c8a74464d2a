"""Random state of a process as JSON: Python, NumPy's legacy global, torch on CPU and CUDA."""

from __future__ import annotations

import base64
import random
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vtool.errors import CheckpointError


def capture() -> dict[str, Any]:
    """The state of all global generators, as plain JSON; `restore` takes it back bit for bit."""
    version, words, gauss = random.getstate()
    body: dict[str, Any] = {
        "python": {
            "version": version,
            "words": _text(np.array(words, dtype="<u8").tobytes()),
            "gauss": gauss,
        },
        "numpy": _capture_numpy(),
        "torch": _bytes_of(torch.get_rng_state()),
    }
    if torch.cuda.is_available():
        body["cuda"] = [_bytes_of(state) for state in torch.cuda.get_rng_state_all()]
    return body


def restore(body: Mapping[str, Any]) -> None:
    """Set all global generators.

    Warns where the CUDA devices differ in number: then draws on them cannot be the same.

    Raises:
        CheckpointError: The body is not of `capture`.
    """
    try:
        python = body["python"]
        words = np.frombuffer(base64.b64decode(python["words"]), dtype="<u8")
        random.setstate((python["version"], tuple(int(w) for w in words), python["gauss"]))
        _restore_numpy(body["numpy"])
        torch.set_rng_state(_tensor_of(body["torch"]))
    except (KeyError, TypeError, ValueError, RuntimeError) as err:
        raise CheckpointError(
            f"the saved random state is not one of ours ({type(err).__name__}: {err}); without it "
            "a resumed run is not the same run"
        ) from err
    _restore_cuda(body.get("cuda", []))


def _capture_numpy() -> dict[str, Any]:
    state = np.random.get_state(legacy=False)
    kind = state["bit_generator"]
    if kind != "MT19937":
        raise CheckpointError(
            f"NumPy's global generator is {kind}, expected MT19937: do not replace it"
        )
    return {
        "key": _text(state["state"]["key"].astype("<u4").tobytes()),
        "pos": int(state["state"]["pos"]),
        "has_gauss": int(state["has_gauss"]),
        "gauss": float(state["gauss"]),
    }


def _restore_numpy(body: Mapping[str, Any]) -> None:
    key = np.frombuffer(base64.b64decode(body["key"]), dtype="<u4")
    np.random.set_state(("MT19937", key, body["pos"], body["has_gauss"], body["gauss"]))


def _restore_cuda(states: list[str]) -> None:
    here = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if here != len(states):
        warnings.warn(
            f"the random state was saved with {len(states)} CUDA devices and there are {here}: "
            "draws on them will differ from an unbroken run",
            stacklevel=3,
        )
    for device, state in enumerate(states[:here]):
        torch.cuda.set_rng_state(_tensor_of(state), device)


def _bytes_of(state: Tensor) -> str:
    return _text(state.numpy().tobytes())


def _tensor_of(text: str) -> Tensor:
    return torch.frombuffer(bytearray(base64.b64decode(text)), dtype=torch.uint8)


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode("ascii")
