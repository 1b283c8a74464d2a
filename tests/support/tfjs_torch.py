"""A second reading of TensorFlow.js graphs: run step by step in torch, straight from the JSON.

It shares nothing with the converter but numpy: it reads file, weights and order itself, pads as
TensorFlow defines SAME, and resizes by its own two matrices.
"""

import base64
import json
import math

import numpy as np
import torch
import torch.nn.functional as F


def run(model, shards, feeds):
    """Values of the graph's outputs by name, for numpy inputs by name."""
    body = json.loads(model)
    known = {name: torch.from_numpy(value) for name, value in feeds.items()}
    known |= weights(body["weightsManifest"], shards)
    by_name = {n["name"]: n for n in body["modelTopology"]["node"]}

    def value(name):
        name = name.removesuffix(":0")
        if name not in known:
            node = by_name[name.rsplit(":", 1)[0]]
            made = STEPS[node["op"]](node, *(value(i) for i in node["input"]))
            parts = made if isinstance(made, tuple) else (made,)
            for i, part in enumerate(parts):
                known[node["name"] + (f":{i}" if i else "")] = part
        return known[name]

    return {n.removesuffix(":0"): value(n).numpy() for n in body["signature"]["outputs"]}


def weights(manifest, shards):
    found = {}
    for group in manifest:
        data, at = b"".join(shards[p] for p in group["paths"]), 0
        for w in group["weights"]:
            packed = w.get("quantization", {})
            kind = np.dtype(packed.get("dtype", w["dtype"]))
            count = math.prod(w["shape"])
            raw = np.frombuffer(data[at : at + count * kind.itemsize], kind).reshape(w["shape"])
            at += count * kind.itemsize
            if "scale" in packed:
                raw = raw.astype(np.float64) * packed["scale"] + packed["min"]
            found[w["name"]] = torch.tensor(
                raw.astype(np.float32 if w["dtype"] == "float32" else np.int64)
            )
    return found


def text(node, key):
    return base64.b64decode(node["attr"][key]["s"]).decode()


def pair(node, key):
    return [int(v) for v in node["attr"][key]["list"]["i"]][1:3]


def padded(x, node, kernel, fill=0.0):
    """NHWC to NCHW, with TensorFlow's SAME: the odd pixel goes to the right and the bottom."""
    x = x.permute(0, 3, 1, 2)
    if text(node, "padding") == "VALID":
        return x
    sides = []
    for length, k, s in zip(x.shape[2:], kernel, pair(node, "strides"), strict=True):
        total = max((math.ceil(length / s) - 1) * s + k - length, 0)
        sides.append((total // 2, total - total // 2))
    (top, bottom), (left, right) = sides
    return F.pad(x, (left, right, top, bottom), value=fill)


def conv(node, x, kernel):
    x = padded(x, node, kernel.shape[:2])
    out = F.conv2d(x, kernel.permute(3, 2, 0, 1), stride=pair(node, "strides"))
    return out.permute(0, 2, 3, 1)


def pool(node, x):
    size = pair(node, "ksize")
    out = F.max_pool2d(padded(x, node, size, -math.inf), size, pair(node, "strides"))
    return out.permute(0, 2, 3, 1)


def pad(node, x, pads, value=None):
    flat = [int(v) for row in reversed(pads.tolist()) for v in row]
    return F.pad(x, flat, value=0.0 if value is None else float(value))


def resize(node, x, size):
    attr = node["attr"]
    aligned, half = (
        attr.get(k, {}).get("b", False) for k in ("align_corners", "half_pixel_centers")
    )
    rows, columns = (
        stretch(a, int(b), aligned, half) for a, b in zip(x.shape[1:3], size, strict=True)
    )
    return torch.einsum("ih,jw,nhwc->nijc", rows, columns, x)


def stretch(old, new, aligned, half):
    """Matrix (new, old) of linear interpolation along one side."""
    made = torch.zeros(new, old)
    for i in range(new):
        at = i * (old - 1) / max(new - 1, 1) if aligned else i * old / new
        at = (i + 0.5) * old / new - 0.5 if half else at
        at = min(max(at, 0.0), old - 1.0)
        low = math.floor(at)
        made[i, low] += 1 - (at - low)
        made[i, min(low + 1, old - 1)] += at - low
    return made


def dense(node, indices, shape, values, default):
    out = torch.full(tuple(shape.tolist()), default.item())
    for at, v in zip(indices.tolist(), values.tolist(), strict=True):
        out[tuple(at)] = v
    return out


STEPS = {
    "Add": lambda node, a, b: a + b,
    "AddV2": lambda node, a, b: a + b,
    "ConcatV2": lambda node, *parts: torch.cat(parts[:-1], dim=int(parts[-1])),
    "Conv2D": conv,
    "Identity": lambda node, x: x,
    "LeakyRelu": lambda node, x: F.leaky_relu(x, node["attr"]["alpha"]["f"]),
    "MaxPool": pool,
    "Pad": pad,
    "PadV2": pad,
    "Reshape": lambda node, x, shape: x.reshape(tuple(shape.tolist())),
    "ResizeBilinear": resize,
    "Sigmoid": lambda node, x: torch.sigmoid(x),
    "SparseToDense": dense,
    "SplitV": lambda node, x, sizes, dim: torch.split(x, sizes.tolist(), dim=int(dim)),
    "Transpose": lambda node, x, order: x.permute(tuple(order.tolist())),
}
