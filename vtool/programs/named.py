"""Programs by name: what evaluation and demo may choose to play an attempt with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from vtool.environment import Environment
from vtool.programs.branch import branch
from vtool.programs.budget import Budget, BudgetedEnvironment
from vtool.programs.solo import play
from vtool.programs.vote import vote
from vtool.record import Episode
from vtool.registry import Registry
from vtool.seat import Seat


class Program(Protocol):
    """Plays one attempt, whatever it takes, to one answer."""

    async def __call__(
        self,
        env: Environment,
        seats: Mapping[str, Seat],
        *,
        key: tuple[int, ...] = (0,),
        **options: Any,
    ) -> Episode:
        """Play it."""
        ...


async def budgeted(
    env: Environment,
    seats: Mapping[str, Seat],
    *,
    key: tuple[int, ...] = (0,),
    calls: Mapping[str, int] | None = None,
    tokens: int | None = None,
    seat: str = "policy",
) -> Episode:
    """Play one attempt under a budget.

    Args:
        env: A fresh environment.
        seats: Who plays, by name.
        key: Seeds all draws.
        calls: Calls by tool, ``*`` for all together.
        tokens: Tokens that the policy may write.
        seat: The seat that plays.
    """
    return await play(
        BudgetedEnvironment(env, Budget(calls or {}, tokens)), seats, key=key, seat=seat
    )


programs: Registry[Any] = Registry("program")
"""`Program`s by name; options are their keyword arguments."""

for _name, _program in {
    "solo": play,
    "branch": branch,
    "vote": vote,
    "budgeted": budgeted,
}.items():
    programs.add(_name, _program)
