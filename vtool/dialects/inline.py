"""Grounding inside the assistant's turn: look, read the observation, go on.

The one action is to look at a box: `<grounding>{"bbox_2d": [...], "source": ...}</grounding>`,
in shares of the side, with pictures named `original_image` and `observation_1` on. The turn
stops there, the observation is put into it, and the policy goes on in the same turn.

Source: Mini-o3 (2025) for the call and its names; Thyme (2025) for output inside the turn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from vtool.dialects.base import Control, Piece, ShownSize, TurnStyle
from vtool.dialects.hermes import shape_of, unknown_picture, visuals
from vtool.dialects.jsontext import read_json, write_json
from vtool.dialects.scanner import Scanner
from vtool.dialects.turn import Tags, TurnStream, read_turn
from vtool.dialects.wording import check_readable, joined, said, split_marks
from vtool.errors import FaultCode, ModelFault, RecordError, StoreError, nearest
from vtool.geometry import Convention, Units
from vtool.message import Action, Json, Message, Text, ToolCall
from vtool.store import Store
from vtool.toolspec import Kind, ToolSpec

_TAGS = Tags("grounding")


@dataclass(frozen=True, slots=True)
class Inline:
    """A `Dialect`; see there for what each member promises.

    Args:
        tool: Name of the tool that a grounding calls.
        image: Its argument for the picture.
        box: Its argument for the place.
        coordinates: How boxes are written.
        base: Number of the first observation.
    """

    tool: str = "zoom"
    image: str = "image"
    box: str = "box"
    coordinates: Convention = field(default_factory=lambda: Convention(Units.UNIT))
    base: int = 1
    name: str = "inline"
    style: TurnStyle = TurnStyle.INLINE
    max_parallel: int = 1
    stops: tuple[str, ...] = ("</grounding>",)
    controls: tuple[str, ...] = ("<grounding>", "</grounding>")

    def system(self, specs: Sequence[ToolSpec]) -> str | None:
        """The system prompt that announces the tool, or None for none."""
        return joined(self.announce(specs)) or None

    def announce(self, specs: Sequence[ToolSpec]) -> tuple[Piece, ...]:
        """The system prompt in pieces.

        Raises:
            RecordError: A tool that this dialect has no words for.
        """
        if not specs:
            return ()
        for spec in specs:
            self._check_tool(spec)
        shape = f'{{"bbox_2d": {self.coordinates.describe()}, "source": <name of a picture>}}'
        return (
            Text(f"{specs[0].description}\nTo do so, write:\n"),
            Control("<grounding>"),
            Text(shape),
            Control("</grounding>"),
            Text(
                "\nThe first picture is original_image; what you are shown later is "
                f"observation_{self.base} and so on.\nGive the final answer so:\n"
            ),
            Control("<answer>"),
            Text("..."),
            Control("</answer>"),
        )

    def parse(self, text: str, *, finished: bool = True) -> Action:
        """Read a turn."""
        scanner = Scanner(_TAGS.names)
        scanner.feed(text)
        return read_turn(scanner.close(), _TAGS, self.read_call, finished=finished)

    def stream(self) -> TurnStream:
        """Reads a turn while it is written."""
        return TurnStream(_TAGS, self.read_call)

    def write(self, action: Action) -> tuple[Piece, ...]:
        """Write a turn."""
        says: list[tuple[Piece, ...]] = [(Text(action.thought),)] if action.thought else []
        says += [self._call(call) for call in action.calls]
        if action.answer is not None:
            says.append((Control("<answer>"), Text(action.answer), Control("</answer>")))
        pieces = tuple(p for i, s in enumerate(says) for p in ((Text("\n"), *s) if i else s))
        check_readable(action, pieces, self)
        return pieces

    def split(self, text: str) -> tuple[Piece, ...]:
        """A turn as written, its tags as `Control`."""
        return split_marks(text, _TAGS.marks)

    def observe(
        self, replies: Sequence[Message], store: Store, shown: ShownSize | None = None
    ) -> tuple[Piece, ...]:
        """One `<observation>` a message."""
        out: list[Piece] = []
        for message in replies:
            out += [Control("\n<observation>"), *said(message, self, store, shown)]
            out += [Control("</observation>")]
        return (*out, Control("\n"))

    def picture_name(self, handle: str, store: Store) -> str:
        """`original_image` for the first picture, then `observation_1` and so on."""
        handles = [e.handle for e in visuals(store)]
        if handle not in handles:
            raise StoreError(f"no picture {handle!r} here{nearest(handle, handles)}")
        return self._named(handles.index(handle))

    def picture(self, name: object, store: Store) -> str:
        """Handle of the picture that a call names."""
        entries = visuals(store)
        known = [self._named(i) for i in range(len(entries))]
        if not isinstance(name, str) or name not in known:
            raise unknown_picture(name, known)
        return entries[known.index(name)].handle

    def read_call(self, body: str) -> tuple[str, Mapping[str, Json]]:
        """Name and arguments of the tool that a grounding calls.

        Raises:
            ModelFault: `bad_json`, `too_large`, or `bad_args` where the object lacks its parts.
        """
        call = read_json(body)
        if not isinstance(call, dict) or set(call) != {"bbox_2d", "source"}:
            raise ModelFault(
                FaultCode.BAD_ARGS,
                f'a grounding is an object with exactly "bbox_2d" and "source", '
                f"got {shape_of(call)}",
            )
        return self.tool, {self.image: call["source"], self.box: call["bbox_2d"]}

    def _call(self, call: ToolCall) -> tuple[Piece, ...]:
        if call.name != self.tool or set(call.arguments) != {self.image, self.box}:
            raise RecordError(
                f"{self.name} has words for {self.tool}({self.image}, {self.box}) only, "
                f"not for {call.name}({', '.join(call.arguments)})"
            )
        body = {"bbox_2d": call.arguments[self.box], "source": call.arguments[self.image]}
        return (Control("<grounding>"), Text(write_json(body)), Control("</grounding>"))

    def _check_tool(self, spec: ToolSpec) -> None:
        kinds = {p.name: p.kind for p in spec.params}
        if spec.name != self.tool or kinds != {self.image: Kind.IMAGE, self.box: Kind.BOX}:
            raise RecordError(
                f"{self.name} has words for {self.tool}({self.image}, {self.box}) only: offer no "
                f"{spec.name}, or choose another dialect"
            )

    def _named(self, index: int) -> str:
        return "original_image" if index == 0 else f"observation_{index - 1 + self.base}"
