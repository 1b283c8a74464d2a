"""Metrics of an answer to a task, by name: what `Settings.metric` and benchmarks ask for.

A name without a suffix is our strict reading; a suffix names whose reading it is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vtool.benchmark import Metric
from vtool.errors import GeometryError
from vtool.geometry import Convention, Mask, Units
from vtool.metrics_number import first_number, mean_relative_accuracy
from vtool.metrics_shape import box_iou, point_in_box, point_in_mask, share_in_mask
from vtool.metrics_text import Rule, anls, plain_match, relaxed_accuracy, vqa_accuracy
from vtool.rle import decode_mask
from vtool.task import Answer, Boxes, Choice, Masks, Reference, Spans, Task

from . import places
from .choice import ChoiceRule, first_or_contained, letters, read_choice
from .segmentation import Overlap, overlap
from .spans import Seconds, charades_span, ground_overlaps, hull_iou

MAX_ANSWER = 20_000
"""Longer answers are wrong: nothing above reads them in reasonable time."""


def by_choice(rule: ChoiceRule) -> Metric:
    """1.0 where the letter read by a rule is the right one."""

    def score(answer: str | None, task: Task) -> float:
        options, right = offered(task.reference)
        if answer is None or len(answer) > MAX_ANSWER:
            return 0.0
        return float(right is not None and read_choice(answer, options, rule) == right)

    return score


def offered(reference: Reference) -> tuple[tuple[str, ...], str | None]:
    """Options and the right letter; where the options stand in the question, only their count."""
    if isinstance(reference, Choice):
        return reference.options, reference.letter
    if isinstance(reference, Answer) and reference.texts[0] in letters(26):
        return ("",) * 5, reference.texts[0]
    return (), None


choice = by_choice(ChoiceRule.STRICT)
choice_ranked = by_choice(ChoiceRule.RANKED)
choice_vstar = by_choice(ChoiceRule.VSTAR)
choice_first = by_choice(ChoiceRule.FIRST)
choice_vlmevalkit = by_choice(ChoiceRule.VLMEVALKIT)
choice_hrbench = by_choice(ChoiceRule.HRBENCH)
choice_blink = by_choice(ChoiceRule.BLINK)
choice_mvbench = by_choice(ChoiceRule.MVBENCH)


def choice_mme(answer: str | None, task: Task) -> float:
    """MME-RealWorld's reading, with its last step."""
    _, right = offered(task.reference)
    return float(answer is not None and right is not None and first_or_contained(answer) == right)


def choice_or_words(answer: str | None, task: Task) -> float:
    """RealWorldQA: a letter where one is wanted, else the same words."""
    return _choice_or_words(answer, task, ChoiceRule.STRICT)


def choice_or_words_ranked(answer: str | None, task: Task) -> float:
    """RealWorldQA as lmms-eval reads it."""
    return _choice_or_words(answer, task, ChoiceRule.RANKED)


def _choice_or_words(answer: str | None, task: Task, rule: ChoiceRule) -> float:
    if answer is None or not isinstance(task.reference, Answer):
        return 0.0
    wanted = task.reference.texts[0]
    if wanted.upper() in tuple("ABCD"):
        return float(read_choice(answer, ("",) * 4, rule) == wanted.upper())
    return float(answer.lower().strip().rstrip(".") == wanted.lower())


def _texts(task: Task) -> tuple[str, ...]:
    return task.reference.texts if isinstance(task.reference, Answer) else ()


def _of_words(one: str, rule: Rule) -> Metric:
    def score(answer: str | None, task: Task) -> float:
        golds = _texts(task)
        if answer is None or not golds or len(answer) > MAX_ANSWER:
            return 0.0
        if one == "anls":
            return anls(answer[:1000], golds, rule=rule)
        if one == "vqa":
            return vqa_accuracy(answer, golds, rule=rule)
        if one == "relaxed":
            return max(relaxed_accuracy(answer, g, rule=rule) for g in golds)
        return max(plain_match(answer, g, rule=rule) for g in golds)

    return score


anls_score = _of_words("anls", Rule.STRICT)
anls_lmms_eval = _of_words("anls", Rule.LMMS_EVAL)
relaxed = _of_words("relaxed", Rule.STRICT)
relaxed_lmms_eval = _of_words("relaxed", Rule.LMMS_EVAL)
relaxed_vlmevalkit = _of_words("relaxed", Rule.VLMEVALKIT)
vqa = _of_words("vqa", Rule.STRICT)
vqa_vlmevalkit = _of_words("vqa", Rule.VLMEVALKIT)
plain = _of_words("plain", Rule.STRICT)
plain_lmms_eval = _of_words("plain", Rule.LMMS_EVAL)


def vsi(answer: str | None, task: Task) -> float:
    """VSI-Bench: the strict letter where options are offered, else mean relative accuracy."""
    if isinstance(task.reference, Choice):
        return choice(answer, task)
    golds = _texts(task)
    if answer is None or not golds:
        return 0.0
    return mean_relative_accuracy(first_number(answer), float(golds[0]))


def vsi_published(answer: str | None, task: Task) -> float:
    """As `vsi`; the letter is the first word, a period at its end aside."""
    if isinstance(task.reference, Choice):
        word = (answer or "").split(" ")[0].rstrip(".").strip()
        return float(word.lower() == task.reference.letter.lower())
    return vsi(answer, task)


def units_of(task: Task) -> Convention:
    """The units in which the question asks for places; its author declares them as a tag."""
    return Convention(Units(str(task.tags.get("units", Units.UNIT.value))))


def _scaled(task: Task, raw: Sequence[float]) -> list[float]:
    """Raw numbers, x and y in turn, as shares of the sides; no number is guessed at."""
    size = task.tags.get("size")
    original = (int(size[0]), int(size[1])) if isinstance(size, list) else (1, 1)  # type: ignore[arg-type]
    x, y = units_of(task).scale(original=original, shown=None)
    return [v / (y if i % 2 else x) for i, v in enumerate(raw)]


def box_overlap(answer: str | None, task: Task) -> float:
    """IoU of the first box of the answer with the wanted one, in the declared units."""
    if answer is None or not isinstance(task.reference, Boxes):
        return 0.0
    raw = places.first_box(answer[:MAX_ANSWER])
    if raw is None:
        return 0.0
    found = _scaled(task, raw)
    return max(box_iou(found, (b.x1, b.y1, b.x2, b.y2)) for b in task.reference.boxes)


def box_at_half(answer: str | None, task: Task) -> float:
    """1.0 for an IoU of at least one half."""
    return float(box_overlap(answer, task) >= 0.5)


def click(answer: str | None, task: Task) -> float:
    """1.0 where the first point, or the middle of the first box, lies in the wanted box.

    In the declared units; a box in the answer counts as its middle.
    """
    if answer is None or not isinstance(task.reference, Boxes):
        return 0.0
    text = answer[:MAX_ANSWER]
    box, points = places.screenspot_raw_box(text), places.named_points(text)
    if box is not None:
        raw = [(box[0] + box[2]) / 2, (box[1] + box[3]) / 2]
    elif points:
        raw = list(points[0])
    else:
        return 0.0
    x, y = _scaled(task, raw)
    return float(any(point_in_box(x, y, (b.x1, b.y1, b.x2, b.y2)) for b in task.reference.boxes))


def click_published(answer: str | None, task: Task) -> float:
    """lmms-eval's ScreenSpot-v2 and -Pro: values above 1 are taken for pixels."""
    found = places.screenspot_point((answer or "")[:MAX_ANSWER])
    if found is None or not isinstance(task.reference, Boxes):
        return 0.0
    size = task.tags.get("size")
    width, height = size if isinstance(size, list) else (1, 1)
    if max(found) > 1:
        found = (found[0] / float(width), found[1] / float(height))  # type: ignore[arg-type]
    return float(any(point_in_box(*found, (b.x1, b.y1, b.x2, b.y2)) for b in task.reference.boxes))


def points_in_mask(answer: str | None, task: Task) -> float:
    """Share of the named points that lie in the wanted mask (RefSpatial), in the declared units."""
    cells = _cells(task)
    if answer is None or cells is None:
        return 0.0
    named = places.named_points(answer[:MAX_ANSWER])
    return share_in_mask([_pair(task, p) for p in named], cells)


def points_in_mask_published(answer: str | None, task: Task) -> float:
    """As RoboRefer's evaluation reads and rounds."""
    cells = _cells(task)
    if answer is None or cells is None:
        return 0.0
    named = places.refspatial_points(answer[:MAX_ANSWER])
    return share_in_mask([_pair(task, p) for p in named], cells, as_published=True)


def robospatial(answer: str | None, task: Task) -> float:
    """Yes or no on the last line; for places, any named point in the mask."""
    return _robospatial(answer, task, first_only=False)


def robospatial_published(answer: str | None, task: Task) -> float:
    """As lmms-eval: "yes" and "no" count inside words, points stand in a fenced block of JSON."""
    text = (answer or "")[:MAX_ANSWER]
    cells = _cells(task)
    if cells is None:
        said = places.yes_or_no(text)
        return float(said is not None and said == (_texts(task)[0].lower() == "yes"))
    named = [(x / 1000, y / 1000) for x, y in places.fenced_points(text)]
    return float(share_in_mask(named, cells, as_published=True) > 0)


def robospatial_first(answer: str | None, task: Task) -> float:
    """As `robospatial`, but the first named point must lie in the mask."""
    return _robospatial(answer, task, first_only=True)


def _robospatial(answer: str | None, task: Task, first_only: bool) -> float:
    text = (answer or "")[:MAX_ANSWER]
    cells = _cells(task)
    if cells is None:
        said = places.yes_or_no(text, words=True)
        return float(said is not None and said == (_texts(task)[0].lower() == "yes"))
    named = places.named_points(text)
    used = named[:1] if first_only else named
    return float(any(point_in_mask(*_pair(task, p), cells) for p in used))


def _pair(task: Task, raw: tuple[float, float]) -> tuple[float, float]:
    x, y = _scaled(task, raw)
    return x, y


def _cells(task: Task) -> NDArray[np.bool_] | None:
    return task.reference.masks[0].cells if isinstance(task.reference, Masks) else None


def mask_overlap(answer: str | None, task: Task) -> float:
    """IoU of the mask of an answer with the wanted one; see `named_mask` for what it may say."""
    counted = mask_counts(answer, task.reference, task)
    return counted.iou() if counted is not None else 0.0


def mask_counts(answer: str | None, reference: Reference, task: Task) -> Overlap | None:
    """Cells shared and united; the second mask of the reference, if any, is left out of both."""
    if not isinstance(reference, Masks):
        return None
    wanted = reference.masks[0].cells
    ignored = reference.masks[1].cells if len(reference.masks) > 1 else None
    found = named_mask(answer or "", task, wanted.shape)
    if found is None or found.cells.shape != wanted.shape:
        return Overlap(0, int(wanted.sum()))
    return overlap(found.cells, wanted, ignored)


def named_mask(answer: str, task: Task, shape: tuple[int, ...]) -> Mask | None:
    """A run-length encoded mask, or a box in the declared units as a filled rectangle."""
    try:
        body = json.loads(answer)
        return decode_mask(body) if isinstance(body, dict) else _filled(answer, task, shape)
    except (ValueError, GeometryError, RecursionError):
        return _filled(answer, task, shape)


def _filled(answer: str, task: Task, shape: tuple[int, ...]) -> Mask | None:
    raw = places.first_box(answer[:MAX_ANSWER])
    if raw is None:
        return None
    x1, y1, x2, y2 = (min(1.0, max(0.0, v)) for v in _scaled(task, raw))
    cells = np.zeros((shape[0], shape[1]), bool)
    rows = slice(round(y1 * shape[0]), round(y2 * shape[0]))
    cells[rows, round(x1 * shape[1]) : round(x2 * shape[1])] = True
    return Mask(cells)


def wanted_spans(reference: Reference) -> tuple[Seconds, ...]:
    """Annotated stretches in seconds."""
    if not isinstance(reference, Spans):
        return ()
    return tuple((s.start_s, s.end_s) for s in reference.spans)


def span_overlap(answer: str | None, task: Task) -> float:
    """Overlap of the first span of the answer with the annotated one it meets best."""
    found = charades_span(answer[:MAX_ANSWER]) if answer else None
    wanted = wanted_spans(task.reference)
    return max((hull_iou(found, w) for w in wanted), default=0.0) if found else 0.0


_PAIR = re.compile(r"(\d+(?:\.\d+)?)\s*(?:,|-|–|to)\s*(\d+(?:\.\d+)?)")


def listed_spans(answer: str) -> tuple[Seconds, ...]:
    """All pairs of seconds of an answer, in order: "[[2, 8], [20, 30.5]]" or "2 - 8, 20 - 30.5".

    Pairs that do not rise are left out.
    """
    pairs = [(float(a), float(b)) for a, b in _PAIR.findall(answer[:MAX_ANSWER])]
    return tuple(p for p in pairs if p[0] < p[1])


def moment_overlap(answer: str | None, task: Task) -> float:
    """Overlap of the first listed window with the annotated one it meets best (QVHighlights)."""
    found = listed_spans(answer or "")[:1]
    wanted = wanted_spans(task.reference)
    return max((hull_iou(found[0], w) for w in wanted), default=0.0) if found else 0.0


def grounded(answer: str | None, task: Task) -> float:
    """1.0 for the right option and an IoP of at least one half (Acc@GQA)."""
    right, _, iop = ground_parts(answer, task.reference, task.tags.get("spans"))
    return float(right and iop >= 0.5)


def ground_parts(
    answer: str | None, reference: Reference, spans: object
) -> tuple[bool, float, float]:
    """Whether the option is right, IoU and IoP of "B, 3.0 - 7.5"."""
    if answer is None or not isinstance(reference, Choice) or not isinstance(spans, list):
        return False, 0.0, 0.0
    found = next(iter(listed_spans(answer)), None)
    words = _PAIR.sub("", answer[:MAX_ANSWER]).strip(" ,;[]()\n\ts")
    right = read_choice(words, reference.options) == reference.letter
    wanted = [(float(s), float(e)) for s, e in spans]
    return right, *ground_overlaps(found, wanted)
