"""A list whose entries come and go: whether a choice is one is for its handler to say."""

from __future__ import annotations

from typing import Any

import gradio as gr


def open_list(choices: list[Any], label: str, **options: Any) -> Any:
    """A dropdown that hands on what was chosen, whatever stood in it when the page was made."""
    made = gr.Dropdown(choices, value=None, label=label, interactive=True, **options)
    made.preprocess = lambda payload: payload  # type: ignore[method-assign, assignment]
    return made
