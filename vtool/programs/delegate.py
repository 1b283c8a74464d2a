"""Sub-agents: a call is answered by another seat, in a spawned context on the same record."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from vtool.environment import Environment
from vtool.errors import FaultCode, ModelFault
from vtool.message import Author, Message, Outcome, Role, Text, ToolCall
from vtool.programs.solo import Handler, Player
from vtool.record import Context, Episode, Spawn
from vtool.seat import Seat
from vtool.toolbox import refusal

ChildMaker = Callable[[ToolCall, Context], Environment]
"""Makes the child's environment from the call and from where it was made.

Raises `ModelFault` where the call cannot be delegated as it stands.
"""


def delegate(
    seats: Mapping[str, Seat], seat: str, make: ChildMaker, *, key: tuple[int, ...] = (0,)
) -> Handler:
    """A handler for `play(handlers=...)` that lets another seat answer a call.

    The child plays in a context tied to the parent by `Spawn`; its answer is the observation.

    Args:
        seats: Who plays.
        seat: The seat that answers.
        make: Makes the child's environment.
        key: Seeds the child's draws, with the place of the call.
    """

    async def handle(call: ToolCall, index: int, context: Context, episode: Episode) -> Message:
        turn = context.turn - 1
        try:
            env = make(call, context)
        except ModelFault as fault:
            return refusal(fault, call)
        child = Player(env, seats[seat], episode, (*key, turn, index), {}, None)
        await child.run(Spawn(context.number, turn, index))
        assert child.context is not None
        answer = child.context.answer
        if answer is None:
            lost = ModelFault(
                FaultCode.LIMIT, f"the helper ended without an answer ({child.context.stop})"
            )
            return refusal(lost, call)
        return Message(
            role=Role.TOOL,
            parts=(Text(answer),),
            author=Author.TOOL,
            outcomes=(Outcome(call=call),),
        )

    return handle
