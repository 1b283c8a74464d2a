"""Places in pictures: RefCOCO, ReasonSeg, RefSpatial, RoboSpatial-Home."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vtool.benchmark import Judged, Layout
from vtool.errors import DataError, GeometryError, require
from vtool.geometry import Box, Mask, Size, Units
from vtool.media import Image
from vtool.rle import encode_mask
from vtool.task import Answer, Boxes, Masks, Task, TaskPart

from ..formats.media import Medium, base64_picture, file_picture, picture
from ..formats.records import Record
from ..formats.tables import read_json
from .base import Ask, LateReference, Source, Spec
from .choices import LOADED, READ
from .finding import files, parquet, tsv
from .summaries import by
from .words import row_id


def box_of(where: str, corners: Sequence[float]) -> Box:
    """A box by its unit corners; what rounding put outside is cut off.

    Raises:
        DataError: It is none.
    """
    try:
        return Box(*(min(1.0, max(0.0, v)) for v in corners))
    except GeometryError as err:
        raise DataError(f"{where}: {err}") from err


def in_pixels(record: Record, xyxy: Sequence[float]) -> LateReference:
    """A box in pixels of the first picture."""

    def make(parts: Sequence[TaskPart]) -> Boxes:
        shown = parts[0]
        assert isinstance(shown, Image)
        w, h = shown.size
        return Boxes((box_of(record.where, [xyxy[0] / w, xyxy[1] / h, xyxy[2] / w, xyxy[3] / h]),))

    return make


def corners_text(task: Task) -> list[str]:
    """The wanted box as an answer in unit corners."""
    assert isinstance(task.reference, Boxes)
    return [f"[{b.x1}, {b.y1}, {b.x2}, {b.y2}]" for b in task.reference.boxes]


REFER = (
    "Bounding box coordinates are specified in the format (top-left x, top-left y, bottom-right x, "
    "bottom-right y). All values are floating point numbers bounded between 0 and 1. Please "
    "provide the bounding box coordinate of the region this sentence describes: "
)


def _refcoco(record: Record, root: Path) -> Iterator[Ask]:
    x, y, w, h = record.numbers("bbox", 4)
    for at, sentence in enumerate(record.texts("answer")):
        yield Ask(
            id=f"{record.text('question_id')}-{row_id(record)}-{at}",
            words=REFER + sentence,
            media=(picture(record, "image"),),
            reference=in_pixels(record, (x, y, x + w, y + h)),
            tags={"units": Units.UNIT.value},
        )


def _refcoco_tsv(record: Record, root: Path) -> Iterator[Ask]:
    corners = [float(record.text(f"bbox_{c}")) for c in ("x1", "y1", "x2", "y2")]
    yield Ask(
        id=record.text("index"),
        words=REFER + record.text("question"),
        media=(base64_picture(record, "image"),),
        reference=in_pixels(record, corners),
        tags={"units": Units.UNIT.value},
    )


def _named_split(name: str) -> Callable[[Path], Sequence[Record]]:
    """All splits stand in one file; a column says which."""
    rows = tsv("RefCOCO.tsv", f"{name}.tsv")
    return lambda root: [r for r in rows(root) if r.text("split") == name]


def _refer(name: str, repository: str, split: str) -> Spec:
    where = f"data/{split}-*.parquet of lmms-lab-encoder/{repository}"
    return Spec(
        name=f"{name}_{split}",
        about=f"Boxes of what a phrase means, {split} (Kazemzadeh et al. 2014, Yu et al. 2016).",
        sources=(
            Source(
                layout=Layout("HF parquet", where, LOADED),
                rows=parquet(f"data/{split}-*.parquet", f"{split}-*.parquet"),
                asks=_refcoco,
            ),
            Source(
                layout=Layout("VLMEvalKit TSV", "RefCOCO.tsv", READ),
                rows=_named_split(f"{repository.replace('plus', '+')}_{split}"),
                asks=_refcoco_tsv,
            ),
        ),
        metric="box_at_half",
        says=corners_text,
    )


REFCOCO_VAL = _refer("refcoco", "RefCOCO", "val").benchmark()
REFCOCO_TESTA = _refer("refcoco", "RefCOCO", "testA").benchmark()
REFCOCO_TESTB = _refer("refcoco", "RefCOCO", "testB").benchmark()
REFCOCOPLUS_VAL = _refer("refcocoplus", "RefCOCOplus", "val").benchmark()
REFCOCOPLUS_TESTA = _refer("refcocoplus", "RefCOCOplus", "testA").benchmark()
REFCOCOPLUS_TESTB = _refer("refcocoplus", "RefCOCOplus", "testB").benchmark()
REFCOCOG_VAL = _refer("refcocog", "RefCOCOg", "val").benchmark()
REFCOCOG_TEST = _refer("refcocog", "RefCOCOg", "test").benchmark()


def _reasonseg_rows(split: str) -> Callable[[Path], Sequence[Record]]:
    def rows(root: Path) -> list[Record]:
        found = files(root, f"{split}/*.json", f"ReasonSeg/{split}/*.json")
        return [_reasonseg_row(root, path) for path in found]

    return rows


def _reasonseg_row(root: Path, path: Path) -> Record:
    body = read_json(path, fallback="cp1252")
    if not isinstance(body, dict):
        raise DataError(f"{path.name}: expected a JSON object")
    name = str(path.with_suffix(".jpg").relative_to(root))
    return Record(path.name, {**body, "image": name, "stem": path.stem})


def layers(shapes: Sequence[object], size: Size) -> tuple[Mask, Mask]:
    """What is wanted and what is left out, as LISA draws it: smaller polygons over larger ones.

    OpenCV draws them, outline and all, because other libraries fill other cells at the border.

    Args:
        shapes: `{"label", "points": [[x, y], ...]}` in pixels; a label with "ignore" in it is
            left out, "flag" is not drawn, every other one is wanted.
        size: Width and height.

    Source: LISA (Lai et al. 2024), `get_mask_from_json`.
    """
    drawn = []
    for shape in shapes:
        assert isinstance(shape, dict)
        label = str(shape["label"]).lower()
        if label != "flag":
            drawn.append((_filled(shape["points"], size), "ignore" in label))
    cells = np.zeros((size[1], size[0]), np.uint8)
    for mask, ignored in sorted(drawn, key=lambda d: -int(d[0].sum())):
        cells[mask] = 2 if ignored else 1
    return Mask(cells == 1), Mask(cells == 2)


def _filled(points: Sequence[Sequence[float]], size: Size) -> NDArray[np.bool_]:
    cv2: Any = require("cv2", "vision")
    canvas = np.zeros((size[1], size[0]), np.uint8)
    corners = np.array([points], np.int32)
    cv2.polylines(canvas, corners, True, 1, 1)
    cv2.fillPoly(canvas, corners, 1)
    return canvas > 0


def _reasonseg(record: Record, root: Path) -> Iterator[Ask]:
    shapes = record.items_of("shapes")

    def late(parts: Sequence[TaskPart]) -> Masks:
        shown = parts[0]
        assert isinstance(shown, Image)
        return Masks(layers(shapes, shown.size))

    said = record["text"]
    texts = [str(t) for t in said] if isinstance(said, list) else [str(said)]
    yield Ask(
        id=record.text("stem"),
        words=f"{texts[0]}\nAnswer with the mask of what is asked for.",
        media=(file_picture(record, root, record.text("image")),),
        reference=late,
        tags={"units": Units.UNIT.value, "sentence": bool(record["is_sentence"])},
    )


def mask_text(task: Task) -> list[str]:
    """The wanted mask as an answer, run-length encoded."""
    assert isinstance(task.reference, Masks)
    return [json.dumps(encode_mask(task.reference.masks[0]))]


def mask_table(judged: Sequence[Judged]) -> dict[str, float]:
    """The two IoUs of LISA, as far as answers are words; see `vtool.eval.metrics.scores`."""
    from ..metrics.scores import mask_counts
    from ..metrics.segmentation import segmentation_table

    tasks = [
        Task(id=j.id, prompt=("",), reference=j.reference, tags={"units": "unit"}) for j in judged
    ]
    counted = [mask_counts(j.answer, j.reference, t) for j, t in zip(judged, tasks, strict=True)]
    return segmentation_table([c for c in counted if c is not None])


def _reason(split: str) -> Spec:
    return Spec(
        name=f"reasonseg_{split}",
        about=f"Masks of what a question implies, {split} (LISA, Lai et al. 2024).",
        sources=(
            Source(
                layout=Layout("folder", f"{split}/*.jpg with a .json of the same stem", READ),
                rows=_reasonseg_rows(split),
                asks=_reasonseg,
            ),
        ),
        metric="mask_overlap",
        summary=mask_table,
        says=mask_text,
        tools=("segment",),
    )


REASONSEG_VAL, REASONSEG_TEST = _reason("val").benchmark(), _reason("test").benchmark()


def mask_reference(medium: Medium, above: int) -> LateReference:
    """The bright cells of a picture."""

    def late(parts: Sequence[TaskPart]) -> Masks:
        image = medium.open()[0]
        assert isinstance(image, Image)
        return Masks((Mask(image.pixels[:, :, 0] > above),))

    return late


def _refspatial(record: Record, root: Path) -> Iterator[Ask]:
    split = record.text("_file").split("-")[0]
    yield Ask(
        id=f"{split}-{record.text('id')}",
        words=f"{record.text('prompt')} {record.text('suffix')} Return only list of tuples, "
        "don't add anything else.",
        media=(picture(record, "image"),),
        reference=mask_reference(picture(record, "mask"), 127),
        tags={"split": split, "units": Units.UNIT.value, "step": str(record["step"])},
    )


def inside_text(task: Task) -> list[str]:
    """A set cell's middle as a tuple in unit coordinates, in the declared units."""
    if not isinstance(task.reference, Masks):
        return list(task.reference.texts) if isinstance(task.reference, Answer) else []
    rows, columns = np.nonzero(task.reference.masks[0].cells)
    if not len(rows):
        return []
    at, (height, width) = len(rows) // 2, task.reference.masks[0].cells.shape
    scale = 1000.0 if task.tags.get("units") == Units.THOUSAND.value else 1.0
    x, y = (columns[at] + 0.5) / width * scale, (rows[at] + 0.5) / height * scale
    if scale == 1000.0:
        return [f'```json\n[{{"point_2d": [{x}, {y}]}}]\n```']
    return [f"[({x}, {y})]"]


REFSPATIAL = Spec(
    name="refspatial",
    about="Points by spatial reference of several steps (RoboRefer, Zhou et al. 2025); 277.",
    sources=(
        Source(
            layout=Layout(
                "HF parquet",
                "data/{location,placement,unseen}-*.parquet of BAAI/RefSpatial-Bench",
                LOADED,
            ),
            rows=parquet("data/[lpu]*-*.parquet", "[lpu]*-*.parquet"),
            asks=_refspatial,
        ),
    ),
    metric="points_in_mask",
    published="points_in_mask_published",
    summary=by("split"),
    says=inside_text,
).benchmark()

_STRIPPED = (
    "Your answer should be formatted as a list of tuples, i.e. [(x1, y1), ...], where each tuple "
    "contains the x and y coordinates of a point satisfying the conditions above. The coordinates "
    "should be between 0 and 1, indicating the normalized pixel locations of the points.",
    "Answer yes or no.",
)
_POINTS = """Your task is to identify specific points in the image based on the question. \
Respond with a brief explanation if needed, followed by a list of 2D point coordinates.

    The points should be in JSON format and normalized to the range [0, 1000].

    Do not include additional text after this line.
    """
_YES_NO = """Your task is to answer the question above. Respond with a brief explanation if \
needed, followed by a yes or no answer in the last line of your response.

    Format your final answer strictly as follows on the last line of your response:
    Answer: yes or no

    Do not include additional text after this line.
    """


def _robospatial(record: Record, root: Path) -> Iterator[Ask]:
    question, where = record.text("question"), record.text("category") == "context"
    for text in _STRIPPED:
        question = question.replace(text, "").strip()
    answer = record.text("answer").strip()
    pointing = answer.lower() not in ("yes", "no")
    yield Ask(
        id=row_id(record),
        words=f"{question}\n{_POINTS if where else _YES_NO}",
        media=(picture(record, "img"),),
        reference=mask_reference(picture(record, "mask"), 0) if pointing else Answer((answer,)),
        tags={"category": record.text("category"), "units": Units.THOUSAND.value},
    )


ROBOSPATIAL = Spec(
    name="robospatial_home",
    about="Spatial relations, fit and free places at home (Song et al. 2025); 350.",
    sources=(
        Source(
            layout=Layout(
                "HF parquet",
                "data/{configuration,compatibility,context}-*.parquet of "
                "chanhee-luke/RoboSpatial-Home",
                LOADED,
            ),
            rows=parquet("data/co*-*.parquet", "co*-*.parquet"),
            asks=_robospatial,
        ),
    ),
    metric="robospatial",
    published="robospatial_published",
    summary=by("category"),
    says=inside_text,
).benchmark()
