r"""What lmms-eval's own loaders say of our miniature folders; run in an environment of its own.

    python scripts/miniatures.py /tmp/mini
    python3 -m venv /tmp/lmms && /tmp/lmms/bin/pip install torch==2.13.0 lmms-eval==0.7.3 decord
    /tmp/lmms/bin/pip uninstall -y torchvision
    HF_HUB_OFFLINE=1 /tmp/lmms/bin/python scripts/golden_lmms_loaders.py /tmp/mini \
        tests/golden/eval_loaders.json

Each folder is opened as lmms-eval opens a dataset of the hub (`datasets`, by the folder's card),
under the configuration and split that its task names; the task's own functions then say question
and target. Of a question only our own made-up strings are stored.
"""

from __future__ import annotations

import importlib.util
import json
import re
import sys
import tempfile
import types
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

warnings.simplefilter("ignore")

import lmms_eval.tasks  # noqa: E402
from datasets import load_dataset  # noqa: E402

TASKS = Path(lmms_eval.tasks.__file__).parent
SILENT = {"pre_prompt": "", "post_prompt": ""}
Doc = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Their:
    """A task of lmms-eval.

    Args:
        folder: Of its functions.
        question: Its function of a row.
        target: Its column, or its function of a row.
        split: That its task reads.
        config: Of the dataset, where it has several.
        wording: What it is told to say around a question.
        module: File of its functions.
        rows_of: Its function of all rows, where it has one.
    """

    folder: str
    question: str
    target: str
    split: str = "test"
    config: str | None = None
    wording: Mapping[str, Any] = field(default_factory=lambda: dict(SILENT))
    module: str = "utils"
    rows_of: str = ""

    def rows(self, folder: Path) -> list[dict[str, Any]]:
        """Question and target of every row."""
        functions = self._functions()
        with tempfile.TemporaryDirectory() as cache:  # it tells folders apart by their last name
            docs = load_dataset(str(folder), self.config, split=self.split, cache_dir=cache)
            return self._said(functions, docs)

    def _said(self, functions: types.ModuleType, docs: Any) -> list[dict[str, Any]]:
        if self.rows_of:
            docs = getattr(functions, self.rows_of)(docs)
        out = []
        for doc in docs:
            question = _call(getattr(functions, self.question), doc, self.wording)
            if hasattr(functions, self.target):
                target = _call(getattr(functions, self.target), doc, self.wording)
            else:
                target = doc[self.target]
            out.append({"says": own(question, doc), "target": _plain(target)})
        return out

    def _functions(self) -> types.ModuleType:
        path = TASKS / self.folder / f"{self.module}.py"
        name = f"their_{self.folder}".replace("+", "_")
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module


THEIRS = {
    "blink": Their("blink", "blink_doc_to_text", "answer", "val", "Art_Style"),
    "charades_sta": Their("charades_sta", "temporal_grounding_doc_to_text", "timestamp"),
    "chartqa": Their("chartqa", "chartqa_doc_to_text", "answer"),
    "docvqa": Their("docvqa", "docvqa_doc_to_text", "answers", "validation", "DocVQA"),
    "gqa": Their("gqa", "gqa_doc_to_text", "answer", "testdev", "testdev_balanced_instructions"),
    "hrbench_4k": Their(
        "hrbench", "hrbench_doc_to_text", "answer", "hrbench_4k", "hrbench_version_split"
    ),
    "hrbench_8k": Their(
        "hrbench", "hrbench_doc_to_text", "answer", "hrbench_8k", "hrbench_version_split"
    ),
    "infovqa": Their("infovqa", "infovqa_doc_to_text", "answers", "validation", "InfographicVQA"),
    "longvideobench": Their(
        "longvideobench", "longvideobench_doc_to_text", "correct_choice", "validation"
    ),
    "lvbench": Their("lvbench", "lvbench_doc_to_text", "answer", "train"),
    "mme_realworld": Their("mme_realworld", "mme_realworld_doc_to_text", "answer", "train"),
    "mvbench": Their("mvbench", "mvbench_doc_to_text", "answer", "train", "action_sequence"),
    "realworldqa": Their("realworldqa", "realworldqa_doc_to_text", "answer"),
    "refcoco_val": Their(
        "refcoco",
        "refcoco_bbox_rec_doc_to_text",
        "bbox",
        "val",
        module="utils_rec",
        rows_of="refcoco_bbox_rec_preprocess_dataset",
    ),
    "refspatial": Their("refspatial", "refspatial_doc_to_text", "object", "location"),
    "robospatial_home": Their(
        "robo_spatial", "robo_spatial_doc_to_text", "robo_spatial_doc_to_answer", "configuration"
    ),
    "screenspot": Their("screenspot", "screenspot_rec_doc_to_text", "bbox", module="utils_rec"),
    "screenspot_pro": Their("screenspot_pro", "screenspot_pro_doc_to_text", "bbox"),
    "screenspot_v2": Their("screenspot_v2", "screenspot_v2_doc_to_text", "bbox"),
    "textvqa": Their("textvqa", "textvqa_doc_to_text", "answers", "validation"),
    "videomme": Their("videomme", "videomme_doc_to_text", "answer"),
    "vsibench": Their("vsibench", "vsibench_doc_to_text", "ground_truth"),
    "vstar": Their("vstar_bench", "vstar_doc_to_text", "label"),
}


def own(text: str, doc: Doc) -> list[str]:
    """The strings of a row that its question holds, in the order in which they stand there.

    A string that is not there as a whole is looked for line by line, then sentence by sentence;
    case is not looked at, since some tasks change it.
    """
    there = text.lower()
    parts = {part for value in _strings(dict(doc)) for part in _held(value, there)}
    found = [(there.index(v.lower()), v) for v in parts]
    whole = [
        (at, v) for at, v in found if not any(v != w and v.lower() in w.lower() for _, w in found)
    ]
    return [v for _, v in sorted(whole)]


def _held(value: str, text: str) -> list[str]:
    for pieces in ([value], value.splitlines(), re.split(r"(?<=[.?])\s+", value)):
        found = [p.strip() for p in pieces if len(p.strip()) > 2 and p.strip().lower() in text]
        if found:
            return found
    return []


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _strings(inner)


def _call(function: Callable[..., Any], doc: Doc, options: Mapping[str, Any]) -> Any:
    try:
        return function(doc, options)
    except TypeError:
        return function(doc)


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value, default=str))


def main(folder: Path, out: Path) -> None:
    """Ask every loader; one that cannot be asked is said, never left out silently."""
    found: dict[str, Any] = {"lmms_eval": version("lmms-eval"), "benchmarks": {}}
    for name, their in sorted(THEIRS.items()):
        try:
            found["benchmarks"][name] = their.rows(folder / name / "0")
        except Exception as err:
            print(f"{name}: {type(err).__name__}: {err}", file=sys.stderr)
            continue
        first = found["benchmarks"][name][0]
        print(f"{name}: {len(found['benchmarks'][name])} rows; {json.dumps(first)[:300]}")
    out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
