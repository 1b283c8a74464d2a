"""From a TensorFlow.js graph model to ONNX, by json and numpy; no TensorFlow.

What is constant is computed here; the rest is written one operation to one or three. TensorFlow
keeps channels last, ONNX wants them second: convolutions, pooling and resizing stand between two
transpositions, and onnxruntime cancels the pairs when it loads the file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from vtool.errors import require

from .tfjs import Array, Graph, GraphError, Node

OPSET, IR_VERSION = 17, 8
"""Old enough for every onnxruntime that the `vision` extra admits."""

_TO_FIRST, _TO_LAST = (0, 3, 1, 2), (0, 2, 3, 1)


def to_onnx(graph: Graph, name: str) -> bytes:
    """Write a graph as an ONNX file.

    Args:
        graph: What `read_graph` gave.
        name: Name of the graph in the file.

    Raises:
        GraphError: An operation that is not known here, or one whose layout must be constant
            and is not.
        MissingExtra: onnx is not installed.
    """
    writer = _Writer(graph)
    for node in graph.nodes:
        writer.write(node)
    return writer.file(name)


class _Writer:
    """Collects ONNX nodes; what is constant stays a numpy array until somebody needs it."""

    def __init__(self, graph: Graph) -> None:
        self._onnx: Any = require("onnx", "vision")
        self._graph = graph
        self._known: dict[str, Array] = dict(graph.constants)
        self._nodes: list[Any] = []
        self._stored: dict[str, Any] = {}

    def write(self, node: Node) -> None:
        """Write one operation, or compute it."""
        if node.op in _FOLDED and all(i in self._known for i in node.inputs):
            self._known[node.name] = _FOLDED[node.op](*(self._known[i] for i in node.inputs))
        elif node.op in _WRITTEN:
            _WRITTEN[node.op](self, node)
        else:
            raise GraphError(
                f"{node.name} is a {node.op}, which this converter does not know; it knows "
                f"{', '.join(sorted({*_WRITTEN, *_FOLDED}))}"
            )

    def constant(self, node: Node, index: int) -> Array:
        """An input that must be known before anything runs.

        Raises:
            GraphError: It is computed from the graph's input.
        """
        name = node.inputs[index]
        if name not in self._known:
            raise GraphError(f"{node.name} ({node.op}) needs a constant {name}")
        return self._known[name]

    def name(self, value: str) -> str:
        """A value's name in the file; constants are stored when first named."""
        return self.store(value, self._known[value]) if value in self._known else value

    def store(self, name: str, value: Array) -> str:
        """Keep an array in the file."""
        if name not in self._stored:
            plain = np.ascontiguousarray(value)
            self._stored[name] = self._onnx.numpy_helper.from_array(plain, name)
        return name

    def add(self, op: str, inputs: list[str], outputs: list[str], **attributes: object) -> None:
        """Add one ONNX node."""
        made = self._onnx.helper.make_node(op, inputs, outputs, name=outputs[0], **attributes)
        self._nodes.append(made)

    def channels_first(self, op: str, node: Node, more: list[str], **attributes: object) -> None:
        """Add a node that wants channels second, between two transpositions."""
        before, after = f"{node.name}/first", f"{node.name}/op"
        self.add("Transpose", [self.name(node.inputs[0])], [before], perm=_TO_FIRST)
        self.add(op, [before, *more], [after], **attributes)
        self.add("Transpose", [after], [node.name], perm=_TO_LAST)

    def file(self, name: str) -> bytes:
        """The ONNX file."""
        helper, float32 = self._onnx.helper, self._onnx.TensorProto.FLOAT
        inputs = [
            helper.make_tensor_value_info(n, float32, list(shape))
            for n, shape in self._graph.inputs.items()
        ]
        outputs = [
            helper.make_tensor_value_info(self.name(n), float32, list(shape))
            for n, shape in self._graph.outputs.items()
        ]
        body = helper.make_graph(self._nodes, name, inputs, outputs, list(self._stored.values()))
        opsets = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(body, opset_imports=opsets, producer_name="vtool")
        model.ir_version = IR_VERSION
        self._onnx.checker.check_model(model)
        data: bytes = model.SerializeToString(deterministic=True)
        return data


def _same_op(op: str) -> Callable[[_Writer, Node], None]:
    def write(writer: _Writer, node: Node) -> None:
        writer.add(op, [writer.name(i) for i in node.inputs], [node.name])

    return write


def _transpose(writer: _Writer, node: Node) -> None:
    order = [int(i) for i in writer.constant(node, 1)]
    writer.add("Transpose", [writer.name(node.inputs[0])], [node.name], perm=order)


def _reshape(writer: _Writer, node: Node) -> None:
    shape = writer.store(f"{node.name}/shape", writer.constant(node, 1).astype(np.int64))
    writer.add("Reshape", [writer.name(node.inputs[0]), shape], [node.name])


def _pad(writer: _Writer, node: Node) -> None:
    """TensorFlow lists (before, after) an axis; ONNX all befores, then all afters."""
    pads = writer.constant(node, 1).astype(np.int64).T.reshape(-1)
    if not pads.any():
        writer.add("Identity", [writer.name(node.inputs[0])], [node.name])
        return
    value = float(writer.constant(node, 2)) if len(node.inputs) > 2 else 0.0
    inputs = [
        writer.name(node.inputs[0]),
        writer.store(f"{node.name}/pads", pads),
        writer.store(f"{node.name}/value", np.asarray(value, np.float32)),
    ]
    writer.add("Pad", inputs, [node.name], mode="constant")


def _window(node: Node) -> dict[str, Any]:
    """Stride and padding of a convolution or pooling with channels last.

    Raises:
        GraphError: Channels come first, or the padding is spelled out.
    """
    padding = node.word("padding")
    if node.word("data_format", "NHWC") != "NHWC" or padding not in ("SAME", "VALID"):
        raise GraphError(f"{node.name}: expected NHWC with SAME or VALID padding, got {padding}")
    auto = {"SAME": "SAME_UPPER", "VALID": "VALID"}[padding]
    return {"strides": node.integers("strides")[1:3], "auto_pad": auto}


def _conv(writer: _Writer, node: Node) -> None:
    kernel = writer.constant(node, 1).transpose(3, 2, 0, 1)
    stored = writer.store(f"{node.name}/kernel", kernel)
    dilations = (node.integers("dilations") or [1, 1, 1, 1])[1:3]
    writer.channels_first("Conv", node, [stored], dilations=dilations, **_window(node))


def _max_pool(writer: _Writer, node: Node) -> None:
    size = node.integers("ksize")[1:3]
    writer.channels_first("MaxPool", node, [], kernel_shape=size, **_window(node))


def _leaky(writer: _Writer, node: Node) -> None:
    alpha = node.number("alpha", 0.2)
    writer.add("LeakyRelu", [writer.name(node.inputs[0])], [node.name], alpha=alpha)


def _concat(writer: _Writer, node: Node) -> None:
    axis = int(writer.constant(node, len(node.inputs) - 1))
    writer.add("Concat", [writer.name(i) for i in node.inputs[:-1]], [node.name], axis=axis)


def _split(writer: _Writer, node: Node) -> None:
    sizes, axis = writer.constant(node, 1).astype(np.int64), int(writer.constant(node, 2))
    inputs = [writer.name(node.inputs[0]), writer.store(f"{node.name}/sizes", sizes)]
    outputs = [node.name if i == 0 else f"{node.name}:{i}" for i in range(len(sizes))]
    writer.add("Split", inputs, outputs, axis=axis)


def _resize(writer: _Writer, node: Node) -> None:
    height, width = (int(v) for v in writer.constant(node, 1))
    first = f"{node.name}/planes"
    sizes = f"{node.name}/sizes"
    # Only height and width are known here; the first two sizes are the input's own.
    writer.add("Transpose", [writer.name(node.inputs[0])], [first], perm=_TO_FIRST)
    writer.add("Shape", [first], [f"{node.name}/shape"], end=2)
    wanted = writer.store(f"{node.name}/wanted", np.asarray([height, width], np.int64))
    writer.add("Concat", [f"{node.name}/shape", wanted], [sizes], axis=0)
    mode = "align_corners" if node.flag("align_corners") else "asymmetric"
    mode = "half_pixel" if node.flag("half_pixel_centers") else mode
    writer.add(
        "Resize",
        [first, "", "", sizes],
        [f"{node.name}/op"],
        mode="linear",
        coordinate_transformation_mode=mode,
    )
    writer.add("Transpose", [f"{node.name}/op"], [node.name], perm=_TO_LAST)


def _sparse_to_dense(indices: Array, shape: Array, values: Array, default: Array) -> Array:
    dense = np.full([int(s) for s in shape], default)
    if len(indices):
        dense[tuple(indices.reshape(len(indices), -1).T)] = values
    return dense


_FOLDED: Mapping[str, Callable[..., Array]] = {
    "AddV2": np.add,
    "Add": np.add,
    "SparseToDense": _sparse_to_dense,
}
"""Computed here where all inputs are constant."""

_WRITTEN: Mapping[str, Callable[[_Writer, Node], None]] = {
    "Add": _same_op("Add"),
    "AddV2": _same_op("Add"),
    "ConcatV2": _concat,
    "Conv2D": _conv,
    "Identity": _same_op("Identity"),
    "LeakyRelu": _leaky,
    "MaxPool": _max_pool,
    "Pad": _pad,
    "PadV2": _pad,
    "Reshape": _reshape,
    "ResizeBilinear": _resize,
    "Sigmoid": _same_op("Sigmoid"),
    "SplitV": _split,
    "Transpose": _transpose,
}
