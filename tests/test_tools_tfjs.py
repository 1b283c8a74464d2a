"""TensorFlow.js graphs to ONNX: against a second reading of the same files in torch."""

import base64
import json
from dataclasses import replace

import numpy as np
import onnxruntime
import pytest
import tfjs_torch
from fetched import fetched
from vtool.vision_tools.backends.catalogue import NANODET, NANODET_FILE, _ramp
from vtool.vision_tools.backends.tfjs import GraphError, plain_name, read_graph
from vtool.vision_tools.backends.tfjs_onnx import to_onnx

from vtool.models import as_they_are, models

RNG = np.random.default_rng(0)


def words(text):
    return {"s": base64.b64encode(text.encode()).decode()}


def ints(*values):
    return {"list": {"i": [str(v) for v in values]}}


def shape(dims):
    return {"dim": [{"size": str(d)} for d in dims]}


def graph(steps, constants, *, size=(1, 9, 7, 3), output=None, out_shape=(), packed=None):
    """A model of steps `(name, op, inputs, attributes)`, listed backwards; JSON and shard."""
    nodes = [{"name": "x", "op": "Placeholder", "attr": {"shape": {"shape": shape(size)}}}]
    nodes += [{"name": n, "op": o, "input": i, "attr": a} for n, o, i, a in reversed(steps)]
    nodes += [{"name": name, "op": "Const", "attr": {}} for name in constants]
    rows, data = [], b""
    for name, value in constants.items():
        value = np.asarray(value)
        kind = "int32" if value.dtype.kind == "i" else "float32"
        row = {"name": name, "shape": list(value.shape), "dtype": kind}
        if packed and name in packed:
            row["quantization"] = packed[name]
            data += value.tobytes()
        else:
            data += value.astype(kind).tobytes()
        rows.append(row)
    end = output or steps[-1][0]
    body = {
        "modelTopology": {"node": nodes},
        "weightsManifest": [{"paths": ["w.bin"], "weights": rows}],
        "signature": {"outputs": {f"{end}:0": {"tensorShape": shape(out_shape)}}},
    }
    return json.dumps(body).encode(), {"w.bin": data}


def run_both(steps, constants, *, size=(1, 9, 7, 3), **more):
    feed = RNG.standard_normal(size).astype(np.float32)
    files = graph(steps, constants, size=size, **more)
    (want,) = tfjs_torch.run(*files, {"x": feed}).values()
    files = graph(steps, constants, size=size, out_shape=want.shape, **more)
    session = onnxruntime.InferenceSession(to_onnx(read_graph(*files), "test"))
    (got,) = session.run(None, {"x": feed})
    assert got.shape == want.shape
    return got, want


def window(padding, strides, **more):
    return {"padding": words(padding), "strides": ints(1, *strides, 1), **more}


KERNEL = RNG.standard_normal((3, 2, 3, 5)).astype(np.float32)
STEPS = {
    "conv same": (
        [("y", "Conv2D", ["x", "k"], window("SAME", (2, 1), dilations=ints(1, 1, 1, 1)))],
        {"k": KERNEL},
    ),
    "conv valid": ([("y", "Conv2D", ["x", "k"], window("VALID", (1, 2)))], {"k": KERNEL}),
    "pool same": ([("y", "MaxPool", ["x"], window("SAME", (2, 2), ksize=ints(1, 3, 2, 1)))], {}),
    "pool valid": ([("y", "MaxPool", ["x"], window("VALID", (2, 3), ksize=ints(1, 3, 3, 1)))], {}),
    "pad": ([("y", "Pad", ["x", "p"], {})], {"p": [[0, 0], [1, 2], [0, 3], [0, 0]]}),
    "pad with": (
        [("y", "PadV2", ["x", "p", "v"], {})],
        {"p": [[0, 0], [1, 0], [0, 0], [2, 1]], "v": np.float32(-1.5)},
    ),
    "pad nothing": ([("y", "Pad", ["x", "p"], {})], {"p": [[0, 0]] * 4}),
    "half pixel": (
        [("y", "ResizeBilinear", ["x", "s"], {"half_pixel_centers": {"b": True}})],
        {"s": [18, 11]},
    ),
    "aligned": (
        [("y", "ResizeBilinear", ["x", "s"], {"align_corners": {"b": True}})],
        {"s": [4, 14]},
    ),
    "asymmetric": ([("y", "ResizeBilinear", ["x", "s"], {})], {"s": [18, 7]}),
    "transpose": ([("y", "Transpose", ["x", "o"], {})], {"o": [0, 3, 1, 2]}),
    "leaky": ([("y", "LeakyRelu", ["x"], {"alpha": {"f": 0.3}})], {}),
    "concat": (
        [("s", "Sigmoid", ["x"], {}), ("y", "ConcatV2", ["x", "s", "a"], {})],
        {"a": np.array(-1)},
    ),
    "split": (
        [
            ("s", "SplitV", ["x", "n", "a"], {}),
            ("t", "Sigmoid", ["s:1"], {}),
            ("y", "ConcatV2", ["t", "s", "a"], {}),
        ],
        {"n": [1, 2], "a": np.array(3)},
    ),
    "reshape to what is computed": (
        [
            ("d", "SparseToDense", ["at", "of", "v", "zero"], {}),
            ("shape", "AddV2", ["base", "d"], {}),
            ("y", "Reshape", ["x", "shape"], {}),
        ],
        {
            "at": [[1]],
            "of": [2],
            "v": [60],
            "zero": np.array(0),
            "base": [3, 3],
        },
    ),
    "nothing set": (
        [
            ("d", "SparseToDense", ["at", "of", "v", "zero"], {}),
            ("shape", "AddV2", ["base", "d"], {}),
            ("y", "Reshape", ["x", "shape"], {}),
        ],
        {
            "at": np.zeros((0, 1), np.int32),
            "of": [2],
            "v": np.zeros(0, np.int32),
            "zero": np.array(0),
            "base": [3, 63],
        },
    ),
    "bias": (
        [("b", "Add", ["x", "c"], {}), ("y", "Identity", ["b"], {})],
        {"c": RNG.standard_normal(3).astype(np.float32)},
    ),
}


@pytest.mark.parametrize("name", STEPS)
def test_each_operation(name):
    got, want = run_both(*STEPS[name])
    assert np.allclose(got, want, atol=1e-5)
    assert got.std() > 0.1


@pytest.mark.parametrize(
    ("stored", "packed"),
    [
        (KERNEL.astype(np.float16), {"dtype": "float16"}),
        (
            RNG.integers(0, 255, KERNEL.shape, dtype=np.uint8),
            {"dtype": "uint8", "scale": 0.02, "min": -1.3},
        ),
        (
            RNG.integers(0, 60000, KERNEL.shape, dtype=np.uint16),
            {"dtype": "uint16", "scale": 0.0001, "min": -2.0},
        ),
    ],
)
def test_packed_weights(stored, packed):
    steps, _ = STEPS["conv valid"]
    got, want = run_both(steps, {"k": stored}, packed={"k": packed})
    assert np.allclose(got, want, atol=1e-4)
    assert got.std() > 0.1


@pytest.mark.parametrize(
    ("steps", "constants", "said"),
    [
        ([("y", "Softplus", ["x"], {})], {}, "y is a Softplus"),
        ([("y", "Transpose", ["x", "x"], {})], {}, "needs a constant x"),
        ([("y", "Sigmoid", ["gone"], {})], {}, "reads gone"),
        ([("y", "Add", ["x", "z"], {}), ("z", "Sigmoid", ["y"], {})], {}, "its own result"),
        ([("y", "Conv2D", ["x", "k"], window("EXPLICIT", (1, 1)))], {"k": KERNEL}, "padding"),
        (
            [("y", "MaxPool", ["x"], window("SAME", (1, 1), data_format=words("NCHW")))],
            {},
            "NHWC",
        ),
    ],
)
def test_graphs_that_are_refused(steps, constants, said):
    with pytest.raises(GraphError, match=said):
        to_onnx(read_graph(*graph(steps, constants, out_shape=(1,))), "test")


def test_files_that_are_refused():
    model, shards = graph(*STEPS["conv valid"])
    with pytest.raises(GraphError, match="ends behind the end"):
        read_graph(model, {"w.bin": shards["w.bin"][:-4]})
    with pytest.raises(GraphError, match="their files hold"):
        read_graph(model, {"w.bin": shards["w.bin"] + b"more"})
    with pytest.raises(GraphError, match=r"w\.bin"):
        read_graph(model, {})
    with pytest.raises(GraphError, match="graph model"):
        read_graph(b"[]", {})
    body = json.loads(model)
    body["weightsManifest"][0]["weights"][0]["name"] = "other"
    with pytest.raises(GraphError, match="the constant k has no weights"):
        read_graph(json.dumps(body).encode(), shards)


def test_names():
    assert [plain_name(n) for n in ("a:0", "^a", "a:1", "b/c")] == ["a", "a", "a:1", "b/c"]


def test_the_same_bytes_each_time():
    files = graph(*STEPS["split"], out_shape=(1, 9, 7, 3))
    assert to_onnx(read_graph(*files), "test") == to_onnx(read_graph(*files), "test")


@pytest.mark.slow
def test_the_whole_of_nanodet(monkeypatch):
    """Every output of the network as fetched and converted, against torch on the original."""
    source = replace(
        NANODET,
        name="nanodet_source",
        files=("nanodet.json", "nanodet.bin"),
        make=as_they_are,
        made_by="kept as they are",
        check=None,
    )
    monkeypatch.setitem(models._things, "nanodet_source", source)
    original, folder = fetched("nanodet_source"), fetched("nanodet")
    shards = {"nanodet.bin": (original / "nanodet.bin").read_bytes()}
    want = tfjs_torch.run((original / "nanodet.json").read_bytes(), shards, {"input_1": _ramp()})
    session = onnxruntime.InferenceSession(str(folder / NANODET_FILE))
    names = [o.name for o in session.get_outputs()]
    got = dict(zip(names, session.run(None, {"input_1": _ramp()}), strict=True))
    assert set(got) == set(want)
    assert all(np.allclose(got[n], want[n], atol=1e-4) for n in want)
