"""The weights of a run: loaded as its recipe says, saved alone or merged, put back on resume."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import torch
from torch.nn import Module

from vtool.engines.weights import load_weights
from vtool.families.adapters import (
    add_adapter,
    base_of,
    has_adapter,
    is_adapter,
    load_adapter_weights,
    merged_weights,
    save_adapter,
)
from vtool.families.vlm import VLM
from vtool.pairs import RenderSettings, load_renderer
from vtool.token_render import TokenRenderer

from .export import BESIDE, export_checkpoint
from .policy import Base, Policy
from .recipe import Recipe


def open_vlm(recipe: Recipe, folder: Path) -> VLM:
    """The model of a run.

    Args:
        recipe: Says device, precision and adapter.
        folder: First weights: a whole checkpoint, or an adapter that is trained on.

    Raises:
        CheckpointError: The folder is no sound checkpoint.
    """
    half = recipe.precision == "bfloat16"
    vlm = VLM.load(
        folder, dtype=torch.bfloat16 if half else torch.float32, device=device_of(recipe)
    )
    if recipe.precision == "mixed":
        vlm.compute = torch.bfloat16
    if recipe.adapter is not None and not has_adapter(vlm):
        add_adapter(vlm, recipe.adapter)
    return vlm


def reference_of(recipe: Recipe, folder: Path, policy: Policy) -> Module:
    """The policy of the first step, frozen: under adapters, the model without them."""
    if has_adapter(policy.vlm) and not is_adapter(folder):
        return Base(policy)
    return Policy(open_vlm(recipe, folder))


def device_of(recipe: Recipe) -> str:
    """Where the run computes: as the recipe says, else an accelerator where there is one."""
    return recipe.device or ("cuda" if torch.cuda.is_available() else "cpu")


def base_folder(folder: Path) -> Path:
    """Where whole weights lie: of an adapter, those of its base."""
    return base_of(folder) if is_adapter(folder) else folder


def save_weights(vlm: VLM, source: Path, folder: Path, recipe: Recipe | None = None) -> None:
    """What changes in training, as `VLM.load` reads it back: whole weights, or the adapter.

    Args:
        vlm: The policy as it is.
        source: Folder that training began with.
        folder: Where to write.
        recipe: What it learns by; its tools and clips are written beside whole weights for whoever
            asks them.
    """
    if has_adapter(vlm):
        save_adapter(vlm, folder, base_folder(source))
    else:
        export_checkpoint(vlm, source, folder)
        _tell(folder, source, recipe)


def open_renderer(recipe: Recipe, folder: Path) -> TokenRenderer:
    """How the policy is talked to: as its folder says, but for what the recipe says."""
    return load_renderer(folder, **({"clips": recipe.clips} if recipe.clips else {}))


def save_final(vlm: VLM, source: Path, folder: Path, recipe: Recipe | None = None) -> None:
    """Whole weights that need no adapter; the adapter alone lies in `adapter/` inside.

    Args:
        vlm: The trained policy.
        source: Folder that training began with.
        folder: Where to write.
        recipe: What it learnt by; its tools and clips are written down for whoever asks the policy.
    """
    _save_whole(vlm, source, folder)
    _tell(folder, source, recipe)


def _tell(folder: Path, source: Path, recipe: Recipe | None) -> None:
    """Write down how the policy was talked to, where that is not as it began."""
    if recipe is None:
        return
    began = RenderSettings.read(base_folder(source))
    tools = tuple(t if isinstance(t, str) else next(iter(t)) for t in recipe.tools)
    told = dataclasses.replace(began, tools=tools or began.tools, clips=recipe.clips or began.clips)
    if told != began:
        told.write(folder)


def _save_whole(vlm: VLM, source: Path, folder: Path) -> None:
    if not has_adapter(vlm):
        export_checkpoint(vlm, source, folder)
        return
    base = base_folder(source)
    vlm.save(folder, dict(merged_weights(vlm)))
    save_adapter(vlm, folder / "adapter", base)
    for name in set(BESIDE) - {"config.json", "preprocessor_config.json"}:
        if (base / name).is_file():
            shutil.copyfile(base / name, folder / name)


def restore_weights(vlm: VLM, folder: Path) -> None:
    """Put saved weights into the model of a run that goes on."""
    if has_adapter(vlm):
        load_adapter_weights(vlm, folder)
    else:
        load_weights(vlm.model, VLM.load(folder).model.state_dict().items())
