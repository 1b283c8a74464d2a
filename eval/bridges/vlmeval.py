"""Our agent as a model of VLMEvalKit.

    from vtool.eval.bridges.vlmeval import agent_class
    supported_VLM["vtool"] = partial(agent_class(), model="tiny/clean", tools="zoom")

Source: the base class `vlmeval.vlm.base.BaseModel` of VLMEvalKit (`generate_inner`,
messages as lists of ``{"type": "text" | "image" | "video", "value": ...}``, INTERLEAVE).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vtool.errors import DataError

from .agent import Agent, Asked, part_of, said


def agent_class(base: type[Any] | None = None) -> type[Any]:
    """The class to register.

    Args:
        base: VLMEvalKit's `BaseModel`; imported where left out.

    Raises:
        ModuleNotFoundError: VLMEvalKit is not installed in this environment.
    """
    if base is None:
        from vlmeval.vlm.base import BaseModel as base

    class VToolAgent(base):  # type: ignore[misc, valid-type]
        """An agent that may look closer before it answers."""

        INTERLEAVE = True
        VIDEO_LLM = True
        is_api = False

        def __init__(self, model: str = "tiny/clean", **options: Any) -> None:
            super().__init__()
            self.agent = Agent(model, **options)
            self.asked = 0

        def use_custom_prompt(self, dataset: str) -> bool:
            """The kit's own wording is taken."""
            return False

        def generate_inner(
            self, message: Sequence[Mapping[str, Any]], dataset: str | None = None
        ) -> str:
            """The answer to one message."""
            self.asked += 1
            name = f"{dataset or 'message'}-{self.asked}"
            (episode,) = self.agent.answer([Asked(name, parts_of(message))])
            return said(episode)

    return VToolAgent


def parts_of(message: Sequence[Mapping[str, Any]]) -> tuple[Any, ...]:
    """A message of the kit as a prompt.

    Raises:
        DataError: An item of a kind that it does not name.
    """
    parts = []
    for item in message:
        kind, value = item.get("type"), item.get("value")
        if kind == "text":
            parts.append(str(value))
        elif kind in ("image", "video"):
            parts.append(part_of(value))
        else:
            raise DataError(f"expected items of type text, image or video, got {kind!r}")
    return tuple(parts)
