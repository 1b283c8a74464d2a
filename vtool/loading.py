"""From a name to something that can play: a checkpoint's renderer and engine.

A name is a folder, a policy that ships with vtool (``tiny/clean``), or a checkpoint of a hub,
which `huggingface_hub` fetches or finds in its cache; of those only configuration, tokenizer and
safetensors are asked for.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from vtool.engines.base import TokenEngine
from vtool.errors import CheckpointError, require
from vtool.pairs import RenderSettings, load_renderer
from vtool.record import Sampling
from vtool.seat import Seat
from vtool.shipped import shipped, shipped_checkpoints
from vtool.token_render import TokenRenderer

HUB_FILES = ("*.json", "*.safetensors", "*.txt")


@dataclass(frozen=True, slots=True)
class Policy:
    """A checkpoint, ready to play."""

    folder: Path
    renderer: TokenRenderer
    engine: TokenEngine

    @property
    def digest(self) -> str:
        """SHA-256 over the weights as they lie in the folder, hexadecimal."""
        return weights_digest(self.folder)

    def seat(self, sampling: Sampling | None = None) -> Seat:
        """The seat that programs call `policy`; greedy if not told how to draw."""
        chosen = sampling or Sampling(temperature=0.0)
        return Seat("policy", self.renderer, self.engine, chosen)


def load_policy(
    name: str | Path, *, device: str | None = None, local_files_only: bool = False
) -> Policy:
    """Load a checkpoint behind the `hf` engine.

    Args:
        name: A folder, a shipped policy, or ``owner/name`` on a hub.
        device: Such as ``cpu`` or ``cuda``; an accelerator where there is one, by default.
        local_files_only: Whether the hub is left alone, its cache aside.

    Raises:
        CheckpointError: There is no such checkpoint, or it is not safe to load.
        MissingExtra: torch or transformers is not installed.
    """
    torch = require("torch", "train")
    quiet_library()
    from vtool.engines.hf import HFEngine

    folder = find_checkpoint(name, local_files_only=local_files_only)
    renderer = load_renderer(folder)
    where = device or ("cuda" if torch.cuda.is_available() else "cpu")
    # Half precision where the hardware is made for it; log-prob parity is told for float32.
    dtype = torch.float32 if where == "cpu" else torch.bfloat16
    return Policy(folder, renderer, HFEngine.load(folder, dtype=dtype, device=where))


def tools_of(name: str | Path) -> tuple[str, ...]:
    """Tools that a checkpoint says it was trained with; nothing where it does not say.

    Raises:
        CheckpointError: There is no such checkpoint, or its `vtool.json` is damaged.
    """
    return RenderSettings.read(find_checkpoint(name)).tools


def weights_digest(folder: Path) -> str:
    """SHA-256 over a folder's weights as they lie there, hexadecimal."""
    total = hashlib.sha256()
    for path in sorted(folder.glob("*.safetensors")):
        with path.open("rb") as file:
            total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()


def quiet_library() -> None:
    """Keep transformers from drawing progress bars over what commands print."""
    require("transformers", "train").utils.logging.disable_progress_bar()


def find_checkpoint(name: str | Path, *, local_files_only: bool = False) -> Path:
    """The folder of a checkpoint.

    Raises:
        UnknownName: Nearly the name of a shipped policy.
        CheckpointError: No folder, no shipped policy and no hub checkpoint has that name.
    """
    path = Path(name)
    if path.is_dir():
        return path
    owners = {known.split("/")[0] for known in shipped_checkpoints()}
    if str(name).split("/")[0] in owners:  # a slip in our own names is no matter for a hub
        return shipped(str(name))
    if str(name).count("/") == 1 and not path.is_absolute() and not str(name).startswith("."):
        return _from_hub(str(name), local_files_only)
    raise CheckpointError(_unknown(str(name)))


def _from_hub(name: str, local_files_only: bool) -> Path:
    hub = require("huggingface_hub", "train")
    try:
        found = hub.snapshot_download(
            name, allow_patterns=list(HUB_FILES), local_files_only=local_files_only
        )
        return Path(found)
    except (OSError, ValueError) as err:
        raise CheckpointError(f"{_unknown(name)}; the hub said: {err}") from err


def _unknown(name: str) -> str:
    known = ", ".join(shipped_checkpoints()) or "none"
    return (
        f"expected a checkpoint folder, a shipped policy ({known}) or owner/name on a hub, "
        f"got {name!r}"
    )
