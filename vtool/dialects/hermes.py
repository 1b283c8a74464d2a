"""The Hermes form, as the Qwen families write calls.

A call is `<tool_call>` JSON `</tool_call>`; a turn may hold several. Results come in one user
turn, each in its own `<tool_response>`. Pictures have numbers, in order of arrival over the
whole episode.

Source: the published chat templates of Qwen2.5-VL and Qwen3-VL.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from vtool.dialects.base import Control, Piece, ShownSize, TurnStyle
from vtool.dialects.jsontext import read_json, write_json
from vtool.dialects.scanner import Scanner
from vtool.dialects.turn import Tags, TurnStream, read_turn
from vtool.dialects.wording import check_readable, joined, said, split_marks
from vtool.errors import FaultCode, ModelFault, StoreError, nearest
from vtool.geometry import Convention, Units
from vtool.media import Clip, Image
from vtool.message import Action, Json, Message, Text, ToolCall
from vtool.store import Entry, Store
from vtool.toolspec import ToolSpec

PREAMBLE = "# Tools\n\nThese functions may be called, one JSON schema a line:"
CLOSING = (
    "To call a function, write its name and arguments as JSON between these tags, "
    "once for each call:"
)


@dataclass(frozen=True, slots=True)
class Hermes:
    """A `Dialect`; see there for what each member promises.

    Args:
        max_parallel: Calls a turn may hold.
        coordinates: How boxes and points are written.
        base: Number of the first picture, 0 or 1.
        label: How a picture is named, with `{n}` for its number, such as `img_{n}`; None names
            it by the number itself.
        parameters_key: Key of a call's arguments (`parameters` in some released models).
        answer_tag: Tag of the answer; None takes the words of a turn without call as answer.
        preamble: Words before the schemas in the system prompt; give a released model its own.
        closing: Words after them.
    """

    max_parallel: int = 4
    coordinates: Convention = field(default_factory=lambda: Convention(Units.THOUSAND))
    base: int = 1
    label: str | None = None
    parameters_key: str = "arguments"
    answer_tag: str | None = "answer"
    preamble: str = PREAMBLE
    closing: str = CLOSING
    name: str = "hermes"
    style: TurnStyle = TurnStyle.USER
    stops: tuple[str, ...] = ()
    controls: tuple[str, ...] = ("<tool_call>", "</tool_call>")

    @property
    def tags(self) -> Tags:
        """Tag names."""
        return Tags("tool_call", self.answer_tag)

    def system(self, specs: Sequence[ToolSpec]) -> str | None:
        """The system prompt that announces the tools, or None for none."""
        return joined(self.announce(specs)) or None

    def announce(self, specs: Sequence[ToolSpec]) -> tuple[Piece, ...]:
        """The system prompt in pieces."""
        if not specs:
            return ()
        picture = "number of the picture" if self.label is None else "name of the picture"
        schemas = "\n".join(write_json(s.schema(self.coordinates, picture)) for s in specs)
        shape = f'\n{{"name": <function name>, "{self.parameters_key}": <object>}}\n'
        return (
            Text(f"{self.preamble}\n<tools>\n{schemas}\n</tools>\n\n{self.closing}\n"),
            Control("<tool_call>"),
            Text(shape),
            Control("</tool_call>"),
            *self._announce_answer(),
        )

    def parse(self, text: str, *, finished: bool = True) -> Action:
        """Read a turn."""
        scanner = Scanner(self.tags.names)
        scanner.feed(text)
        return read_turn(scanner.close(), self.tags, self.read_call, finished=finished)

    def stream(self) -> TurnStream:
        """Reads a turn while it is written."""
        return TurnStream(self.tags, self.read_call)

    def write(self, action: Action) -> tuple[Piece, ...]:
        """Write a turn."""
        says: list[tuple[Piece, ...]] = [(Text(action.thought),)] if action.thought else []
        says += [self._call(call) for call in action.calls]
        if action.answer is not None:
            says.append(self._answer(action.answer))
        pieces = tuple(p for i, s in enumerate(says) for p in ((Text("\n"), *s) if i else s))
        check_readable(action, pieces, self)
        return pieces

    def split(self, text: str) -> tuple[Piece, ...]:
        """A turn as written, its tags as `Control`."""
        return split_marks(text, self.tags.marks)

    def observe(
        self, replies: Sequence[Message], store: Store, shown: ShownSize | None = None
    ) -> tuple[Piece, ...]:
        """One `<tool_response>` a message."""
        out: list[Piece] = []
        for message in replies:
            out += [Control("\n<tool_response>\n" if out else "<tool_response>\n")]
            out += [*said(message, self, store, shown), Control("\n</tool_response>")]
        return tuple(out)

    def picture_name(self, handle: str, store: Store) -> str | int:
        """Number (or label) of a picture or clip."""
        handles = [e.handle for e in visuals(store)]
        if handle not in handles:
            raise StoreError(f"no picture {handle!r} here{nearest(handle, handles)}")
        return self._named(handles.index(handle) + self.base)

    def picture(self, name: object, store: Store) -> str:
        """Handle of the picture that a call names."""
        entries = visuals(store)
        known = [self._named(i + self.base) for i in range(len(entries))]
        for entry, other in zip(entries, known, strict=True):
            if type(name) is type(other) and name == other:
                return entry.handle
        raise unknown_picture(name, known)

    def read_call(self, body: str) -> tuple[str, Mapping[str, Json]]:
        """Name and arguments of a call.

        Raises:
            ModelFault: `bad_json`, `too_large`, or `bad_args` where the object lacks its parts.
        """
        call = read_json(body)
        key = self.parameters_key
        if not isinstance(call, dict) or set(call) != {"name", key}:
            raise ModelFault(
                FaultCode.BAD_ARGS,
                f'a call is an object with exactly "name" and "{key}", got {shape_of(call)}',
            )
        name, arguments = call["name"], unwrap(call[key])
        if not isinstance(name, str):
            raise ModelFault(FaultCode.BAD_ARGS, '"name" must be a string', field="name")
        if not isinstance(arguments, dict):
            raise ModelFault(FaultCode.BAD_ARGS, f'"{key}" must be an object', field=key)
        return name, arguments

    def _call(self, call: ToolCall) -> tuple[Piece, ...]:
        body = write_json({"name": call.name, self.parameters_key: dict(call.arguments)})
        return (Control("<tool_call>"), Text(f"\n{body}\n"), Control("</tool_call>"))

    def _answer(self, answer: str) -> tuple[Piece, ...]:
        if self.answer_tag is None:
            return (Text(answer),)
        return (Control(f"<{self.answer_tag}>"), Text(answer), Control(f"</{self.answer_tag}>"))

    def _announce_answer(self) -> tuple[Piece, ...]:
        if self.answer_tag is None:
            return ()
        return (Text("\n\nGive the final answer so:\n"), *self._answer("..."))

    def _named(self, number: int) -> str | int:
        return number if self.label is None else self.label.format(n=number)


def unwrap(arguments: Json) -> Json:
    """Arguments given as a JSON string (the OpenAI shape) are decoded, as strictly."""
    return read_json(arguments) if isinstance(arguments, str) else arguments


def visuals(store: Store) -> list[Entry]:
    """Pictures and clips of an episode, in order of arrival."""
    return [e for e in store if isinstance(e.value, Image | Clip)]


def unknown_picture(name: object, known: Sequence[str | int]) -> ModelFault:
    """The fault of a name that no picture has."""
    came = repr(name)
    listed = ", ".join(str(k) for k in known[:8]) + (", ..." if len(known) > 8 else "")
    return ModelFault(
        FaultCode.UNKNOWN_IMAGE,
        f"there is no picture {came if len(came) <= 40 else came[:37] + '...'}",
        hint=f"pictures: {listed}" if known else "there is no picture",
    )


def shape_of(value: Json) -> str:
    """A value's kind in a few words, for faults."""
    if isinstance(value, dict):
        return f"keys {sorted(value)[:5]}"
    return {list: "a list", str: "a string", type(None): "null"}.get(type(value), "a value")
