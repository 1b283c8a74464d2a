"""A picture from the visitor, handed on as a file: only our own bounded reader opens it."""

from __future__ import annotations

from typing import Any

import gradio as gr


def picture_input(label: str, name: str, *, height: int = 176, scale: int | None = None) -> Any:
    """A component that takes an upload or a paste, and gives its path.

    Args:
        label: Above it.
        name: Element id.
        height: In pixels.
        scale: Share of the row.
    """
    made = gr.Image(
        label=label,
        type="filepath",
        sources=["upload", "clipboard"],
        height=height,
        scale=scale,
        min_width=140,
        elem_id=name,
        buttons=[],
    )
    # Gradio would decode it here, whatever its size.
    made.preprocess = _path  # type: ignore[method-assign, assignment]
    return made


def _path(payload: Any) -> str | None:
    return payload.path if payload is not None else None
