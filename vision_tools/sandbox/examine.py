"""What `vtool doctor` says of the boundary: whether it holds, and which bounds do."""

from __future__ import annotations

from vtool.doctor import Finding, State

from .boundary import Boundary
from .limits import bounds


def examine() -> list[Finding]:
    """One line: the boundary's state, and what is bounded beside each process."""
    if lack := Boundary().lack(None):
        detail = f"without {lack.what}: the tool `python` is absent"
        return [Finding("sandbox", State.ABSENT, detail, lack.fix)]
    held = bounds()
    whole = [n for n, holds in (("memory", held.memory), ("processes", held.processes)) if holds]
    each = "no network, no host files; time, memory and disk bounded for each process"
    if held.memory:
        return [Finding("sandbox", State.OK, f"{each}; {' and '.join(whole)} for the whole guest")]
    detail = f"{each}; memory of all its processes together is not: no control group can be made"
    return [Finding("sandbox", State.WARN, detail, "run where cgroups can be written")]
