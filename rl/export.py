"""Trained weights as a folder that plain transformers and every command of vtool load."""

from __future__ import annotations

import shutil
from pathlib import Path

from vtool.families.vlm import VLM

BESIDE = (
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
    "generation_config.json",
    "vtool.json",
)
"""Files that go along unchanged from the checkpoint with which training began."""


def export_checkpoint(vlm: VLM, source: Path, folder: Path) -> None:
    """Write weights and configuration, and copy what training did not change.

    Args:
        vlm: The trained model.
        source: Folder of the checkpoint that it began with.
        folder: Where to write; made if missing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    vlm.save(folder)
    for name in BESIDE:
        if (source / name).is_file() and not (folder / name).is_file():
            shutil.copyfile(source / name, folder / name)
