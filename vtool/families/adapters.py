"""Low-rank adapters on a model of the house: put in, switched off, saved, merged.

The adapters are peft's own layers, put into the model in place, so that engine and learner go on
calling the same modules; a saved adapter is a folder that plain peft loads onto the base.

Source: LoRA, arXiv 2106.09685, section 4.1: W x + (alpha / rank) B A x, with B = 0 at the start.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from vtool.errors import CheckpointError, RecipeError, require
from vtool.families.folder import check_no_pickles

if TYPE_CHECKING:
    from vtool.families.vlm import VLM

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
BASE_KEY = "base_model_name_or_path"
_PREFIX = "base_model.model."
"""What plain peft puts before a module's name."""
_LANGUAGE = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
_VISION = ("qkv", "proj", "gate_proj", "up_proj", "down_proj", "linear_fc1", "linear_fc2")
BESIDE = (
    "config.json",
    "preprocessor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
    "generation_config.json",
    "vtool.json",
)
"""Files of the base that a saved adapter takes along, so that its folder can be played."""


@dataclass(frozen=True, slots=True)
class AdapterSpec:
    """Low-rank adapters.

    Args:
        rank: Inner width r.
        alpha: Scale; the update counts alpha / rank times.
        targets: Linear layers of the language model that get one, by the end of their names.
        vision: Whether the blocks of the vision tower get them too.

    Raises:
        RecipeError: A rank or scale that is not positive, or layers that are not there.
    """

    rank: int = 16
    alpha: float = 32.0
    targets: tuple[str, ...] = _LANGUAGE
    vision: bool = False

    def __post_init__(self) -> None:
        unknown = sorted(set(self.targets) - set(_LANGUAGE))
        if self.rank < 1 or not self.alpha > 0 or unknown or not self.targets:
            raise RecipeError(
                "an adapter needs rank >= 1, alpha > 0 and targets out of "
                f"{', '.join(_LANGUAGE)}; got rank={self.rank}, alpha={self.alpha}, "
                f"targets={list(self.targets)}"
            )

    @property
    def pattern(self) -> str:
        """Regular expression over module names, as peft takes it."""
        language = rf".*language_model\.layers\.\d+\..*\.({'|'.join(self.targets)})"
        if not self.vision:
            return language
        return rf"({language}|.*visual\.blocks\.\d+\..*\.({'|'.join(_VISION)}))"


def add_adapter(vlm: VLM, spec: AdapterSpec) -> None:
    """Put fresh adapters into a model; what it computes stays the same until they learn.

    Their first factor is drawn from torch's global generator. They are kept in float32 whatever
    the model is kept in; all other weights are frozen.

    Raises:
        MissingExtra: peft is not installed.
        CheckpointError: The model has adapters already.
    """
    peft = require("peft", "lora")
    if has_adapter(vlm):
        raise CheckpointError("the model has an adapter already: merge it first")
    # Dropout would make the learner's log-probs another policy's than those of the rollout.
    config = peft.LoraConfig(
        r=spec.rank, lora_alpha=spec.alpha, lora_dropout=0.0, target_modules=spec.pattern
    )
    _inject(peft, vlm, config)


def load_adapter(vlm: VLM, folder: Path) -> None:
    """Put a saved adapter onto its base model.

    Raises:
        CheckpointError: It is damaged, pickled, of another kind or made for another model.
        MissingExtra: peft is not installed.
    """
    peft = require("peft", "lora")
    check_no_pickles(folder)
    body = read_config(folder)
    check_plain_lora(folder, body)
    # Dropout of whoever trained it before would part the learner from the rollout here.
    _inject(peft, vlm, peft.LoraConfig.from_peft_type(**{**body, "lora_dropout": 0.0}))
    load_adapter_weights(vlm, folder)


def load_adapter_weights(vlm: VLM, folder: Path) -> None:
    """Replace the adapters of a model by saved ones of the same shape.

    Raises:
        CheckpointError: They are damaged, or were made for another model.
    """
    peft = require("peft", "lora")
    try:
        weights = load_file(folder / WEIGHTS)
    except (OSError, SafetensorError) as err:
        raise CheckpointError(f"{folder / WEIGHTS} cannot be read: {err}") from err
    plain = {name.removeprefix(_PREFIX): value for name, value in weights.items()}
    own = peft.get_peft_model_state_dict(vlm.model)
    if {k: v.shape for k, v in own.items()} != {k: v.shape for k, v in plain.items()}:
        raise CheckpointError(f"{folder}: the adapter was made for another model than its base")
    peft.set_peft_model_state_dict(vlm.model, plain)


def check_plain_lora(folder: Path, body: Mapping[str, Any]) -> None:
    """Refuse adapters that are more than W + (alpha / rank) B A.

    Raises:
        CheckpointError: Names what is not read here.
    """
    more = [
        k
        for k in ("use_dora", "modules_to_save", "use_qalora", "alora_invocation_tokens")
        if body.get(k)
    ]
    more += [k for k in ("bias",) if body.get(k, "none") != "none"]
    if body.get("peft_type") != "LORA" or more:
        raise CheckpointError(
            f"{folder}: expected plain LoRA, got {body.get('peft_type')} {' '.join(more)}; merge "
            "it into its model with peft, and load the result"
        )


def save_adapter(vlm: VLM, folder: Path, base: Path) -> None:
    """Write the adapter alone, with what else of the base a run needs beside the weights.

    Args:
        vlm: A model with adapters.
        folder: Where to write; made if missing. Plain peft and `VLM.load` read it.
        base: Folder of the weights that the adapter belongs to.
    """
    peft = require("peft", "lora")
    folder.mkdir(parents=True, exist_ok=True)
    config = vlm.model.peft_config["default"]
    config.base_model_name_or_path, config.inference_mode = str(base.resolve()), True
    config.save_pretrained(folder)
    config.inference_mode = False
    own = peft.get_peft_model_state_dict(vlm.model)
    save_file({_PREFIX + k: v.contiguous() for k, v in own.items()}, folder / WEIGHTS)
    for name in BESIDE:
        if (base / name).is_file() and not (folder / name).is_file():
            shutil.copyfile(base / name, folder / name)


def merged_weights(vlm: VLM) -> Iterator[tuple[str, Tensor]]:
    """The weights under the names of a plain checkpoint, adapters added in."""
    with torch.no_grad():
        for name, value in vlm.model.state_dict().items():
            if ".lora_" in name:
                continue
            plain = name.replace(".base_layer.", ".")
            if plain != name and plain.endswith(".weight"):
                layer = vlm.model.get_submodule(name.removesuffix(".base_layer.weight"))
                delta = layer.get_delta_weight("default").to(value.dtype)
                yield plain, value + delta
            else:
                yield plain, value


def has_adapter(vlm: VLM) -> bool:
    """Whether there are adapters in the model."""
    return bool(getattr(vlm.model, "peft_config", None))


def is_adapter(folder: Path) -> bool:
    """Whether a folder holds an adapter rather than whole weights."""
    return (folder / CONFIG).is_file()


def base_of(folder: Path) -> Path:
    """The base model's folder, as a saved adapter names it.

    Raises:
        CheckpointError: It names none, or one that is not there.
    """
    named = read_config(folder).get(BASE_KEY)
    if not named:
        raise CheckpointError(f"{folder / CONFIG} does not say to which model it belongs")
    from vtool.loading import find_checkpoint  # names may be those of a hub

    return find_checkpoint(str(named))


def read_config(folder: Path) -> dict[str, Any]:
    """What a saved adapter says of itself.

    Raises:
        CheckpointError: It cannot be read.
    """
    try:
        body = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError) as err:
        raise CheckpointError(f"{folder / CONFIG} cannot be read as JSON: {err}") from err
    if not isinstance(body, dict):
        raise CheckpointError(f"{folder / CONFIG} must hold a JSON object")
    return body


@contextlib.contextmanager
def without_adapter(vlm: VLM) -> Iterator[None]:
    """Inside, the model is its base: the reference policy at no further cost in memory."""
    layers = [m for m in vlm.model.modules() if _is_layer(m)]
    for layer in layers:
        layer.enable_adapters(False)
    try:
        yield
    finally:
        for layer in layers:
            layer.enable_adapters(True)


def _is_layer(module: nn.Module) -> bool:
    return hasattr(module, "enable_adapters") and hasattr(module, "base_layer")


def _inject(peft: Any, vlm: VLM, config: Any) -> None:
    """In place; `get_peft_model` would wrap the model and change what its parts are called."""
    training = vlm.training
    peft.inject_adapter_in_model(config, vlm.model)
    vlm.model.peft_config = {"default": config}
    for name, parameter in vlm.model.named_parameters():
        learns = ".lora_" in name
        parameter.requires_grad_(learns)
        if learns:
            parameter.data = parameter.data.float()
    vlm.train(training)
