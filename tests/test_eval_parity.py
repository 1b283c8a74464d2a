"""Our metrics give the numbers of published scorers, on thousands of seeded cases.

`scripts/golden_eval_lmms.py` and `scripts/golden_eval_others.py` made the numbers. Where we differ
on purpose, the difference itself is asserted here and told in `docs/eval/metrics.md`.
"""

from __future__ import annotations

import json
from functools import cache
from itertools import pairwise
from pathlib import Path

import eval_cases as cases
import numpy as np
import pytest
from vtool.eval.metrics import places, spans
from vtool.eval.metrics.calibration import Stated, auroc, brier, expected_calibration_error
from vtool.eval.metrics.choice import ChoiceRule, first_or_contained, read_choice
from vtool.eval.metrics.moments import (
    Query,
    average_precision,
    highlight_table,
    moment_table,
    percent,
)
from vtool.eval.metrics.segmentation import overlap

from vtool.metrics_number import first_number, haversine_km, mean_relative_accuracy
from vtool.metrics_shape import box_iou, center_in_box, share_in_mask
from vtool.metrics_text import Rule, anls, macro_f1, plain_match, relaxed_accuracy, vqa_accuracy

GOLDEN = Path(__file__).parent / "golden"


@cache
def lmms() -> dict:
    return json.loads((GOLDEN / "eval_lmms.json").read_text(encoding="utf-8"))


@cache
def others() -> dict:
    return json.loads((GOLDEN / "eval_others.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("golden", [lmms, others])
def test_the_cases_are_those_that_were_scored(golden):
    drawn = {n: cases.digest(getattr(cases, n)()) for n in golden()["digests"]}
    assert drawn == golden()["digests"]


TEXTS = {
    "anls": (cases.anls_cases, lambda a, g, rule: anls(a, g, rule=rule)),
    "relaxed": (cases.relaxed_cases, lambda a, g, rule: relaxed_accuracy(a, g, rule=rule)),
    "vqa": (cases.vqa_cases, lambda a, g, rule: vqa_accuracy(a, g, rule=rule)),
    "plain": (cases.plain_cases, lambda a, g, rule: plain_match(a, g, rule=rule)),
}


@pytest.mark.parametrize("name", TEXTS)
def test_texts_score_as_in_lmms_eval(name):
    draw, score = TEXTS[name]
    wanted = lmms()["texts"][name]
    got = [score(a, g, Rule.LMMS_EVAL) for a, g in draw()]
    assert len(got) == len(wanted) >= 1200
    np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-11)
    assert 0.1 < np.mean(wanted) < 0.9  # cases that are all right or all wrong would show nothing


@pytest.mark.parametrize("name", ["anls", "relaxed", "vqa"])
def test_texts_score_as_in_vlmevalkit(name):
    draw, score = TEXTS[name]
    got = [score(a, g, Rule.VLMEVALKIT) for a, g in draw()]
    np.testing.assert_allclose(got, others()["vlmevalkit"][name], rtol=0, atol=1e-11)


def test_strict_anls_is_the_anls_package_but_for_spaces():
    """The package does not join inner spaces, and drops a similarity of exactly one half."""
    same = [i for i, (a, g) in enumerate(cases.anls_cases()) if all(tidy(t) for t in (a, *g))]
    drawn = cases.anls_cases()
    scores = [(anls(*drawn[i]), others()["anls_package"][i]) for i in same]
    assert all(theirs == 0 for ours, theirs in scores if ours == 0.5)
    kept = [pair for pair in scores if pair[0] != 0.5]
    assert len(kept) > 300
    np.testing.assert_allclose(*zip(*kept, strict=True), atol=1e-11)


def tidy(text: str) -> bool:
    return text == " ".join(text.split())


RULES = {
    "ranked": ChoiceRule.RANKED,
    "vstar": ChoiceRule.VSTAR,
    "longvideobench": ChoiceRule.FIRST,
    "blink": ChoiceRule.BLINK,
    "mvbench": ChoiceRule.MVBENCH,
    "hrbench": ChoiceRule.HRBENCH,
}


@pytest.mark.parametrize("name", RULES)
def test_choices_are_read_as_in_lmms_eval(name):
    wanted = lmms()["choices"][name].replace("Z", "-")  # Z stands for a refusal: no option
    assert len(wanted) == 3000
    assert read_all(RULES[name]) == wanted
    assert len(set(wanted) & set("ABCD")) == 4


def test_choices_are_read_as_in_mme_realworld():
    got = "".join(first_or_contained(a) or "-" for a, _ in cases.choice_cases())
    assert got == lmms()["choices"]["mme_realworld"]


def test_choices_are_read_as_in_vlmevalkit():
    assert read_all(ChoiceRule.VLMEVALKIT) == others()["vlmevalkit"]["choice"].replace("Z", "-")


def read_all(rule: ChoiceRule) -> str:
    return "".join(read_choice(a, o, rule) or "-" for a, o in cases.choice_cases())


def test_quantities_score_as_in_vsi_bench():
    got = [mean_relative_accuracy(first_number(a), float(g)) for a, g in cases.mra_cases()]
    np.testing.assert_allclose(got, lmms()["mra"], atol=1e-11)


def test_boxes_overlap_as_in_lmms_eval():
    wanted, golden = cases.box_cases(), lmms()["places"]
    got = [box_iou(w, f, as_published=True) for f, w in wanted]
    np.testing.assert_allclose(got, [v or 0.0 for v in golden["box_iou"]], atol=1e-11)
    assert [int(center_in_box(f, w)) for f, w in wanted] == golden["center"]


def test_boxes_and_masks_overlap_as_in_the_coco_tools():
    fine = [(f, w) for f, w in cases.box_cases() if f[0] < f[2] and f[1] < f[3]]
    got = [box_iou(f, w) for f, w in fine]
    np.testing.assert_allclose(got, others()["overlaps"]["box"], atol=1e-9)
    pairs = [(np.array(f, bool), np.array(w, bool)) for f, w in cases.mask_cases()]
    wanted = others()["overlaps"]["mask"]
    empty = [not (f | w).any() for f, w in pairs]
    ious = [overlap(f, w).iou() for f, w in pairs]
    # Nothing found where nothing is wanted: 1 by LISA, 0 by the COCO tools.
    assert [o for o, e in zip(ious, empty, strict=True) if e] == [1.0] * sum(empty)
    kept = [(o, w) for o, w, e in zip(ious, wanted, empty, strict=True) if not e]
    np.testing.assert_allclose(*zip(*kept, strict=True), atol=1e-11)


def test_places_are_read_as_in_lmms_eval():
    said, golden = cases.box_answers(), lmms()["places"]
    none = [0, 0, 0, 0]
    assert [list(places.first_box(t) or none) for t in said] == golden["refcoco_box"]
    got = [list(places.screenspot_box(t) or none) for t in said]
    np.testing.assert_allclose(got, golden["screenspot_box"], atol=1e-11)
    clicks = [places.screenspot_point(t) for t in said]
    assert [c is None for c in clicks] == [g is None for g in golden["screenspot_point"]]
    for click, wanted in zip(clicks, golden["screenspot_point"], strict=True):
        assert wanted is None or click == pytest.approx(wanted, abs=1e-11)


def test_points_in_masks_score_as_in_refspatial():
    drawn = cases.point_cases()
    got = [
        share_in_mask(places.refspatial_points(a), np.array(m, bool), as_published=True)
        for a, m in drawn
    ]
    np.testing.assert_allclose(got, lmms()["places"]["refspatial"], atol=1e-11)
    strict = [share_in_mask(places.refspatial_points(a), np.array(m, bool)) for a, m in drawn]
    worse = [s - g for s, g in zip(strict, got, strict=True)]
    assert max(worse) == 0 > min(worse)  # strictly, a point outside is never inside


def test_fenced_points_and_yes_or_no_are_read_as_in_robospatial():
    golden = lmms()["places"]
    got = [[[int(x), int(y)] for x, y in places.fenced_points(a)] for a, _ in cases.point_cases()]
    # The reference scales through /1000*1000, which loses one now and then.
    assert all(len(a) == len(b) for a, b in zip(got, golden["fenced"], strict=True))
    flat = [
        np.abs(np.subtract(a, b)).max() for a, b in zip(got, golden["fenced"], strict=True) if a
    ]
    assert flat
    assert max(flat) <= 1
    said = [t for t, _ in cases.choice_cases()][:500]
    assert [int(places.yes_or_no(t) is True) for t in said] == golden["yes"]
    assert [int(places.yes_or_no(t) is False) for t in said] == golden["no"]


def test_spans_are_read_and_scored_as_in_charades_sta():
    drawn, golden = cases.span_answers(), lmms()["spans"]
    found = [spans.charades_span(a) for a, _ in drawn]
    assert [list(f) if f else None for f in found] == golden["span"]
    got = [
        spans.hull_iou(f, tuple(w)) if f else 0.0 for f, (_, w) in zip(found, drawn, strict=True)
    ]
    np.testing.assert_allclose(got, golden["overlap"], atol=1e-11)
    # Its table is keyed by the question, so that equal questions count once.
    table = spans.recall_table(got)
    ours = {"IOU@3": "R1@0.3", "IOU@5": "R1@0.5", "IOU@7": "R1@0.7", "mIOU": "mIoU"}
    for theirs, name in ours.items():
        assert 100 * table[name] == pytest.approx(golden["table"][theirs], abs=1e-9)


def test_moments_score_as_in_the_qvhighlights_evaluation():
    rows, golden = cases.moment_cases(), others()["moments"]
    queries = [query(r) for r in rows]
    for made, wanted in zip(queries, golden["ap"], strict=False):
        np.testing.assert_allclose(average_precision(made), wanted, atol=1e-11)
    table = {k: percent(v) for k, v in moment_table(queries).items()}
    brief = {k.removeprefix("MR-"): v for k, v in golden["brief"].items() if k.startswith("MR")}
    assert table == brief
    saliency = [fill(r) for r in rows]
    ours = highlight_table([r["pred_saliency_scores"] for r in rows], saliency)
    theirs = {
        k.removeprefix("HL-min-"): v for k, v in golden["brief"].items() if k.startswith("HL")
    }
    assert {k: percent(v) for k, v in ours.items()} == theirs


def query(row: dict) -> Query:
    found = row["pred_relevant_windows"]
    return Query(
        tuple((w[0], w[1]) for w in row["relevant_windows"]),
        tuple((w[0], w[1]) for w in found),
        tuple(w[2] for w in found),
    )


def fill(row: dict) -> np.ndarray:
    out = np.zeros((row["duration"] // 2, 3), np.int64)
    out[row["relevant_clip_ids"]] = row["saliency_scores"]
    return out


def test_grounding_scores_as_in_next_gqa():
    rows, golden = cases.ground_cases(), others()["grounding"]
    asked = [r for r in rows if r["span"] is not None]
    for row, pairs in zip(asked, golden["pairs"], strict=True):
        got = spans.ground_overlaps(tuple(row["span"]), row["locs"])
        wanted = [max(0.0, *(p[k] for p in pairs)) for k in (0, 1)]
        np.testing.assert_allclose(got, wanted, atol=1e-11)
    made = [grounded(r) for r in rows]
    table = spans.gqa_table(made, skip_missing=True)
    names = ("Acc@GQA", "mIoP", "IoP@0.3", "IoP@0.5", "mIoU", "IoU@0.3", "IoU@0.5")
    assert [float(f"{100 * table[n]:.1f}") for n in names] == golden["table"]
    assert spans.gqa_table(made)["Acc@GQA"] < table["Acc@GQA"]  # strictly, no answer is wrong


def grounded(row: dict) -> spans.Grounding | None:
    if row["span"] is None:
        return None
    return spans.Grounding(*spans.ground_overlaps(tuple(row["span"]), row["locs"]), row["right"])


def test_statistics_are_those_of_scikit_learn_and_torchmetrics():
    golden = others()["statistics"]
    sets = [[Stated(c, r) for c, r in s] for s in cases.stated_cases()]
    np.testing.assert_allclose([brier(s) for s in sets], golden["brier"], atol=1e-11)
    areas = [auroc(s) for s in sets]
    assert [a is None for a in areas] == [g is None for g in golden["auroc"]]
    np.testing.assert_allclose(
        [a or 0 for a in areas], [g or 0 for g in golden["auroc"]], atol=1e-11
    )
    # torchmetrics closes its bins below, we above (Guo et al.): no sets with a border value.
    off = [i for i, s in enumerate(sets) if all((10 * t.confidence) % 1 > 1e-9 for t in s)]
    assert len(off) > 15
    ours = [expected_calibration_error(sets[i], bins=10) for i in off]
    np.testing.assert_allclose(ours, [golden["ece"][i] for i in off], atol=1e-7)
    got = [macro_f1(a, w) for a, w in cases.label_cases()]
    np.testing.assert_allclose(got, golden["macro_f1"], atol=1e-11)


def test_distances_are_those_of_scikit_learn():
    places_ = cases.earth_places()
    got = [haversine_km(a, b) for a, b in pairwise(places_)]
    np.testing.assert_allclose(got, others()["statistics"]["haversine"], rtol=1e-9)
