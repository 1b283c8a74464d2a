"""Several attempts at one question, and the answer that most of them gave."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from vtool.environment import Environment
from vtool.programs.branch import branch
from vtool.record import Episode
from vtool.seat import Seat


def alike(answer: str) -> str:
    """Answers that count as one: case and space do not matter, nor a full stop at the end."""
    return " ".join(answer.casefold().split()).rstrip(".")


def majority(
    answers: Sequence[str | None], same: Callable[[str], str] = alike
) -> tuple[int, dict[str, int]]:
    """The attempt that speaks for the most, and the votes.

    Args:
        answers: Of each attempt; None where it gave none, which is no vote.
        same: Answers with equal values of it count as one.

    Returns:
        Index of the first attempt that gave the winning answer (0 where nobody answered), and
        votes by answer. Of equal counts the answer that was given first wins.
    """
    votes: dict[str, int] = {}
    first: dict[str, int] = {}
    for i, answer in enumerate(answers):
        if answer is not None:
            name = same(answer)
            votes[name] = votes.get(name, 0) + 1
            first.setdefault(name, i)
    if not votes:
        return 0, {}
    best = max(votes, key=lambda name: (votes[name], -first[name]))
    return first[best], votes


async def vote(
    env: Environment,
    seats: Mapping[str, Seat],
    *,
    key: tuple[int, ...] = (0,),
    k: int = 4,
    same: Callable[[str], str] = alike,
    seat: str = "policy",
) -> Episode:
    """Play `k` attempts from the same opening and answer what most of them answer.

    Args:
        env: A fresh environment that can be forked.
        seats: Who plays, by name; greedy attempts would all be alike.
        key: Seeds all draws; each attempt draws its own.
        k: Attempts.
        same: Answers with equal values of it count as one.
        seat: The seat that plays.

    Returns:
        All attempts on one record. Its leaf is the first that gave the winning answer; the votes
        are in its verdicts.

    Raises:
        ForkRefused: The environment cannot be forked.
    """
    episode = await branch(env, seats, key=key, after=0, width=k, seat=seat)
    leaves = episode.leaves()
    if not leaves:
        return episode
    chosen, votes = majority([leaf.answer for leaf in leaves], same)
    won = leaves[chosen]
    episode.leaf, episode.stop, episode.answer = won.leaf, won.stop, won.answer
    episode.verdicts["votes"] = dict(votes)
    return episode
