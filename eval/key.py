"""The key of a sample: a hash of what is asked and how it is played.

Two samples of one key are one sample: a run that is gone on with never computes it again, and a
question that was changed under its old id is not taken for the old one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence

from vtool.message import Json
from vtool.task import Task

SCORING = ("name", "metric", "k")
"""Settings that change what is made of an answer, or how many there are, but no answer."""


def contract(settings: Mapping[str, Json]) -> str:
    """Hash of the settings under which answers are made, hexadecimal.

    Args:
        settings: All of them, tools and renderer among them; those of `aside_of` are left out.
    """
    aside = aside_of(settings)
    return _hash({k: v for k, v in settings.items() if k not in aside})


def aside_of(settings: Mapping[str, Json]) -> tuple[str, ...]:
    """Names of settings on which no answer depends.

    Where the weights are known by their digest it does not matter where they lie.
    """
    return (*SCORING, "policy") if settings.get("weights") else SCORING


def sample_key(task: Task, number: int, contract: str) -> str:
    """Hash of one sample, hexadecimal.

    The reference is no part of it: an answer stays what it is when its key is corrected.

    Args:
        task: What is asked; pictures and videos enter by content.
        number: Of the attempt.
        contract: Of the settings.
    """
    asked = [["text", p] if isinstance(p, str) else ["media", p.digest] for p in task.prompt]
    tools = None if task.tools is None else list(task.tools)
    return _hash([task.id, asked, tools, task.system, number, contract])


def dataset_hash(keys: Mapping[tuple[str, int], str]) -> str:
    """Hash of everything that was asked, hexadecimal: independent of the order of playing."""
    return _hash([[name, number, keys[name, number]] for name, number in sorted(keys)])


def text_hash(words: Sequence[str]) -> str:
    """Hash of some texts, hexadecimal."""
    return _hash(list(words))


def _hash(value: object) -> str:
    text = json.dumps(value, sort_keys=True, ensure_ascii=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]
