"""Turns that are cut in the middle and go on later: a path that may draw only so many tokens now.

A cut turn leaves a policy segment without a message; the rest of the turn, perhaps by newer
weights, is a segment of its own that holds the message of the whole. Each piece keeps its
behaviour log-probs and its weight version.

Source: partial rollouts as in AgentMath (cut at a quota, resumed in the next iteration).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from vtool.engines.base import Completion
from vtool.message import Author
from vtool.record import CallSpan, Context, Finish, Sampling, Segment, StopReason
from vtool.render import Act, Continue, Next, Renderer


@dataclass(slots=True)
class Quota:
    """Tokens that a path may still draw.

    Args:
        left: How many.
        stop: What it comes to when they are used up: `SUSPENDED` cuts the path, to be gone on
            with later; anything else ends it.
    """

    left: int
    stop: StopReason = StopReason.SUSPENDED

    @property
    def cuts(self) -> bool:
        """Whether a path is to go on later."""
        return self.stop is StopReason.SUSPENDED


def pieces(context: Context) -> tuple[Segment, ...]:
    """The cut beginning of a turn at the end of a context; empty if no turn is open."""
    found: list[Segment] = []
    for segment in reversed(context.segments):
        if segment.author is not Author.POLICY or segment.messages:
            break
        if segment.finish is not Finish.LENGTH:
            break
        found.append(segment)
    return tuple(reversed(found))


def draws_so_far(contexts: Sequence[Context]) -> int:
    """Completions that were begun along a path; a turn that was cut counts once."""
    count, cut = 0, False
    for context in contexts:
        for segment in context.segments[context.shared :]:
            if segment.author is Author.POLICY:
                count += not cut
                cut = not segment.messages and segment.finish is Finish.LENGTH
    return count


def cut_segment(context: Context, completion: Completion, sampling: Sampling) -> Segment:
    """A completion that the quota cut: tokens without a message yet."""
    return Segment(
        author=Author.POLICY,
        turn=context.turn,
        ids=np.array(completion.ids, np.int32),
        logprobs=np.array(completion.logprobs, np.float32),
        sampling=sampling,
        version=completion.version,
        finish=Finish.LENGTH,
        top=completion.top,
    )


def read_whole(
    renderer: Renderer, context: Context, completion: Completion, sampling: Sampling
) -> Next:
    """Read the last piece of a turn together with those that were drawn before.

    A call that lies wholly in an earlier piece has no span in the last one; one that begins
    there has its span cut to the tokens of the last piece.
    """
    earlier = pieces(context)
    if not earlier:
        return renderer.next(context, completion, sampling)
    before = context.segments[: -len(earlier)]
    open_turn = Context(context.number, context.seat, context.store, context.edge, before)
    step = renderer.next(open_turn, _joined(earlier, completion), sampling)
    length = sum(len(s) for s in earlier)
    if isinstance(step, Act):
        return Act(_rest(step.segment, length), step.action)
    first, *others = step.segments
    return Continue((_rest(first, length), *others), step.sampling)


def _joined(earlier: Sequence[Segment], completion: Completion) -> Completion:
    ids = [s.ids for s in earlier if s.ids is not None]
    logprobs = [s.logprobs for s in earlier if s.logprobs is not None]
    return Completion(
        ids=np.concatenate([*ids, completion.ids]).astype(np.int32),
        logprobs=np.concatenate([*logprobs, completion.logprobs]).astype(np.float32),
        finish=completion.finish,
        version=completion.version,
        top=tuple(row for part in (*(s.top for s in earlier), completion.top) for row in part),
    )


def _rest(segment: Segment, length: int) -> Segment:
    assert segment.ids is not None
    assert segment.logprobs is not None
    spans = tuple(
        CallSpan(c.call, max(0, c.start - length), c.end - length)
        for c in segment.call_spans
        if c.end > length
    )
    return replace(
        segment,
        ids=segment.ids[length:],
        logprobs=segment.logprobs[length:],
        call_spans=spans,
        top=segment.top[length:],
    )
