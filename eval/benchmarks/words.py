"""Free answers about pictures: ChartQA, DocVQA, InfoVQA, TextVQA, GQA, VisualProbe."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from vtool.benchmark import Layout
from vtool.errors import DataError
from vtool.metrics_text import vqa_words
from vtool.task import Answer, Task

from ..formats.media import file_picture, picture
from ..formats.records import Record
from .base import Ask, Source, Spec
from .choices import LOADED, READ
from .finding import files, parquet, split_of, table
from .summaries import by

BRIEFLY = "\nAnswer the question using a single word or phrase."


def row_id(record: Record) -> str:
    """An id of a row that has none: its file and place."""
    return re.sub(r"\W+", "-", record.where)


def _chart(record: Record, root: Path) -> Iterator[Ask]:
    yield Ask(
        id=row_id(record),
        words=record.text("question") + "\nAnswer the question with a single word.",
        media=(picture(record, "image"),),
        reference=Answer((record.text("answer"),)),
        tags={"type": record.text("type")},
    )


def _chart_folder(record: Record, root: Path) -> Iterator[Ask]:
    yield Ask(
        id=row_id(record),
        words=record.text("query") + "\nAnswer the question with a single word.",
        media=(file_picture(record, root, f"test/png/{record.text('imgname')}"),),
        reference=Answer((record.text("label"),)),
        tags={"type": record.where.split(",")[0].removesuffix(".json")},
    )


CHARTQA = Spec(
    name="chartqa",
    about="Questions on charts, by people and made (Masry et al. 2022); 2500.",
    sources=(
        Source(
            layout=Layout("HF parquet", "test-*.parquet of lmms-lab-encoder/ChartQA", LOADED),
            rows=parquet(*split_of("test")),
            asks=_chart,
        ),
        Source(
            layout=Layout(
                "folder", "test/test_human.json, test/test_augmented.json, test/png/", READ
            ),
            rows=table("test/test_*.json"),
            asks=_chart_folder,
        ),
    ),
    metric="relaxed",
    published="relaxed_lmms_eval",
    summary=by("type"),
).benchmark()


def _answers(record: Record) -> Answer:
    texts = record.texts("answers")
    if not texts:
        raise DataError(f"{record.where}: it has no answers: test splits are judged elsewhere")
    return Answer(texts)


def _doc(record: Record, root: Path) -> Iterator[Ask]:
    yield Ask(
        id=record.text("questionId"),
        words=record.text("question") + BRIEFLY,
        media=(picture(record, "image"),),
        reference=_answers(record),
    )


def _document(name: str, config: str, about: str) -> Spec:
    return Spec(
        name=name,
        about=about,
        sources=(
            Source(
                layout=Layout(
                    "HF parquet",
                    f"{config}/validation-*.parquet of lmms-lab-encoder/DocVQA",
                    LOADED,
                ),
                rows=parquet(
                    f"{config}/validation-*.parquet",
                    "data/validation-*.parquet",
                    "validation-*.parquet",
                ),
                asks=_doc,
            ),
        ),
        metric="anls",
        published="anls_lmms_eval",
    )


DOCVQA = _document(
    "docvqa", "DocVQA", "Questions on scanned documents (Mathew et al. 2021); validation 5349."
).benchmark()
INFOVQA = _document(
    "infovqa", "InfographicVQA", "Questions on infographics (Mathew et al. 2022); validation 2801."
).benchmark()


def most_common(task: Task) -> Sequence[str]:
    """What most annotators said, as the metric compares it."""
    assert isinstance(task.reference, Answer)
    counted = Counter(vqa_words(t) for t in task.reference.texts)
    best = counted.most_common(1)[0][0]
    return [next(t for t in task.reference.texts if vqa_words(t) == best)]


def _textvqa(record: Record, root: Path) -> Iterator[Ask]:
    yield Ask(
        id=record.text("question_id"),
        words=record.text("question").capitalize() + BRIEFLY,
        media=(picture(record, "image"),),
        reference=_answers(record),
    )


TEXTVQA = Spec(
    name="textvqa",
    about="Questions on text in photographs, ten annotators (Singh et al. 2019); validation 5000.",
    sources=(
        Source(
            layout=Layout("HF parquet", "validation-*.parquet of lmms-lab-encoder/textvqa", LOADED),
            rows=parquet(*split_of("validation")),
            asks=_textvqa,
        ),
    ),
    metric="vqa",
    says=most_common,
).benchmark()


def _gqa_rows(root: Path) -> list[Record]:
    """Questions, each with the picture of its `imageId`."""
    from ..formats.parquet import read_parquet

    asked = files(root, "testdev_balanced_instructions/*.parquet")
    shown = files(root, "testdev_balanced_images/*.parquet")
    pictures = {r.text("id"): r for r in read_parquet(shown)}
    return [_joined(r, pictures) for r in read_parquet(asked)]


def _joined(record: Record, pictures: dict[str, Record]) -> Record:
    name = record.text("imageId")
    if name not in pictures:
        raise DataError(f"{record.where}: picture {name!r} is not in testdev_balanced_images")
    return Record(record.where, dict(record), ("image",), pictures[name].__getitem__)


def _gqa(record: Record, root: Path) -> Iterator[Ask]:
    yield Ask(
        id=record.text("id"),
        words=record.text("question") + BRIEFLY,
        media=(picture(record, "image"),),
        reference=Answer((record.text("answer"),)),
    )


def _gqa_folder(root: Path) -> list[Record]:
    from ..formats.tables import read_json

    found = files(
        root, "testdev_balanced_questions.json", "questions/testdev_balanced_questions.json"
    )
    body = read_json(found[0]) if found else {}
    assert isinstance(body, dict)
    return [Record(f"{found[0].name}, question {k}", {"id": k, **v}) for k, v in body.items()]


def _gqa_file(record: Record, root: Path) -> Iterator[Ask]:
    yield Ask(
        id=record.text("id"),
        words=record.text("question") + BRIEFLY,
        media=(file_picture(record, root, f"images/{record.text('imageId')}.jpg"),),
        reference=Answer((record.text("answer"),)),
    )


GQA = Spec(
    name="gqa",
    about="Compositional questions on scenes (Hudson and Manning 2019); testdev balanced 12578.",
    sources=(
        Source(
            layout=Layout(
                "HF parquet, two configs",
                "testdev_balanced_instructions/ and testdev_balanced_images/ of "
                "lmms-lab-encoder/GQA",
                LOADED,
            ),
            rows=_gqa_rows,
            asks=_gqa,
        ),
        Source(
            layout=Layout("folder", "testdev_balanced_questions.json, images/", READ),
            rows=_gqa_folder,
            asks=_gqa_file,
        ),
    ),
    metric="plain",
    published="plain_lmms_eval",
).benchmark()


def _probe(record: Record, root: Path) -> Iterator[Ask]:
    """Paths begin with the name of the set, whose folder is the root or lies in it."""
    paths = record.texts("images")
    if len(paths) != 1:
        raise DataError(f"{record.where}: expected one path in `images`, got {len(paths)}")
    path = paths[0]
    level, _, rest = path.partition("/")
    yield Ask(
        id=f"{level.lower()}-{record.text('doc_id')}" if "doc_id" in record else row_id(record),
        words=record.text("problem").replace("<image>", "").strip(),
        media=(file_picture(record, root, path if (root / level).is_dir() else rest),),
        reference=Answer((record.text("solution").strip(),)),
        tags={"level": level.rpartition("_")[2].lower()},
    )


VISUALPROBE = Spec(
    name="visualprobe",
    about="Visual search in high-resolution pictures (Mini-o3, Lai et al. 2025); 515.",
    sources=(
        Source(
            layout=Layout(
                "json with pictures",
                "VisualProbe_{Easy,Medium,Hard}/val.json and data/, or one of these folders",
                READ,
            ),
            rows=table("val.json", "VisualProbe_*/val.json"),
            asks=_probe,
        ),
    ),
    metric="exact_match",
    summary=by("level"),
).benchmark()
