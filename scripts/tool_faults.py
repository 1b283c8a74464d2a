"""The typed faults that a tool may answer, read from its source and that of what it calls."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator, Mapping
from types import FunctionType, ModuleType

from vtool.errors import FaultCode
from vtool.tool import Tool
from vtool.toolspec import MEDIA_KINDS, VALUE_KINDS, Kind

_WING = "vtool.vision_tools"


def faults(tool: Tool) -> list[tuple[str, str]]:
    """(code, when), those of binding first; the same code may stand several times."""
    return [*_of_binding(tool), *_of_source(tool)]


def _of_binding(tool: Tool) -> Iterator[tuple[str, str]]:
    """What is answered before the tool is called."""
    kinds = {p.kind for p in tool.spec.params}
    yield "bad_args", "an argument is missing, made up, or of another type"
    if kinds & (MEDIA_KINDS | {Kind.IMAGES}):
        yield "unknown_image", "there is no such picture"
    if kinds & VALUE_KINDS:
        yield "bad_args", "there is no value of that name, or it is of another kind"
    if kinds & {Kind.BOX, Kind.BOXES}:
        yield "bad_box", "a box is inverted or has no area"
        yield "box_outside", "a box lies wholly outside its picture"
    if kinds & {Kind.POINT, Kind.POINTS}:
        yield "box_outside", "a point lies outside its picture"
    if Kind.SPAN in kinds:
        yield "bad_window", "a span of time is empty or reversed"
    yield "timeout", f"it did not finish within {tool.spec.seconds:g} s"


def _of_source(tool: Tool) -> list[tuple[str, str]]:
    """What the tool's own code raises, in the order of the calls."""
    found: dict[tuple[str, str], None] = {}
    seen: set[object] = set()
    todo: list[object] = [tool.fn]
    while todo:
        thing = todo.pop(0)
        if thing in seen:
            continue
        seen.add(thing)
        if inspect.isclass(thing):
            todo += [m for m in vars(thing).values() if isinstance(m, FunctionType | classmethod)]
            continue
        function = inspect.unwrap(getattr(thing, "__func__", thing))  # type: ignore[arg-type]
        if function.__code__.co_filename.startswith("<"):
            continue  # written by dataclasses, not by people
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
        found |= dict.fromkeys(_raised(tree, function.__globals__))
        todo += _named(tree, function.__globals__)
    return list(found)


def _raised(tree: ast.AST, names: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    assigned = [n for n in ast.walk(tree) if isinstance(n, ast.Assign)]
    nodes = sorted(assigned, key=lambda n: n.lineno)
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or ast.unparse(node.func) != "ModelFault":
            continue
        code, message = node.args[:2]
        if isinstance(code, ast.Attribute) and code.attr in FaultCode.__members__:
            before = [
                n.value
                for n in nodes
                if n.lineno < node.lineno and ast.unparse(n.targets[0]) == ast.unparse(message)
            ]
            worded = before[-1] if before else message
            yield str(FaultCode[code.attr]), _worded(worded, names)


def _worded(message: ast.expr, names: Mapping[str, object]) -> str:
    """The message with constants filled in and the rest as a word in braces."""
    if isinstance(message, ast.Constant):
        return str(message.value)
    if isinstance(message, ast.Call) and isinstance(message.func, ast.Attribute):
        message = message.func.value  # "...".format(...)
    if not isinstance(message, ast.JoinedStr):
        return "said in its message"
    return "".join(
        str(part.value) if isinstance(part, ast.Constant) else _filled(part, names)
        for part in message.values
    )


def _filled(part: ast.expr, names: Mapping[str, object]) -> str:
    assert isinstance(part, ast.FormattedValue)
    said = ast.unparse(part.value)
    value = names.get(said)
    if isinstance(value, int | float) and not isinstance(value, bool):
        spec = part.format_spec
        return format(value, "".join(c.value for c in spec.values) if spec else "")  # type: ignore
    return f"{{{said}}}" if said.isidentifier() else "{...}"


def _named(tree: ast.AST, names: Mapping[str, object]) -> list[object]:
    """Functions, classes and tools of the wing that this code uses."""
    found: list[object] = []
    for node in ast.walk(tree):
        thing: object = None
        if isinstance(node, ast.Name):
            thing = names.get(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            base = names.get(node.value.id)
            thing = getattr(base, node.attr, None) if isinstance(base, ModuleType) else None
        thing = thing.fn if isinstance(thing, Tool) else thing
        plain = inspect.unwrap(thing) if callable(thing) else None
        is_code = inspect.isclass(plain) or isinstance(plain, FunctionType)
        if is_code and str(getattr(thing, "__module__", "")).startswith(_WING):
            found.append(thing)
    return found
