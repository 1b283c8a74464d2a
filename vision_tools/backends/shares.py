"""Numbers that people write into a detector's settings, checked when they write them."""

from __future__ import annotations

from vtool.errors import RecipeError
from vtool.tool import Settings


def check_shares(tool: str, settings: Settings, *names: str) -> None:
    """Refuse numbers outside 0 to 1; settings left out are fine.

    Raises:
        RecipeError: Names the setting.
    """
    for name in names:
        value = getattr(settings, name)
        if value is not None and not 0 <= value <= 1:
            raise RecipeError(f"{tool}.{name} needs a number from 0 to 1, got {value}")


def check_counts(tool: str, settings: Settings, *names: str) -> None:
    """Refuse counts below one.

    Raises:
        RecipeError: Names the setting.
    """
    for name in names:
        if getattr(settings, name) < 1:
            raise RecipeError(f"{tool}.{name} needs at least 1, got {getattr(settings, name)}")
