"""Checkpoints that are there whole or not at all.

A checkpoint is written to `step-000012.incomplete/`, brought to the disk, sealed by a manifest of
checksums, and only then renamed to `step-000012/`. Whatever stops the process in between leaves
the earlier ones as they were. Inside: `model/` (plain Hugging Face layout), `state.json`,
`optimizer.safetensors`, `manifest.json`, and `memory/` where the run has buffers. Nothing is
pickled.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from vtool.errors import CheckpointError
from vtool.families import folder as model_folder

from . import durable, manifest
from .lock import RunLock
from .optimizer_state import optimizer_tensors, restore_optimizer
from .resume import check_resume
from .train_state import TrainState, recipe_hash

__all__ = [
    "MOMENTS",
    "Checkpoints",
    "Loaded",
    "RunLock",
    "TrainState",
    "check_resume",
    "optimizer_tensors",
    "recipe_hash",
    "restore_optimizer",
]

MOMENTS = (
    "before_files",
    "after_model",
    "after_optimizer",
    "after_state",
    "after_manifest",
    "before_rename",
    "after_rename",
    "before_drop",
    "after_drop",
)
"""What the hook is called with during a save, in this order."""

_COMPLETE = re.compile(r"step-(\d{6,})(\.old)?")


@dataclass(frozen=True, slots=True)
class Loaded:
    """A checkpoint whose checksums held.

    Attributes:
        path: Its folder.
        state: All but the weights.
        skipped: One sentence for each newer checkpoint that was damaged.
    """

    path: Path
    state: TrainState
    skipped: tuple[str, ...] = ()

    @property
    def model(self) -> Path:
        """The weights, in plain Hugging Face layout."""
        return self.path / "model"

    @property
    def memory(self) -> Path:
        """What the run remembers besides: buffers, waiting attempts; there where it has any."""
        return self.path / "memory"


@dataclass(frozen=True, slots=True)
class Checkpoints:
    """The checkpoints of one run.

    Args:
        folder: Where they lie; made on the first save.
        keep: How many complete ones to keep, at least 1.
        hook: Called with each of `MOMENTS` during a save. Tests stop the process there.
    """

    folder: Path
    keep: int = 2
    hook: Callable[[str], None] | None = None

    def __post_init__(self) -> None:
        if self.keep < 1:
            raise CheckpointError(f"keep at least 1 checkpoint, got keep={self.keep}")

    def save(
        self,
        state: TrainState,
        *,
        write_model: Callable[[Path], None],
        write_memory: Callable[[Path], None] | None = None,
    ) -> Path:
        """Write a checkpoint, publish it, then drop the oldest beyond `keep`.

        Args:
            state: All but the weights. Its tensors may alias the live optimiser.
            write_model: Writes the weights in plain Hugging Face layout into an empty folder.
            write_memory: Writes what else is remembered into a folder that it makes; None where
                there is nothing.

        Returns:
            The published folder.

        Raises:
            CheckpointError: The disk is full or not writable, or the model cannot be loaded
                back safely. What was there before is intact, the temporary is removed.
        """
        final = self.folder / f"step-{state.step:06d}"
        with self._telling(final):
            self.folder.mkdir(parents=True, exist_ok=True)
            clear_leftovers(self.folder)
            staging = staged(final)
            staging.mkdir()
            try:
                self._write(staging, state, write_model, write_memory)
                self._at("before_rename")
                publish(staging, final)
            except BaseException:
                remove_partial(staging)
                raise
        self._at("after_rename")
        self._drop(state.step)
        return final

    def load_latest(self) -> Loaded | None:
        """The newest complete checkpoint whose checksums hold; None where there is none at all.

        A damaged one is skipped with a warning that says what is wrong and which one is used.

        Raises:
            CheckpointError: Every one is damaged, or the newest sound one is unsafe to load
                (pickled files, code of its own).
        """
        skipped: list[str] = []
        for path in reversed(complete(self.folder)):
            damage = manifest.find_damage(path)
            if damage is None:
                for said in skipped:
                    warnings.warn(f"{said}; using {path.name} instead", stacklevel=2)
                return load(path, tuple(skipped))
            skipped.append(f"checkpoint {path.name} is damaged: {damage}")
        if skipped:
            raise CheckpointError(
                f"no checkpoint in {self.folder} can be used. {'. '.join(skipped)}. Restore one "
                "from a copy, or start again in a new folder"
            )
        return None

    def _write(
        self,
        staging: Path,
        state: TrainState,
        write_model: Callable[[Path], None],
        write_memory: Callable[[Path], None] | None,
    ) -> None:
        self._at("before_files")
        model = staging / "model"
        model.mkdir()
        write_model(model)
        # What cannot be loaded back must not look like a checkpoint.
        model_folder.check_folder(model)
        self._at("after_model")
        save_file(dict(state.tensors), staging / "optimizer.safetensors", metadata={"format": "pt"})
        self._at("after_optimizer")
        if write_memory is not None:
            write_memory(staging / "memory")
        durable.write_json(staging / "state.json", state.to_json())
        self._at("after_state")
        # The checksums vouch for bytes on the disk, so those come first.
        durable.sync_tree(staging)
        manifest.write_manifest(staging)
        durable.sync(staging)
        self._at("after_manifest")

    def _at(self, moment: str) -> None:
        if self.hook is not None:
            self.hook(moment)

    def _drop(self, step: int) -> None:
        self._at("before_drop")
        try:
            set_aside_later(self.folder, step)
            drop_oldest(self.folder, self.keep)
        except OSError as err:
            # The new one is published: a folder too many is no reason to stop a run.
            warnings.warn(f"an old checkpoint could not be removed: {err}", stacklevel=3)
        self._at("after_drop")

    @contextmanager
    def _telling(self, final: Path) -> Iterator[None]:
        try:
            yield
        except (OSError, SafetensorError) as err:
            last = next(reversed(complete(self.folder)), None)
            kept = f"{last.name} is intact" if last else "there was none before"
            raise CheckpointError(
                f"checkpoint {final.name} was not written: {err}. Of the earlier ones, {kept}. "
                f"Make room or make {self.folder} writable, then resume"
            ) from err


def complete(folder: Path) -> list[Path]:
    """The published checkpoints below a folder, oldest first; their checksums are not read.

    `step-N.old` counts where a save of the same step was stopped between its two renames.
    """
    if not folder.is_dir():
        return []
    found = {}
    for path in folder.iterdir():
        match = _COMPLETE.fullmatch(path.name)
        if match and path.is_dir():
            found[int(match[1]), match[2] is None] = path
    return [path for (step, own), path in sorted(found.items()) if own or (step, True) not in found]


def load(path: Path, skipped: tuple[str, ...] = ()) -> Loaded:
    """Read a published checkpoint.

    Raises:
        CheckpointError: It is unsafe to load, or not of this format.
    """
    model_folder.check_folder(path / "model")
    try:
        body = durable.read_object(path / "state.json")
        tensors = load_file(path / "optimizer.safetensors")
    except (OSError, ValueError, SafetensorError) as err:
        raise CheckpointError(f"{path} cannot be read: {err}") from err
    return Loaded(path, TrainState.from_json(body, tensors), skipped)


def staged(final: Path) -> Path:
    """Where a checkpoint is written before it has its name."""
    return final.with_name(final.name + ".incomplete")


def clear_leftovers(folder: Path) -> None:
    """Remove what a stopped save left, and put back what it had moved away."""
    for path in sorted(folder.glob("step-*.incomplete")):
        durable.discard(path)
    for path in sorted(folder.glob("step-*.old")):
        own = path.with_suffix("")
        if own.exists():
            durable.discard(path)
        else:
            os.rename(path, own)


def remove_partial(staging: Path) -> None:
    """Remove a temporary after a failed save; the failure itself is what gets told."""
    try:
        durable.discard(staging)
    except OSError as err:
        warnings.warn(f"{staging} could not be removed: {err.strerror}", stacklevel=2)


def publish(staging: Path, final: Path) -> None:
    """Give a sealed checkpoint its name; one of the same step makes way."""
    old = final.with_name(final.name + ".old")
    if final.exists() and final != staging:
        os.rename(final, old)
    os.rename(staging, final)
    durable.sync(final.parent)
    durable.discard(old)


def drop_oldest(folder: Path, keep: int) -> None:
    """Remove the oldest checkpoints beyond `keep`."""
    for path in complete(folder)[:-keep]:
        # Renamed first: a removal that is cut short must not look like a damaged checkpoint.
        doomed = staged(path)
        os.rename(path, doomed)
        durable.discard(doomed)


def set_aside_later(folder: Path, step: int) -> None:
    """Checkpoints after `step` belong to a line that was given up: no later resume may pick them.

    They are renamed, not removed: somebody may have started anew in the wrong folder.
    """
    for path in complete(folder):
        match = _COMPLETE.fullmatch(path.name)
        if match and int(match[1]) > step:
            aside = path.with_name(f"step-{match[1]}.abandoned")
            durable.discard(aside)
            os.rename(path, aside)
            warnings.warn(
                f"{path.name} is later than the step {step} just saved: set aside as {aside.name}",
                stacklevel=3,
            )
