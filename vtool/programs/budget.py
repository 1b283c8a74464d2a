"""A budget of calls and tokens that the policy is told of every turn, and held to.

After each result stands what is used and what remains of every tool, how that is (high from 70 %,
medium from 30, low from 10, critical below) and what to do about it. A call beyond the budget is
refused with an observation; once the tokens are spent, every call is, and the next turn that is
no answer ends the episode.

Source: Budget-Aware Tool Use (BATS): budget tracker and unified cost. The bounds of the levels
are not in what we could read of the paper: they are ours to state, and yours to set.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from vtool.dialects.base import Dialect
from vtool.environment import Environment, Reply
from vtool.errors import FaultCode, ModelFault, RecipeError
from vtool.message import Action, Author, Json, Message, Text
from vtool.record import Context, Episode, StopReason
from vtool.store import Store
from vtool.task import Task
from vtool.toolbox import refusal
from vtool.toolspec import ToolSpec
from vtool.workspace import runtime_of

ANY = "*"
"""In `Budget.calls`: all tools together."""

LEVELS: tuple[tuple[float, str, str], ...] = (
    (0.7, "high", "look around"),
    (0.3, "medium", "look where it matters"),
    (0.1, "low", "verify only what decides"),
    (0.0, "critical", "answer unless one look decides"),
)
"""Least share that remains, its name, advice; falling."""

SPENT = "nothing is left: answer now"


@dataclass(frozen=True, slots=True)
class Budget:
    """What an attempt may use.

    Args:
        calls: Calls by tool; ``*`` for all tools together. Tools that are not named are free.
        tokens: Tokens that the policy may write; None for any number.
        levels: Least share, name and advice of each level, falling, the last from 0.
    """

    calls: Mapping[str, int] = field(default_factory=dict)
    tokens: int | None = None
    levels: tuple[tuple[float, str, str], ...] = LEVELS

    def __post_init__(self) -> None:
        if any(n < 0 for n in self.calls.values()) or (self.tokens is not None and self.tokens < 1):
            raise RecipeError(
                f"a budget needs counts from 0 and tokens from 1, got {dict(self.calls)} and "
                f"{self.tokens}"
            )
        shares = [share for share, _, _ in self.levels]
        if not shares or shares != sorted(shares, reverse=True) or shares[-1] != 0.0:
            raise RecipeError(f"levels fall from the highest share to 0, got {shares}")

    def to_json(self) -> dict[str, Json]:
        """For a task's tags."""
        return {"calls": dict(self.calls), "tokens": self.tokens}


@dataclass(slots=True)
class Tally:
    """What has been used of a budget.

    Args:
        budget: The whole.
        calls: Calls by the budget's names.
        tokens: Tokens.
    """

    budget: Budget
    calls: dict[str, int] = field(default_factory=dict)
    tokens: int = 0

    @property
    def spent(self) -> bool:
        """Whether no token is left."""
        return self.budget.tokens is not None and self.tokens >= self.budget.tokens

    def left(self, name: str) -> int:
        """Calls that remain of a name in the budget; never below 0."""
        return max(0, self.budget.calls[name] - self.calls.get(name, 0))

    def take(self, tool: str) -> str | None:
        """Count a call; answers the name that has nothing left, and then counts nothing."""
        names = [n for n in (tool, ANY) if n in self.budget.calls]
        short = next((n for n in names if self.left(n) == 0), None)
        if short is None:
            for name in names:
                self.calls[name] = self.calls.get(name, 0) + 1
        return short

    def level(self, used: int, whole: int) -> tuple[str, str]:
        """Name and advice for so much used of so much."""
        share = max(0, whole - used) / whole if whole else 0.0
        if share == 0.0:
            return "spent", SPENT
        return next((name, told) for least, name, told in self.budget.levels if share >= least)

    def text(self) -> str:
        """The tracker's lines."""
        rows = [
            (f"calls of {n}" if n != ANY else "calls", self.calls.get(n, 0), whole)
            for n, whole in self.budget.calls.items()
        ]
        if self.budget.tokens is not None:
            rows.append(("tokens", self.tokens, self.budget.tokens))
        lines = []
        for what, used, whole in rows:
            name, advice = self.level(used, whole)
            left = max(0, whole - used)
            lines.append(f"{what}: {used} used, {left} left of {whole} ({name}: {advice})")
        return "Budget. " + "; ".join(lines)


class BudgetedEnvironment:
    """Any environment, under a budget.

    Args:
        env: What is played.
        budget: What may be used of it.
    """

    def __init__(self, env: Environment, budget: Budget) -> None:
        self._env, self.tally = env, Tally(budget)
        self.task: Task = env.task
        self.limits = env.limits

    @property
    def store(self) -> Store:
        """The environment's."""
        return self._env.store

    @property
    def specs(self) -> tuple[ToolSpec, ...]:
        """Tools on offer."""
        return self._env.specs

    @property
    def runtime(self) -> dict[str, Json]:
        """The environment's contract, and the budget."""
        return {**runtime_of(self._env), "budget": self.tally.budget.to_json()}

    async def reset(self) -> tuple[Message, ...]:
        """Begin; the question is followed by the whole budget."""
        return self._told(await self._env.reset())

    async def reply(
        self,
        action: Action,
        context: Context,
        dialect: Dialect,
        answered: Mapping[int, Message] | None = None,
    ) -> Reply:
        """Answer a turn; calls beyond the budget are refused."""
        late = self.tally.spent
        self.tally.tokens += _written(context)
        if late and action.answer is None:
            return Reply((), StopReason.MAX_TOKENS, {"budget": self._state()})
        others = {**(answered or {}), **self._refused(action)}
        reply = await self._env.reply(action, context, dialect, others)
        verdicts = {**reply.verdicts, "budget": self._state()}
        if reply.stop is not None:
            return replace(reply, verdicts=verdicts)
        return Reply(self._told(reply.messages), None, verdicts)

    async def fork(self) -> BudgetedEnvironment:
        """The same state, with as much used."""
        other = BudgetedEnvironment(await self._env.fork(), self.tally.budget)
        other.tally = Tally(self.tally.budget, dict(self.tally.calls), self.tally.tokens)
        return other

    async def close(self) -> None:
        """Give back what it holds."""
        await self._env.close()

    def _refused(self, action: Action) -> dict[int, Message]:
        found = {}
        for i, call in enumerate(action.calls):
            short = "tokens" if self.tally.spent else self.tally.take(call.name)
            if short is not None:
                what = {"tokens": "no tokens are left", ANY: "no calls are left"}
                said = what.get(short, f"no calls of {short} are left")
                fault = ModelFault(FaultCode.LIMIT, said, hint="answer now")
                found[i] = refusal(fault, call)
        return found

    def _told(self, messages: Sequence[Message]) -> tuple[Message, ...]:
        """The messages, the last of the user's or the tools' with the tracker's lines."""
        if not messages:
            return ()
        *rest, last = messages
        return (*rest, replace(last, parts=(*last.parts, Text("\n" + self.tally.text()))))

    def _state(self) -> dict[str, Json]:
        tally = self.tally
        calls: dict[str, Json] = {
            n: [tally.calls.get(n, 0), whole] for n, whole in tally.budget.calls.items()
        }
        return {"calls": calls, "tokens": [tally.tokens, tally.budget.tokens]}


def _written(context: Context) -> int:
    """Tokens that the policy wrote in the context's last turn."""
    turn = context.turn - 1
    return sum(len(s) for s in context.segments if s.author is Author.POLICY and s.turn == turn)


def unified_cost(
    episode: Episode, *, token_price: float = 0.0, prices: Mapping[str, float] | None = None
) -> float:
    """What an attempt cost: tokens that the policy wrote, and calls by tool.

    Args:
        episode: The attempt.
        token_price: Of a token.
        prices: Of a call, by tool; ``*`` for tools that are not named.

    Source: BATS: token cost plus the sum of calls times their price.
    """
    table = prices or {}
    made = [o.call.name for o in episode.outcomes() if o.call is not None]
    tokens = int(episode.final.mask().sum()) if episode.final.has_tokens else 0
    return tokens * token_price + sum(table.get(n, table.get(ANY, 0.0)) for n in made)
