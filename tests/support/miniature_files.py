"""Writers of the forms in which benchmarks are published: small, seeded, nothing downloaded."""

import base64
import csv
import io
import json
import shutil
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
import pictures
import pyarrow as pa
import pyarrow.parquet as pq
import video_files
from PIL import Image

CARD = "---\nconfigs:\n{}---\n"


def png(seed=0, size=(96, 64), mode="RGB"):
    """A picture as PNG bytes."""
    image = Image.fromarray(pictures.textured(*size, seed)).convert(mode)
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def mask_png(size=(96, 64), box=(10, 8, 40, 30), mode="L"):
    """White inside a box of pixels, black outside, as PNG bytes."""
    cells = np.zeros((size[1], size[0]), np.uint8)
    cells[box[1] : box[3], box[0] : box[2]] = 255
    buffer = io.BytesIO()
    Image.fromarray(cells).convert(mode).save(buffer, "PNG")
    return buffer.getvalue()


def text64(data):
    """Bytes as base64 text."""
    return base64.b64encode(data).decode()


def save(path, data):
    """Write bytes, folders and all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def save_json(path, value):
    """Write JSON."""
    save(path, json.dumps(value, ensure_ascii=False).encode())


def save_lines(path, rows):
    """Write JSON lines."""
    save(path, "".join(json.dumps(r, ensure_ascii=False) + "\n" for r in rows).encode())


def tsv(path, rows):
    """Write a tab-separated file as pandas does."""
    _csv(path, rows, "\t")


def comma(path, rows):
    """Write a comma-separated file."""
    _csv(path, rows, ",")


def _csv(path, rows, delimiter):
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def parquet(path, rows, *, group=2):
    """Write rows as the hub does: pictures as structs, features told in the file's head."""
    names = list(rows[0])
    columns = {n: [r[n] for r in rows] for n in names}
    kinds = {n: _feature([v for v in column if v is not None]) for n, column in columns.items()}
    arrays = [pa.array([_cell(v) for v in columns[n]], _arrow(kinds[n])) for n in names]
    head = {"huggingface": json.dumps({"info": {"features": kinds}})}
    table = pa.Table.from_arrays(arrays, names).replace_schema_metadata(head)
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, row_group_size=group)


def _cell(value):
    return {"bytes": value, "path": None} if isinstance(value, bytes) else value


def _feature(values):
    first = values[0] if values else ""
    if isinstance(first, bytes):
        return {"_type": "Image"}
    if isinstance(first, list):
        return {"feature": _feature([v for row in values for v in row]), "_type": "List"}
    if any(isinstance(v, float) for v in values):
        return {"dtype": "float64", "_type": "Value"}
    named = {bool: "bool", int: "int64", str: "string"}
    return {"dtype": named[type(first)], "_type": "Value"}


def _arrow(feature):
    if feature["_type"] == "Image":
        return pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    if feature["_type"] == "List":
        return pa.list_(_arrow(feature["feature"]))
    return {"bool": pa.bool_(), "int64": pa.int64(), "string": pa.string()}.get(
        feature["dtype"], pa.float64()
    )


def card(root, *configs):
    """The head of a hub repository: (config, split, pattern) of each part."""
    lines = "".join(
        f"- config_name: {name}\n  data_files:\n  - split: {split}\n    path: {path}\n"
        for name, split, path in configs
    )
    save(root / "README.md", CARD.format(lines).encode())


def splits(root, *parts):
    """The head of a hub repository of one config: (split, pattern) of each part."""
    lines = "".join(f"  - split: {split}\n    path: {path}\n" for split, path in parts)
    text = f"- config_name: default\n  data_files:\n{lines}"
    save(root / "README.md", CARD.format(text).encode())


@cache
def _film(seconds):
    path = Path(mkdtemp()) / "film.mp4"
    times = video_files.constant(seconds * 4, fps=4)
    return video_files.write(path, times, size=(64, 48)).read_bytes()


def film(path, seconds=12):
    """A short video with numbered frames, four a second."""
    save(path, _film(seconds))


def copy(source, target):
    """A file once more."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
