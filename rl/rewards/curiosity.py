"""Group-scoped tool bonuses."""

from __future__ import annotations

from collections.abc import Sequence

from vtool.record import Episode
from vtool.reward import Scope, reward
from vtool.task import Task

TARGET_RATE = 0.3
SCALE = 0.5


@reward("curiosity_tool_rate", scope=Scope.GROUP)
def curiosity_tool_rate(episodes: Sequence[Episode], task: Task) -> list[float]:
    """A bonus for tool users while few of their group use tools: `0.5 max(0, 0.3 - rate)`.

    Source: Pixel-Reasoner's curiosity reward, as ported in verl-tool (H = 0.3, alpha = 0.5).
    """
    used = [any(a.calls for a in e.actions()) for e in episodes]
    rate = sum(used) / len(used)
    return [SCALE * max(0.0, TARGET_RATE - rate) if u else 0.0 for u in used]
