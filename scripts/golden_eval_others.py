r"""Golden numbers of other published scorers; run in an environment of its own.

    pip install pycocotools==2.0.11 scikit-learn torchmetrics==1.9.0 anls==0.0.2 torch
    pip install sty pandas huggingface_hub
    pip download --no-deps ms-vlmeval==0.0.20 && unzip ms_vlmeval-*.whl -d vlmeval
    git clone https://github.com/jayleicn/moment_detr; git clone https://github.com/doc-doc/NExT-GQA
    python scripts/golden_eval_others.py tests/golden/eval_others.json \\
        vlmeval/vlmeval moment_detr NExT-GQA/code/TempGQA

Only numbers and letters are stored; the cases are our own (`tests/support/eval_cases.py`).
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import itertools
import json
import os
import sys
import types
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "support"))
warnings.simplefilter("ignore")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import eval_cases as cases  # noqa: E402
import numpy as np  # noqa: E402


def overlaps() -> dict[str, list[float]]:
    """IoU of boxes and masks by the COCO tools."""
    from pycocotools import mask as coco

    def xywh(b: list[float]) -> list[float]:
        return [b[0], b[1], b[2] - b[0], b[3] - b[1]]

    def encoded(rows: list[list[int]]) -> Any:
        return coco.encode(np.asfortranarray(np.array(rows, np.uint8)))

    fine = [(f, w) for f, w in cases.box_cases() if f[0] < f[2] and f[1] < f[3]]
    return {
        "box": [float(coco.iou([xywh(f)], [xywh(w)], [0])[0, 0]) for f, w in fine],
        "mask": [
            float(coco.iou([encoded(f)], [encoded(w)], [0])[0, 0]) for f, w in cases.mask_cases()
        ],
    }


def statistics() -> dict[str, list[Any]]:
    """Macro-F1, Brier, AUROC, expected calibration error, distances on the earth."""
    import torch
    from sklearn.metrics import brier_score_loss, f1_score, roc_auc_score
    from sklearn.metrics.pairwise import haversine_distances
    from torchmetrics.functional.classification import binary_calibration_error

    sets = [([c for c, _ in s], [int(r) for _, r in s]) for s in cases.stated_cases()]
    earth = np.radians(cases.earth_places())

    def ece(stated: tuple[list[float], list[int]]) -> float:
        # The confidence is that the answer is right: torchmetrics takes it for class 1 as is.
        p, y = torch.tensor(stated[0], dtype=torch.float64), torch.tensor(stated[1])
        return float(binary_calibration_error(p, y, n_bins=10))

    return {
        "macro_f1": [
            float(f1_score(w, a, labels=sorted(set(w)), average="macro", zero_division=0))
            for a, w in cases.label_cases()
        ],
        "brier": [float(brier_score_loss(y, p)) for p, y in sets],
        "auroc": [float(roc_auc_score(y, p)) if 0 < sum(y) < len(y) else None for p, y in sets],
        "ece": [ece(s) for s in sets],
        "haversine": [
            float(haversine_distances([a, b])[0, 1] * 6371.0) for a, b in itertools.pairwise(earth)
        ],
    }


def anls_package() -> list[float]:
    """The `anls` package."""
    from anls import anls_score

    return [float(anls_score(prediction=a, gold_labels=g)) for a, g in cases.anls_cases()]


def vlmevalkit(root: Path) -> dict[str, Any]:
    """VLMEvalKit's functions, loaded from their files: the package whole needs far more."""
    smp = types.ModuleType("vlmeval.smp")
    log = types.ModuleType("vlmeval.smp.log")
    sys.modules |= {"vlmeval": types.ModuleType("vlmeval"), smp.__name__: smp, log.__name__: log}
    stubs = {"get_logger": lambda name: None, "istype": None, "listinstr": None}
    vars(log).update(stubs)
    vars(smp).update(stubs, process_punctuation=load(root / "smp" / "misc.py").process_punctuation)
    match = load(root / "utils" / "matching_util.py")
    vqa = load(root / "dataset" / "utils" / "vqa_eval.py")

    def accuracy(answer: str, golds: list[str]) -> float:
        gold = [vqa.process_answer(g) for g in golds]
        line = [
            min(1.0, sum(g == vqa.process_answer(answer) for j, g in enumerate(gold) if j != i) / 3)
            for i in range(len(gold))
        ]
        return float(np.mean(line))

    def best(answer: str, golds: list[str]) -> float:
        near = 1 - min(vqa.anls_compute(g, answer) for g in golds)
        return 0.0 if near < 0.5 else near

    return {
        "choice": "".join(
            match.can_infer(t, dict(zip("ABCD", o, strict=True))) or "-"
            for t, o in cases.choice_cases()
        ),
        "vqa": [accuracy(a, g) for a, g in cases.vqa_cases()],
        "relaxed": [float(vqa.relaxed_correctness(g, a.strip())) for a, g in cases.relaxed_cases()],
        "anls": [best(a, g) for a, g in cases.anls_cases()],
    }


def moments(root: Path) -> dict[str, Any]:
    """moment_detr's evaluation of QVHighlights, and the table without rounding by query."""
    sys.path.insert(0, str(root))
    from standalone_eval.eval import eval_submission  # type: ignore[import-not-found]
    from standalone_eval.utils import (  # type: ignore[import-not-found]
        compute_average_precision_detection,
    )

    rows = cases.moment_cases()
    with contextlib.redirect_stdout(io.StringIO()):
        table = eval_submission(rows, rows, verbose=False)
    return {
        "brief": dict(table["brief"]),
        "ap": [list(ap(compute_average_precision_detection, r)) for r in rows[:150]],
    }


def ap(compute: Any, row: dict[str, Any]) -> Any:
    """Average precision of one query at ten thresholds, at most ten predictions."""

    def entry(w: list[float]) -> dict[str, Any]:
        return {"video-id": 0, "t-start": w[0], "t-end": w[1], "score": w[2] if len(w) > 2 else 0}

    steps = [float(f"{t:.2f}") for t in np.linspace(0.5, 0.95, 10)]
    found = [entry(w) for w in row["pred_relevant_windows"][:10]]
    return compute([entry(w) for w in row["relevant_windows"]], found, steps).tolist()


def grounding(root: Path) -> dict[str, Any]:
    """NExT-GQA's evaluation: overlaps of each question, and the printed table."""
    util = types.ModuleType("util")
    vars(util).update(np=np, osp=os.path)
    sys.modules["util"] = util
    module = load(root / "eval_ground.py")
    rows = cases.ground_cases()
    gold = {str(i): {"duration": 60, "location": {"0": r["locs"]}} for i, r in enumerate(rows)}
    said = {f"{i}_0": r["span"] for i, r in enumerate(rows) if r["span"] is not None}
    right = {
        f"{i}_0": {"answer": 1, "prediction": int(bool(r["right"]))} for i, r in enumerate(rows)
    }
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        module.eval_ground(gold, said, right)
    pairs = [
        [list(map(float, module.get_tIoU(loc, r["span"]))) for loc in r["locs"]]  # type: ignore[attr-defined]
        for r in rows
        if r["span"] is not None
    ]
    return {"table": [float(v) for v in printed.getvalue().splitlines()[1].split()], "pairs": pairs}


def load(path: Path) -> Any:
    """A module from a file."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def short(value: Any) -> Any:
    """Numbers with twelve digits, whole ones without a point."""
    if isinstance(value, float):
        return int(value) if value == int(value) else float(f"{value:.12g}")
    if isinstance(value, dict):
        return {k: short(v) for k, v in value.items()}
    return [short(v) for v in value] if isinstance(value, list | tuple) else value


def main(out: Path, vlmeval: Path, moment_detr: Path, next_gqa: Path) -> None:
    """Write the file."""
    names = "box_cases mask_cases stated_cases label_cases earth_places moment_cases ground_cases"
    body = {
        "references": {
            p: version(p) for p in ("pycocotools", "scikit-learn", "torchmetrics", "anls")
        }
        | {"vlmevalkit": "ms-vlmeval 0.0.20"},
        "digests": {n: cases.digest(getattr(cases, n)()) for n in names.split()},
        "overlaps": overlaps(),
        "statistics": statistics(),
        "anls_package": anls_package(),
        "vlmevalkit": vlmevalkit(vlmeval),
        "moments": moments(moment_detr),
        "grounding": grounding(next_gqa),
    }
    out.write_text(json.dumps(short(body), separators=(",", ":")) + "\n", encoding="utf-8")
    print(f"{out}: {out.stat().st_size} bytes")


if __name__ == "__main__":
    main(*(Path(a).resolve() for a in sys.argv[1:5]))
