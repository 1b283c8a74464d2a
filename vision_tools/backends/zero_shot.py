"""Open-vocabulary detectors of transformers: Grounding DINO, and OWL-ViT with OWLv2."""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PILImage

from vtool.errors import FaultCode, ModelFault, RecipeError, require
from vtool.media import Image

from .detection import Detection, suppress, unit_box

DINO = ("grounding-dino", "mm-grounding-dino")
OWL = ("owlv2", "owlvit")
USUAL_THRESHOLD = {**dict.fromkeys(DINO, 0.25), **dict.fromkeys(OWL, 0.1)}
"""Least score by model type, as the libraries' own post-processing has it."""

_LOCK = threading.Lock()
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Raw:
    """What the library's post-processing gives.

    Args:
        boxes: (N, 4) as x1, y1, x2, y2 in pixels of the picture; may reach over its border.
        scores: (N,).
        phrases: Which phrase each is for (N,).
    """

    boxes: Floats
    scores: Floats
    phrases: NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class ZeroShot:
    """A checkpoint, ready to run."""

    model: Any
    processor: Any

    @property
    def kind(self) -> str:
        """Its model type."""
        return str(self.model.config.model_type)

    def find(
        self,
        image: Image,
        phrases: Sequence[str],
        *,
        threshold: float | None = None,
        text_threshold: float = 0.25,
        overlap: float | None = None,
    ) -> list[Detection]:
        """Where the phrases are.

        Args:
            image: Where to look.
            phrases: What for.
            threshold: Least score; the usual one of the model type where left out.
            text_threshold: Grounding DINO only: least score of a phrase's own words.
            overlap: Of two boxes of one phrase that share more of their union, the surer stays.

        Raises:
            ModelFault: Phrases longer than the model reads.
        """
        least = USUAL_THRESHOLD[self.kind] if threshold is None else threshold
        if self.kind in DINO:
            raw = self.raw_dino(image, phrases, least, text_threshold)
        else:
            raw = self.raw_owl(image, phrases, least)
        return _detections(raw, image, phrases, overlap)

    def raw_dino(
        self, image: Image, phrases: Sequence[str], threshold: float, text_threshold: float
    ) -> Raw:
        """Boxes of Grounding DINO; each is for the phrase whose words it answers to most.

        Source: Liu et al., Grounding DINO, 2023, section 3.4 (phrases joined by full stops).
        """
        caption, spans = caption_of(phrases)
        inputs = self.processor(images=_picture(image), text=caption, return_tensors="pt")
        limit = self.model.config.max_text_len
        if inputs["input_ids"].shape[1] > limit:
            raise _too_long(f"expected phrases of at most {limit} tokens together", phrases)
        outputs = self._run(inputs)
        (result,) = self.processor.post_process_grounded_object_detection(
            outputs,
            inputs["input_ids"],
            threshold=threshold,
            text_threshold=text_threshold,
            target_sizes=[image.pixels.shape[:2]],
        )
        words = outputs.logits[0].sigmoid()
        kept = words.max(dim=-1).values > threshold
        by_phrase = _by_phrase(words[kept].float().cpu().numpy(), self._tokens_of(caption, spans))
        named = by_phrase.max(axis=1, initial=0.0) > text_threshold
        return Raw(
            _array(result["boxes"])[named],
            _array(result["scores"])[named],
            by_phrase.argmax(axis=1)[named],
        )

    def raw_owl(self, image: Image, phrases: Sequence[str], threshold: float) -> Raw:
        """Boxes of OWL-ViT or OWLv2.

        OWLv2 sees the picture padded to a square at its right or bottom; the library gives its
        boxes back in the picture's own pixels, so that those in the padding lie outside.

        Source: Minderer et al., Scaling Open-Vocabulary Object Detection, 2023.
        """
        if self.kind == "owlv2":
            require("scipy", "vision")
        limit = self.model.config.text_config.max_position_embeddings
        for phrase in phrases:
            if len(self.processor.tokenizer(phrase)["input_ids"]) > limit:
                raise _too_long(f"expected a phrase of at most {limit} tokens", [phrase])
        inputs = self.processor(
            images=_picture(image),
            text=[list(phrases)],
            return_tensors="pt",
            padding="max_length",
            max_length=limit,
        )
        outputs = self._run(inputs)
        (result,) = self.processor.post_process_grounded_object_detection(
            outputs, threshold=threshold, target_sizes=[image.pixels.shape[:2]]
        )
        labels = result["labels"].cpu().numpy().astype(np.intp)
        return Raw(_array(result["boxes"]), _array(result["scores"]), labels)

    def _run(self, inputs: Any) -> Any:
        torch = require("torch", "train")
        with _LOCK, torch.inference_mode():
            return self.model(**inputs.to(self.model.device))

    def _tokens_of(self, caption: str, spans: Sequence[tuple[int, int]]) -> list[list[int]]:
        """For each phrase, the places of its tokens in the caption's ids."""
        offsets = self.processor.tokenizer(caption, return_offsets_mapping=True)["offset_mapping"]
        return [[i for i, (a, b) in enumerate(offsets) if lo <= a < b <= hi] for lo, hi in spans]


def caption_of(phrases: Sequence[str]) -> tuple[str, list[tuple[int, int]]]:
    """Phrases as Grounding DINO reads them (`a cat. a dog.`), and where each begins and ends.

    Full stops and question marks part phrases for the model, so none is left inside one.
    """
    caption, spans = "", []
    for phrase in phrases:
        words = " ".join(re.sub(r"[.?]", " ", phrase.lower()).split())
        spans.append((len(caption), len(caption) + len(words)))
        caption += f"{words}. "
    return caption.rstrip(), spans


def _by_phrase(words: Floats, tokens: Sequence[Sequence[int]]) -> Floats:
    """Score of each phrase in each box: that of its best token.

    Args:
        words: (boxes, tokens).
        tokens: Places of each phrase's tokens.

    Returns:
        (boxes, phrases).
    """
    columns = [words[:, list(t)].max(axis=1, initial=0.0) for t in tokens]
    return np.stack(columns, axis=1)


def _detections(
    raw: Raw, image: Image, phrases: Sequence[str], overlap: float | None
) -> list[Detection]:
    width, height = image.size
    found = []
    for index, phrase in enumerate(phrases):
        (rows,) = np.nonzero(raw.phrases == index)
        if overlap is not None:
            rows = rows[suppress(raw.boxes[rows], raw.scores[rows], overlap)]
        for row in rows:
            box = unit_box(raw.boxes[row], width, height)
            if box is not None:
                found.append(Detection(box, phrase, float(raw.scores[row])))
    return found


def _picture(image: Image) -> PILImage.Image:
    """Not as an array: of one with three rows the library would ask where its channels are."""
    return PILImage.fromarray(image.pixels)


def _array(tensor: Any) -> Floats:
    array: Floats = tensor.detach().float().cpu().numpy()
    return array


def _too_long(expected: str, phrases: Sequence[str]) -> ModelFault:
    return ModelFault(
        FaultCode.TOO_LARGE,
        f"{expected}, got more: {'. '.join(phrases)[:80]!r}",
        hint="use shorter phrases, or fewer in one call",
        field="phrases",
    )


@lru_cache(maxsize=2)
def _load(name: str, device: str, local_files_only: bool) -> ZeroShot:
    torch, transformers = require("torch", "train"), require("transformers", "train")
    try:
        # Single precision, whatever the checkpoint was saved in: processors give nothing else.
        model = transformers.AutoModelForZeroShotObjectDetection.from_pretrained(
            name, local_files_only=local_files_only, use_safetensors=True, dtype=torch.float32
        )
        processor = transformers.AutoProcessor.from_pretrained(
            name, local_files_only=local_files_only
        )
    except (OSError, ValueError) as err:
        raise RecipeError(
            f"expected a zero-shot detection checkpoint, such as "
            f"IDEA-Research/grounding-dino-tiny, got {name}: {err}"
        ) from err
    if model.config.model_type not in USUAL_THRESHOLD:
        raise RecipeError(
            f"{name} is a {model.config.model_type}; expected one of {', '.join(USUAL_THRESHOLD)}"
        )
    return ZeroShot(model.to(device).eval(), processor)


def load(name: str, *, device: str, local_files_only: bool) -> ZeroShot:
    """A checkpoint, loaded once.

    Args:
        name: Local folder or hub name.
        device: Of torch, such as `cpu` or `cuda:0`.
        local_files_only: Whether the hub is left alone.

    Raises:
        RecipeError: It cannot be loaded, or is of another kind.
    """
    with _LOCK:
        return _load(name, device, local_files_only)
