"""The show_depth tool: a depth map as a picture that a model can read."""

from __future__ import annotations

from vtool.errors import FaultCode, ModelFault
from vtool.store import DepthMap
from vtool.tool import Observation, Way, tool

from .backends.colormap import DIRECTION, number, render, says_direction, spread


@tool
@says_direction
def show_depth(depth: DepthMap) -> Observation:
    """Show a depth map in colours, with a scale bar: {DIRECTION}.

    Places on the picture part of the result lead back to the depth map and to what it was made
    from; places on the scale bar lead nowhere.

    Args:
        depth: Depth map to show.
    """
    known = float(depth.valid.mean())
    if not known:
        raise ModelFault(
            FaultCode.BAD_ARGS, "no pixel of this depth map has a depth", field="depth"
        )
    picture, cell = render(depth)
    near, far = spread(depth)
    unit = " m" if depth.metric else " (relative, no unit)"
    text = (
        f"{DIRECTION}. Colours span {number(near)} to {number(far)}{unit}; depth is known for "
        f"{known:.1%} of the picture."
    )
    return Observation((picture,), text, ways=((Way(depth, cell=cell),),))
