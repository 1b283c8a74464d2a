"""The `Renderer` for models that read tokens: one family, one tokenizer, one dialect.

Ids of a context are only ever appended. What the policy sampled is kept as sampled; what is
put around it belongs to the next segment, by the template, a tool or the user.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from vtool.chat import ChatTemplate
from vtool.codec import Codec
from vtool.counts import (
    check_controls,
    check_images,
    check_length,
    check_placeholders,
    check_sampled,
    known_ids,
)
from vtool.dialects.base import Control, Dialect, Piece
from vtool.engines.base import Completion, Picture, Prompt
from vtool.errors import GeometryError, ModelFault, RecordError
from vtool.families.base import Family
from vtool.geometry import Size
from vtool.ink import Ink, Written
from vtool.message import Author, Message, Role, Text
from vtool.patch_cache import PatchCache
from vtool.record import Context, Finish, Sampling, Segment
from vtool.refusals import fits, no_room, refused, smaller, too_many
from vtool.render import Act, Next
from vtool.scribe import ENDED, SPEAKS, Scribe, Stand, grouped
from vtool.showing import ClipForm, Showing
from vtool.spans import call_spans, decode_spans, sampled
from vtool.store import Store
from vtool.toolspec import ToolSpec


class TokenRenderer:
    """Writes and reads contexts of one kind of model; a `Renderer`.

    Args:
        family: Cuts pictures, names its placeholder tokens.
        codec: The tokenizer.
        dialect: The wire syntax.
        announce: Whether tools are told in a system prompt.
        chat: Marks of turns, forced opening.
        max_images: Pictures and frames that a context may show.
        max_prompt: Tokens that an opening may have; None for any number.
        patch_cache: Holds patches; give one to several renderers to share it.
        clips: What the frames of clips become.

    Raises:
        CheckpointError: The tokenizer lacks a control token that is needed.
    """

    def __init__(
        self,
        family: Family,
        codec: Codec,
        dialect: Dialect,
        *,
        announce: bool = True,
        chat: ChatTemplate | None = None,
        max_images: int = 128,
        max_prompt: int | None = None,
        patch_cache: PatchCache | None = None,
        clips: ClipForm | str = ClipForm.PICTURES,
    ) -> None:
        self.family, self.codec, self.dialect = family, codec, dialect
        self.max_images, self.max_prompt = max_images, max_prompt
        self.chat = chat or ChatTemplate()
        self.name = f"{family.name}/{dialect.name}"
        form = ClipForm(clips)
        check_controls(codec, family, dialect, self.chat, video=form is ClipForm.VIDEO)
        self.showing = Showing(family, patch_cache, form)
        self.ink = Ink(codec, self.showing)
        self.scribe = Scribe(self.ink, dialect, self.chat, announce)
        self._ends = known_ids(codec, (self.chat.end, *self.chat.stops))
        self.stop_ids = (*self._ends, *self.scribe.stops)
        vision = (family.image_token, family.video_token, family.vision_start, family.vision_end)
        self.forbidden_ids = known_ids(codec, (*vision, self.chat.start))
        self._opening = self.ink.write([Control(self.chat.prompt)], Store()).ids
        refusal = self.scribe.replies([refused(no_room(), ())], self.scribe.cut, Store(), None)
        self.refusal_room = len(self.ink.write(refusal, Store()).ids)
        """Tokens to keep free for the refusal of an observation that does not fit."""

    def begin(
        self, messages: Sequence[Message], specs: Sequence[ToolSpec], store: Store
    ) -> tuple[Segment, ...]:
        """Write the opening of a context, up to where the policy speaks.

        Assistant turns in it (a folded history) belong to the template: nobody learns from
        them here.

        Raises:
            RecordError: `too_many_images`, `limit` or `bad_aspect`: the task itself does not fit.
        """
        segments = tuple(self._transcript(messages, specs, store, Author.TEMPLATE, speaks=True))
        check_images(sum(p.pictures for s in segments for p in s.placements), self.max_images)
        check_length(sum(len(s) for s in segments), self.max_prompt)
        return segments

    def encode(
        self, messages: Sequence[Message], specs: Sequence[ToolSpec], store: Store
    ) -> tuple[Segment, ...]:
        """Make tokens of a foreign transcript; the policy's own turns count as a teacher's."""
        speaks = not messages or messages[-1].role is not Role.ASSISTANT
        return tuple(self._transcript(messages, specs, store, None, speaks=speaks))

    def extend(
        self, context: Context, replies: Sequence[Message], *, room: int | None = None
    ) -> tuple[Segment, ...]:
        """Write what the environment says, up to where the policy speaks again."""
        stand = self._stand(context)
        if stand.speaks:
            raise RecordError("the policy is to speak: there is nothing to reply to yet")
        messages, written = self._fitting(context, replies, stand, room)
        author = messages[0].author if messages else Author.TEMPLATE
        return (_segment(author, max(0, context.turn - 1), messages, written),)

    def write_turn(self, context: Context, message: Message) -> tuple[Segment, ...]:
        """Write an assistant turn that the policy did not sample."""
        stand = self._stand(context)
        segment = self.scribe.turn(message, _foreign(message), context.turn)
        if stand.speaks:
            return (segment,)
        glue = self.ink.write([Control(stand.glue + self.chat.prompt)], context.store)
        return (_segment(Author.TEMPLATE, context.turn, (), glue), segment)

    def next(self, context: Context, completion: Completion, sampling: Sampling) -> Next:
        """Read a completion that continues `context`.

        Raises:
            RecordError: The engine sampled a placeholder.
        """
        ids = sampled(completion)
        check_sampled(ids, self.forbidden_ids)
        ended = len(ids) > 0 and int(ids[-1]) in self._ends
        spoken = ids[:-1] if ended else ids
        text, ends = decode_spans(self.codec.pieces(spoken.tolist()))
        opening = self.chat.opening if self._opened(context) else ""
        finished = completion.finish is Finish.STOP
        action = self.dialect.parse(opening + text, finished=finished)
        message = Message(
            role=Role.ASSISTANT, parts=(Text(action.text),), author=Author.POLICY, action=action
        )
        segment = Segment(
            author=Author.POLICY,
            turn=context.turn,
            messages=(message,),
            ids=ids,
            logprobs=np.array(completion.logprobs, np.float32),
            sampling=sampling,
            version=completion.version,
            finish=completion.finish,
            call_spans=call_spans(action.calls, ends, len(opening)),
            top=completion.top,
        )
        return Act(segment, action)

    def prompt(self, context: Context) -> Prompt:
        """The context as an engine reads it; every count is checked.

        Raises:
            RecordError: A count is off.
        """
        pictures: list[Picture] = []
        at = 0
        for segment in context.segments:
            pictures += self.showing.pictures(segment, at, context.store)
            at += len(segment)
        ids = context.ids()
        check_placeholders(ids, pictures, self.ink.image, self.ink.video)
        return Prompt(ids, tuple(pictures), context.boundaries())

    def _transcript(
        self,
        messages: Sequence[Message],
        specs: Sequence[ToolSpec],
        store: Store,
        author: Author | None,
        *,
        speaks: bool,
    ) -> Iterator[Segment]:
        """Segments of a whole transcript; `author` replaces that of assistant turns."""
        first = messages[0] if messages and messages[0].role is Role.SYSTEM else None
        stand, turn = Stand(""), 0
        if system := self.scribe.system(first, specs):
            rest, stand = messages[1 if first else 0 :], ENDED
            yield self._checked(system, Author.TEMPLATE, 0, [first] if first else [], store)
            messages = rest
        groups, sizes = grouped(messages), dict[str, Size]()
        for i, group in enumerate(groups):
            if group[0].role is Role.ASSISTANT:
                if not stand.speaks:
                    glue = [Control(stand.glue + self.chat.prompt)]
                    yield self._checked(glue, Author.TEMPLATE, turn, (), store)
                segment = self.scribe.turn(group[0], author or _foreign(group[0]), turn)
                yield segment
                turn, stand = turn + 1, self.scribe.after(segment.ids)
                continue
            last = i + 1 == len(groups)
            go_on = speaks if last else groups[i + 1][0].role is Role.ASSISTANT
            pieces, stand = self.scribe.group(group, stand, store, sizes.get, speaks=go_on)
            segment = self._checked(pieces, group[0].author, max(0, turn - 1), group, store)
            sizes |= {p.handle: p.shown for p in segment.placements}
            yield segment
        if speaks and not stand.speaks:
            glue = [Control(stand.glue + self.chat.prompt)]
            yield self._checked(glue, Author.TEMPLATE, turn, (), store)

    def _checked(
        self,
        pieces: Sequence[Piece],
        author: Author,
        turn: int,
        messages: Sequence[Message],
        store: Store,
    ) -> Segment:
        try:
            written = self.ink.write(pieces, store)
            self.ink.check(written, pieces, store)
        except GeometryError as err:
            raise RecordError(f"{err.code}: {err}", err.code) from err
        return _segment(author, turn, messages, written)

    def _fitting(
        self, context: Context, replies: Sequence[Message], stand: Stand, room: int | None
    ) -> tuple[tuple[Message, ...], Written]:
        """The replies whole, or with smaller pictures, or refused."""
        shown, store = sum(p.pictures for p in context.placements()), context.store
        fault = no_room()
        try:
            for tried in self._smaller(replies, store):
                pieces = self.scribe.replies(tried, stand, store, context.shown)
                written = self.ink.write(pieces, store)
                if shown + written.pictures > self.max_images:
                    fault = too_many(self.max_images)
                    break
                if fits(len(written.ids), room):
                    self.ink.check(written, pieces, store)
                    return tried, written
        except GeometryError as err:
            fault = ModelFault(err.code, str(err), hint="choose another part")
        refusal, written = self._refusal(fault, replies, stand, store)
        if not fits(len(written.ids), room):  # room is kept for the shortest refusal only
            return self._refusal(no_room(), replies, stand, store)
        return refusal, written

    def _refusal(
        self, fault: ModelFault, replies: Sequence[Message], stand: Stand, store: Store
    ) -> tuple[tuple[Message, ...], Written]:
        refusal = (refused(fault, replies),)
        return refusal, self.ink.write(self.scribe.replies(refusal, stand, store, None), store)

    def _smaller(self, replies: Sequence[Message], store: Store) -> Iterator[tuple[Message, ...]]:
        shows = [s for m in replies for s in m.shows]
        sizes = [self.showing.size(f) for s in shows for f in self.showing.frames(s, store)]
        most = max((w * h for w, h in sizes), default=0)
        return smaller(replies, most, self.family.spec.min_pixels)

    def _stand(self, context: Context) -> Stand:
        last = context.segments[-1] if context.segments else None
        if last is None or not any(m.role is Role.ASSISTANT for m in last.messages):
            return SPEAKS
        return self.scribe.after(last.ids)

    def _opened(self, context: Context) -> bool:
        """Whether the stream ends with the assistant's header and its forced opening."""
        last = context.segments[-1].ids if context.segments else None
        return last is not None and np.array_equal(last[-len(self._opening) :], self._opening)


def _segment(author: Author, turn: int, messages: Sequence[Message], written: Written) -> Segment:
    return Segment(
        author=author,
        turn=turn,
        messages=tuple(messages),
        ids=written.ids,
        placements=written.placements,
    )


def _foreign(message: Message) -> Author:
    """The author of a turn that was not sampled here."""
    return Author.TEACHER if message.author is Author.POLICY else message.author
