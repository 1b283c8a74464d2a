"""The tiny policy's tokenizer: byte-level BPE with Qwen's special tokens and number tokens."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

SPECIAL: Final = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
MARKERS: Final = (
    "<tool_call>",
    "</tool_call>",
    "<tool_response>",
    "</tool_response>",
    "<think>",
    "</think>",
    "<answer>",
    "</answer>",
)
NUMBERS: Final = tuple(str(v) for v in range(0, 1001, 10))
SECONDS: Final = tuple(str(v) for v in range(121))
"""Whole seconds of a time; with a tenth behind it, a time is two tokens."""
TENTHS: Final = tuple(f".{v}" for v in range(10))
LEARNT: Final = 560
"""Ids given to text; the embedding has more rows (``ROWS``), free for later vocabularies."""
ROWS: Final = 680

# Words that other tasks of this project are likely to use, so that they stay short sequences.
LATER: Final = (
    "how many squares triangles are there in the picture video frame clip from second seconds to",
    "which larger smaller left right of above below first last before after moment flash colour",
    "system You may call these functions tools yes no true false null white black gray brown",
    "crop image video start end label point points region scene text word letter count number",
    "error expected got could not be used try again the answer is I will look closer at",
)

# A comma before a number token stays one piece with its space; otherwise pieces are words.
_PIECES: Final = r",\s(?!\S)|\s?[^\s]+|\s+"

CHAT_TEMPLATE: Final = (
    "{%- for message in messages %}"
    "{{- '<|im_start|>' + message.role + '\\n' }}"
    "{%- if message.content is string %}{{- message.content }}"
    "{%- else %}{%- for part in message.content %}"
    "{%- if part.type == 'image' %}{{- '<|vision_start|><|image_pad|><|vision_end|>' }}"
    "{%- else %}{{- part.text }}{%- endif %}"
    "{%- endfor %}{%- endif %}"
    "{{- '<|im_end|>\\n' }}"
    "{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"
)


def train(
    texts: Iterable[str],
    numbers: Sequence[str] = NUMBERS,
    tenths: Sequence[str] = (),
    learnt: int = LEARNT,
) -> Tokenizer:
    """Learn the merges from example texts.

    Ids: special tokens first, then markers, bytes, merges, and one token per multiple of ten up
    to 1000, so that a box is four tokens and the text stays ordinary JSON.

    Args:
        texts: What the policy will read and write.
        numbers: Numbers that are one token where they stand alone.
        tenths: Ends of numbers that are one token wherever they stand.
        learnt: Ids given to text.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_PIECES), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    named: list[str | AddedToken] = [AddedToken(t, special=True, normalized=False) for t in SPECIAL]
    named += [AddedToken(t, special=False, normalized=False) for t in MARKERS]
    trainer = trainers.BpeTrainer(
        vocab_size=learnt - len([n for n in (*numbers, *tenths) if len(n) > 1]),
        special_tokens=named,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    plain = [_without_names(text) for text in texts]
    tokenizer.train_from_iterator([*plain, *LATER], trainer)
    # The trainer marks what it is given as special; markers must survive decoding.
    tokenizer.add_tokens([AddedToken(t, special=False, normalized=False) for t in MARKERS])
    tokenizer.add_tokens([AddedToken(t, single_word=True, normalized=False) for t in numbers])
    tokenizer.add_tokens([AddedToken(t, normalized=False) for t in tenths])
    return tokenizer


def _without_names(text: str) -> str:
    """Numbers and markers are tokens of their own; keep them out of the merges."""
    for name in (*SPECIAL, *MARKERS):
        text = text.replace(name, "")
    return text


def save(tokenizer: Tokenizer, folder: Path) -> None:
    """Write the files that ``PreTrainedTokenizerFast`` and ``AutoTokenizer`` load."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"), pretty=True)
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": "<|im_end|>",
        "pad_token": "<|endoftext|>",
        "additional_special_tokens": [t for t in SPECIAL if t not in ("<|endoftext|>",)],
        "clean_up_tokenization_spaces": False,
        "model_max_length": 2048,
        "chat_template": CHAT_TEMPLATE,
    }
    text = json.dumps(settings, indent=2, sort_keys=True) + "\n"
    (folder / "tokenizer_config.json").write_text(text, encoding="utf-8")


def ids_of(tokenizer: Tokenizer) -> dict[str, int]:
    """Ids of the special tokens by their text."""
    return {name: tokenizer.token_to_id(name) for name in SPECIAL}
