"""Publish: the learner's weights to whoever draws from them, under a new version."""

from __future__ import annotations

from vtool.engines.base import WeightSink
from vtool.families.adapters import merged_weights
from vtool.families.vlm import VLM


def publish(vlm: VLM, engine: WeightSink, version: int) -> None:
    """Hand weights to an engine; it drops every cache that hangs on the old ones.

    Nothing is copied where the engine runs this very model.

    Args:
        vlm: What was trained.
        engine: What draws.
        version: Of the weights from now on.

    Raises:
        EngineError: The engine's model is another one.
    """
    same = getattr(engine, "vlm", None) is vlm
    weights = () if same else merged_weights(vlm)
    engine.update(weights, version)
