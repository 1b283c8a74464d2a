"""Golden numbers of lmms-eval's own scorers; run in an environment of its own.

    python3 -m venv /tmp/lmms && /tmp/lmms/bin/pip install torch==2.13.0 lmms-eval==0.7.3 decord
    /tmp/lmms/bin/pip uninstall -y torchvision
    HF_HUB_OFFLINE=1 /tmp/lmms/bin/python scripts/golden_eval_lmms.py tests/golden/eval_lmms.json

Only numbers and letters are stored; the cases are our own (`tests/support/eval_cases.py`).
"""

from __future__ import annotations

import json
import random
import sys
import warnings
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "support"))
warnings.simplefilter("ignore")

import eval_cases as cases  # noqa: E402
import numpy as np  # noqa: E402

OPTIONS = "ABCD"


def texts() -> dict[str, list[float]]:
    """ANLS, relaxed accuracy, VQA accuracy, exact match of GQA."""
    from lmms_eval.api.metrics import anls, exact_match_hf_evaluate
    from lmms_eval.tasks.chartqa.utils import relaxed_correctness
    from lmms_eval.tasks.textvqa.utils import textvqa_process_results

    def vqa(answer: str, golds: list[str]) -> float:
        doc = {"answers": list(golds), "question_id": 0}
        return float(textvqa_process_results(doc, [answer])["exact_match"])

    def plain(answer: str, gold: str) -> float:
        got = exact_match_hf_evaluate([answer], [gold], ignore_case=True, ignore_punctuation=True)
        return float(got["exact_match"])

    return {
        "anls": [anls(g, [a])["anls"] for a, g in cases.anls_cases()],
        "relaxed": [float(relaxed_correctness(a, g)) for a, g in cases.relaxed_cases()],
        "vqa": [vqa(a, g) for a, g in cases.vqa_cases()],
        "plain": [plain(a, g) for a, g in cases.plain_cases()],
    }


def choices() -> dict[str, str]:
    """The letter that each rule reads, one character a case; "-" for none."""
    from lmms_eval.tasks._task_utils.mcq_extract import extract_mcq_answer
    from lmms_eval.tasks.blink.utils import _extract_answer_letter
    from lmms_eval.tasks.hrbench.utils import hrbench_evaluator
    from lmms_eval.tasks.longvideobench.utils import parse_multi_choice_response
    from lmms_eval.tasks.mme_realworld.utils import extract_characters_regex
    from lmms_eval.tasks.mvbench.utils import mcq_acc
    from lmms_eval.tasks.vstar_bench.utils import extract_answer_letter

    def long_video(text: str, options: Sequence[str]) -> str:
        random.choice = lambda letters: "-"  # the reference draws one where it reads none
        return str(parse_multi_choice_response(text, list(OPTIONS), {}))

    def mv(text: str, options: Sequence[str]) -> str:
        return next((c for c in "ABCDE" if mcq_acc(c, text)), "-")

    readers: dict[str, Callable[[str, Sequence[str]], Any]] = {
        "ranked": lambda t, o: extract_mcq_answer(t, list(OPTIONS)),
        "vstar": lambda t, o: extract_answer_letter(t),
        "mme_realworld": lambda t, o: extract_characters_regex(t),
        "longvideobench": long_video,
        "hrbench": lambda t, o: hrbench_evaluator.can_infer(t, dict(zip(OPTIONS, o, strict=True))),
        "blink": lambda t, o: _extract_answer_letter(t, OPTIONS),
        "mvbench": mv,
    }
    drawn = cases.choice_cases()
    return {n: "".join(f(t, o) or "-" for t, o in drawn) for n, f in readers.items()}


def numbers() -> list[float]:
    """Mean relative accuracy of VSI-Bench."""
    from lmms_eval.tasks.vsibench.utils import vsibench_process_results

    def score(answer: str, gold: str) -> float:
        doc = {"question_type": "object_counting", "ground_truth": gold}
        vsibench_process_results(doc, [answer])
        return float(doc["MRA:.5:.95:.05"])

    return [score(a, g) for a, g in cases.mra_cases()]


def places() -> dict[str, list[Any]]:
    """Boxes, points, clicks, yes and no."""
    from lmms_eval.tasks.refcoco.utils_rec import (
        compute_center_accuracy,
        compute_iou,
        parse_float_sequence_within,
    )
    from lmms_eval.tasks.refspatial.utils import _refspatial_acc, _text2pts
    from lmms_eval.tasks.robo_spatial.utils import evaluate_binary_answer, json2pts
    from lmms_eval.tasks.screenspot.utils_rec import parse_float_sequence_within as screenspot
    from lmms_eval.tasks.screenspot_v2.utils import _parse_point

    boxes, said, points = cases.box_cases(), cases.box_answers(), cases.point_cases()

    def iou(wanted: list[float], found: list[float]) -> float | None:
        try:
            return float(compute_iou(wanted, found))
        except ZeroDivisionError:  # an inverted box whose area cancels the other's
            return None

    def refspatial(answer: str, mask: list[list[int]]) -> float:
        cells = np.array(mask)
        pixels = _text2pts(answer, cells.shape[1], cells.shape[0], 1)
        return float(_refspatial_acc(cells, pixels))

    yes = [t for t, _ in cases.choice_cases()][:500]
    return {
        "box_iou": [iou(w, f) for f, w in boxes],
        "center": [int(compute_center_accuracy(w, f)) for f, w in boxes],
        "refcoco_box": [parse_float_sequence_within(t) for t in said],
        "screenspot_box": [screenspot(t) for t in said],
        "screenspot_point": [_parse_point(t) for t in said],
        "refspatial": [refspatial(a, m) for a, m in points],
        "fenced": [json2pts(a, 1000, 1000).tolist() for a, m in points],
        "yes": [int(evaluate_binary_answer("yes", t)) for t in yes],
        "no": [int(evaluate_binary_answer("no", t)) for t in yes],
    }


def spans() -> dict[str, Any]:
    """Charades-STA: the span read from an answer, its overlap, and the table."""
    from lmms_eval.tasks.charades_sta.utils import (
        _temporal_grounding_compute_metrics,
        extract_time,
        iou,
    )

    drawn = cases.span_answers()
    found = [(extract_time(a) or [None])[0] for a, _ in drawn]
    rows = [{f"v{i}>>>c>>>{w}": a} for i, (a, w) in enumerate(drawn)]
    return {
        "span": found,
        "overlap": [float(iou(w, f)) if f else 0.0 for f, (_, w) in zip(found, drawn, strict=True)],
        "table": _temporal_grounding_compute_metrics(rows),
    }


def short(value: Any) -> Any:
    """Numbers with twelve digits, whole ones without a point."""
    if isinstance(value, float):
        return int(value) if value == int(value) else float(f"{value:.12g}")
    if isinstance(value, dict):
        return {k: short(v) for k, v in value.items()}
    return [short(v) for v in value] if isinstance(value, list | tuple) else value


def main(out: Path) -> None:
    """Write the file."""
    drawn = {
        name: cases.digest(getattr(cases, name)())
        for name in (
            "anls_cases", "relaxed_cases", "vqa_cases", "plain_cases", "choice_cases",
            "mra_cases", "box_cases", "box_answers", "point_cases", "span_answers",
        )
    }  # fmt: skip
    body = {
        "reference": f"lmms-eval {version('lmms-eval')}",
        "digests": drawn,
        "texts": texts(),
        "choices": choices(),
        "mra": numbers(),
        "places": places(),
        "spans": spans(),
    }
    out.write_text(json.dumps(short(body), separators=(",", ":")) + "\n", encoding="utf-8")
    print(f"{out}: {out.stat().st_size} bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
