"""Multiple choice about pictures: V*, HR-Bench, BLINK, RealWorldQA, MME-RealWorld."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from vtool.benchmark import Judged, Layout
from vtool.errors import DataError
from vtool.task import Answer, Choice

from ..formats.media import Medium, album, base64_picture, file_picture, picture
from ..formats.records import Record
from .base import Ask, Source, Spec
from .finding import parquet, split_of, table, tsv
from .summaries import by, groups, macro, mean

LOADED = "verified: lmms-eval 0.7.3 asks the same of a miniature of it"
READ = "verified: columns and folders as programs of others read the published files"
DOCUMENTED = "documented: from published descriptions; no copy was at hand"
DIRECTLY = "\nAnswer with the option's letter from the given choices directly."


def option(record: Record, options: tuple[str, ...], letter: str) -> Choice:
    """A reference by letter.

    Raises:
        DataError: No such option.
    """
    at = ord(letter.strip("() .").upper()[:1] or "?") - ord("A")
    if not 0 <= at < len(options):
        raise DataError(f"{record.where}: expected one of {len(options)} options, got {letter!r}")
    return Choice(options, at)


_INLINE = re.compile(r"\([A-D]\)\s*([^()]+?)(?=\s*\([A-D]\)|$)")


def _vstar(record: Record, medium: Medium) -> Iterator[Ask]:
    text = record.text("text")
    options = tuple(o.strip() for o in _INLINE.findall(text))
    lines = [f"{c}. {o}" for c, o in zip("ABCD", options, strict=False)]
    words = "\n".join([text.split("(A)")[0].strip(), *lines]) if options else text
    yield Ask(
        # Ids count within a category.
        id=f"{record.text('category')}-{record.text('question_id')}",
        words=words + DIRECTLY,
        media=(medium,),
        reference=option(record, options, record.text("label")),
        tags={"category": record.text("category")},
    )


VSTAR = Spec(
    name="vstar",
    about="Small attributes and relations in high-resolution pictures (Wu and Xie 2024); 191.",
    sources=(
        Source(
            layout=Layout("HF parquet", "test-*.parquet of lmms-lab-encoder/vstar-bench", LOADED),
            rows=parquet(*split_of("test")),
            asks=lambda r, root: _vstar(r, picture(r, "image")),
        ),
        Source(
            layout=Layout("jsonl with pictures", "test_questions.jsonl", READ),
            rows=table("test_questions.jsonl"),
            asks=lambda r, root: _vstar(r, file_picture(r, root, r.text("image"))),
        ),
    ),
    metric="choice",
    published="choice_vstar",
    summary=by("category"),
).benchmark()


def _lettered(record: Record) -> tuple[str, ...]:
    cells = [record[c] for c in "ABCDEFGH" if c in record]
    return tuple(str(c) for c in cells if c is not None and str(c) not in ("", "nan"))


def _hrbench(record: Record, root: Path) -> Iterator[Ask]:
    options = _lettered(record)
    lines = "".join(f"{c}. {o}\n" for c, o in zip("ABCDEFGH", options, strict=False))
    yield Ask(
        id=record.text("index"),
        words=f"{record.text('question').strip()}\n{lines}Answer the option letter directly.",
        media=(base64_picture(record, "image"),),
        reference=option(record, options, record.text("answer")),
        tags={
            "category": record.text("category"),
            "cycle": record.text("cycle_category") if "cycle_category" in record else "",
        },
    )


def cycles(judged: list[Judged]) -> dict[str, float]:
    """HR-Bench: the mean of the rotations' means, of all and of each category."""
    parts = {"overall": judged}
    for j in judged:
        parts.setdefault(str(j.tags.get("category")), []).append(j)
    return {n: mean([mean(v) for v in groups(p, "cycle").values()]) for n, p in parts.items()}


def _hr(size: str) -> Spec:
    where = f"hrbench_{size}-*.parquet or hr_bench_{size}.parquet of DreamMr/HR-Bench"
    names = (f"**/hrbench_{size}*.parquet", f"**/hr_bench_{size}*.parquet")
    return Spec(
        name=f"hrbench_{size}",
        about=f"Questions on {size.upper()} pictures, four rotations each (Wang et al. 2025); 800.",
        sources=(
            Source(
                layout=Layout("HF parquet, base64 pictures", where, LOADED),
                rows=parquet(*names, wide=("image",)),
                asks=_hrbench,
            ),
            Source(
                layout=Layout(
                    "TSV, base64 pictures",
                    f"hr_bench_{size}.tsv, or VLMEvalKit's HRBench{size.upper()}.tsv",
                    READ,
                ),
                rows=tsv(f"hr_bench_{size}.tsv", f"HRBench{size.upper()}.tsv"),
                asks=_hrbench,
            ),
        ),
        metric="choice",
        published="choice_hrbench",
        summary=cycles,
    )


HRBENCH_4K, HRBENCH_8K = _hr("4k").benchmark(), _hr("8k").benchmark()


def _blink(record: Record, root: Path) -> Iterator[Ask]:
    options = record.texts("choices")
    letters = ", ".join("ABCDEFGH"[: len(options)])
    only = f"Note: You only need to respond with {letters} without providing any additional "
    names = sorted((n for n in record if re.fullmatch(r"image_\d+", n)), key=lambda n: int(n[6:]))
    yield Ask(
        id=record.text("idx"),
        words=f"{only}information.\n{record.text('prompt')}",
        media=(album(record, names),),
        reference=option(record, options, record.text("answer")),
        tags={"sub_task": record.text("sub_task")},
    )


BLINK = Spec(
    name="blink",
    about="Fourteen tasks of perception that people do at a blink (Fu et al. 2024); 1901.",
    sources=(
        Source(
            layout=Layout("HF parquet", "<config>/val-*.parquet of BLINK-Benchmark/BLINK", LOADED),
            rows=parquet("*/val-*.parquet", "val-*.parquet", "data/*/val-*.parquet"),
            asks=_blink,
        ),
    ),
    metric="choice",
    published="choice_blink",
    summary=macro("sub_task"),
).benchmark()


def _realworld(record: Record, root: Path) -> Iterator[Ask]:
    where = record.where
    yield Ask(
        id=re.sub(r"\W+", "-", where),
        words=record.text("question").strip(),
        media=(picture(record, "image"),),
        reference=Answer((record.text("answer").strip(),)),
    )


REALWORLDQA = Spec(
    name="realworldqa",
    about="Questions on pictures of streets and rooms (xAI 2024); 765.",
    sources=(
        Source(
            layout=Layout("HF parquet", "test-*.parquet of lmms-lab-encoder/RealWorldQA", LOADED),
            rows=parquet(*split_of("test")),
            asks=_realworld,
        ),
    ),
    metric="choice_or_words",
    published="choice_or_words_ranked",
).benchmark()


def _mme(record: Record, root: Path) -> Iterator[Ask]:
    lines = record.texts("multi-choice options")
    options = tuple(re.sub(r"^[(（][A-E][)）]\s*", "", line) for line in lines)
    words = (
        f"{record.text('question')} The choices are listed below:\n" + "\n".join(lines) + "\n"
        "Select the best answer to the above multiple-choice question based on the image. Respond "
        "with only the letter (A, B, C, D, or E) of the correct option.\nThe best answer is: "
    )
    kind, _, task = record.text("category").partition("/")
    yield Ask(
        id=record.text("index"),
        words=words,
        media=(base64_picture(record, "bytes"),),
        reference=option(record, options, record.text("answer")),
        tags={"kind": kind, "task": task, "l2": record.text("l2-category")},
    )


def _mme_tsv(record: Record, root: Path) -> Iterator[Ask]:
    options = _lettered(record)
    lines = "\n".join(f"({c}) {o}" for c, o in zip("ABCDE", options, strict=False))
    yield Ask(
        id=record.text("index"),
        words=f"{record.text('question')} The choices are listed below:\n{lines}\n"
        "Respond with only the letter of the correct option.",
        media=(base64_picture(record, "image"),),
        reference=option(record, options, record.text("answer")),
        tags={
            "kind": record.text("category").partition("/")[0],
            "task": record.text("category").partition("/")[2],
            "l2": record.text("l2-category") if "l2-category" in record else "",
        },
    )


MME_REALWORLD = Spec(
    name="mme_realworld",
    about="Hard questions on large real pictures, E for what cannot be seen (Zhang et al. 2025).",
    sources=(
        Source(
            layout=Layout(
                "HF parquet, base64 pictures",
                "train-*.parquet of yifanzhang114/MME-RealWorld-Lmms-eval (also -CN, -lite)",
                LOADED,
            ),
            rows=parquet(*split_of("train"), wide=("bytes",)),
            asks=_mme,
        ),
        Source(
            layout=Layout("VLMEvalKit TSV", "MME-RealWorld*.tsv", DOCUMENTED),
            rows=tsv("MME-RealWorld*.tsv"),
            asks=_mme_tsv,
        ),
    ),
    metric="choice",
    published="choice_mme",
    summary=by("kind", "task"),
).benchmark()
