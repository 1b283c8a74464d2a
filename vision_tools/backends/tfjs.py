"""Graph models of TensorFlow.js: a graph in JSON and its weights in one or several files."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vtool.errors import VToolError

Array = NDArray[Any]


class GraphError(VToolError, ValueError):
    """A graph model that contradicts itself, or uses what is not known here."""


@dataclass(frozen=True, slots=True)
class Node:
    """One operation.

    Args:
        name: Its name; output k > 0 is called `name:k`.
        op: What it does, by TensorFlow's name.
        inputs: Names of values, in order.
        attributes: As they stand in the file.
    """

    name: str
    op: str
    inputs: tuple[str, ...]
    attributes: Mapping[str, Any]

    def integers(self, key: str) -> list[int]:
        """A list attribute, such as `strides`."""
        return [int(i) for i in self.attributes.get(key, {}).get("list", {}).get("i", [])]

    def number(self, key: str, default: float) -> float:
        """A float attribute."""
        return float(self.attributes.get(key, {}).get("f", default))

    def flag(self, key: str) -> bool:
        """A boolean attribute; false where left out."""
        return bool(self.attributes.get(key, {}).get("b", False))

    def word(self, key: str, default: str = "") -> str:
        """A string attribute; they are base64 in the file."""
        raw = self.attributes.get(key, {}).get("s")
        return base64.b64decode(raw).decode() if raw is not None else default


@dataclass(frozen=True, slots=True)
class Graph:
    """A graph model.

    Args:
        nodes: Every operation but the constants, each after what it reads.
        constants: Values by name; 32- and 64-bit integers alike are int64, numbers float32.
        inputs: Shapes by name.
        outputs: Shapes of the values asked for, by name.
    """

    nodes: tuple[Node, ...]
    constants: Mapping[str, Array]
    inputs: Mapping[str, tuple[int, ...]]
    outputs: Mapping[str, tuple[int, ...]]


def read_graph(model: bytes, shards: Mapping[str, bytes]) -> Graph:
    """Read a graph model.

    Args:
        model: The JSON file.
        shards: Weight files by the names that the JSON file uses.

    Raises:
        GraphError: Not such a model, a missing shard, weights of a wrong length, a circle.
    """
    try:
        body = json.loads(model)
        nodes = [_node(raw) for raw in body["modelTopology"]["node"]]
        asked = body["signature"]["outputs"]
        outputs = {plain_name(n): _shape(o["tensorShape"]) for n, o in asked.items()}
        weights = _weights(body["weightsManifest"], shards)
    except (KeyError, TypeError, ValueError) as err:
        raise GraphError(f"expected a TensorFlow.js graph model, got one without {err}") from err
    constants = {n.name: _constant(n, weights) for n in nodes if n.op == "Const"}
    inputs = {n.name: _shape(n.attributes["shape"]["shape"]) for n in nodes if n.op in _INPUTS}
    rest = [n for n in nodes if n.op not in ("Const", *_INPUTS)]
    return Graph(_ordered(rest, {*constants, *inputs}), constants, inputs, outputs)


_INPUTS = ("Placeholder",)


def plain_name(name: str) -> str:
    """A value's name without control mark and without `:0`, so that each value has one name."""
    return name.removeprefix("^").removesuffix(":0")


def _node(raw: Mapping[str, Any]) -> Node:
    inputs = tuple(plain_name(i) for i in raw.get("input", ()) if not i.startswith("^"))
    return Node(raw["name"], raw["op"], inputs, raw.get("attr", {}))


def _shape(raw: Mapping[str, Any]) -> tuple[int, ...]:
    return tuple(int(d.get("size", 0)) for d in raw.get("dim", ()))


def _constant(node: Node, weights: Mapping[str, Array]) -> Array:
    if node.name not in weights:
        raise GraphError(f"the constant {node.name} has no weights")
    return weights[node.name]


_TYPES = {"float32": np.float32, "int32": np.int32, "bool": np.bool_}


def _weights(
    manifest: Sequence[Mapping[str, Any]], shards: Mapping[str, bytes]
) -> dict[str, Array]:
    """All weights by name, float32 or int64."""
    found: dict[str, Array] = {}
    for group in manifest:
        data = b"".join(shards[path] for path in group["paths"])
        at = 0
        for spec in group["weights"]:
            value, size = _read(spec, data, at)
            found[spec["name"]], at = value, at + size
        if at != len(data):
            raise GraphError(f"weights take {at} bytes, their files hold {len(data)}")
    return found


def _read(spec: Mapping[str, Any], data: bytes, at: int) -> tuple[Array, int]:
    """One weight and its length in bytes."""
    packed = spec.get("quantization", {})
    stored = np.dtype(packed.get("dtype", _TYPES[spec["dtype"]])).newbyteorder("<")
    count = int(np.prod(spec["shape"], dtype=np.int64))
    size = count * stored.itemsize
    if at + size > len(data):
        raise GraphError(f"the weight {spec['name']} ends behind the end of its file")
    value = np.frombuffer(data, stored, count, at).reshape(spec["shape"])
    if "scale" in packed:
        value = value.astype(np.float32) * packed["scale"] + packed["min"]
    return value.astype(np.float32 if spec["dtype"] == "float32" else np.int64), size


def _ordered(nodes: Sequence[Node], known: set[str]) -> tuple[Node, ...]:
    """Nodes so that each comes after those it reads; files keep no order."""
    by_name = {n.name: n for n in nodes}
    done: dict[str, Node] = {}
    for start in nodes:
        stack = [(start, False)]
        open_: set[str] = set()
        while stack:
            node, ready = stack.pop()
            if ready:
                done[node.name] = node
            elif node.name not in done:
                if node.name in open_:
                    raise GraphError(f"{node.name} reads its own result")
                open_.add(node.name)
                stack.append((node, True))
                stack += [(n, False) for n in _read_by(node, by_name, known) if n.name not in done]
    return tuple(done.values())


def _read_by(node: Node, by_name: Mapping[str, Node], known: set[str]) -> list[Node]:
    names = [i.rsplit(":", 1)[0] for i in node.inputs if i not in known]
    missing = [n for n in names if n not in by_name]
    if missing:
        raise GraphError(f"{node.name} reads {missing[0]}, which is nowhere")
    return [by_name[n] for n in names]
