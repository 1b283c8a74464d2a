"""What people may write into a tool's settings, checked when they write it."""

from __future__ import annotations

import math

from vtool.errors import RecipeError
from vtool.tool import Settings


def positive(tool: str, settings: Settings, *names: str) -> None:
    """Refuse numbers that are not finite and above zero; settings left out are fine.

    Raises:
        RecipeError: Names the setting.
    """
    for name in names:
        value = getattr(settings, name)
        if value is not None and not (math.isfinite(value) and value > 0):
            raise RecipeError(f"{tool}.{name} needs a number above 0, got {value}")
