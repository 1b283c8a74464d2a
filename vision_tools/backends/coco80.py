"""The eighty kinds of things of COCO, and the words for them that are understood."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from typing import Final

from vtool.errors import FaultCode, ModelFault

LABELS: Final[tuple[str, ...]] = (
    *("person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat"),
    *("traffic light", "fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat"),
    *("dog", "horse", "sheep", "cow", "elephant", "bear", "zebra", "giraffe", "backpack"),
    *("umbrella", "handbag", "tie", "suitcase", "frisbee", "skis", "snowboard", "sports ball"),
    *("kite", "baseball bat", "baseball glove", "skateboard", "surfboard", "tennis racket"),
    *("bottle", "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple"),
    *("sandwich", "orange", "broccoli", "carrot", "hot dog", "pizza", "donut", "cake", "chair"),
    *("couch", "potted plant", "bed", "dining table", "toilet", "tv", "laptop", "mouse"),
    *("remote", "keyboard", "cell phone", "microwave", "oven", "toaster", "sink"),
    *("refrigerator", "book", "clock", "vase", "scissors", "teddy bear", "hair drier"),
    "toothbrush",
)
"""In the order of the network's outputs."""

_ALSO: Final[Mapping[str, str]] = {
    "person": "people persons human man men woman women boy girl child children kid lady guy "
    "pedestrian adult",
    "bicycle": "bike cycle pushbike",
    "car": "automobile sedan hatchback taxi cab",
    "motorcycle": "motorbike",
    "airplane": "aeroplane plane aircraft jet airliner",
    "bus": "autobus omnibus",
    "truck": "lorry",
    "boat": "ship sailboat",
    "traffic light": "traffic_signal stoplight traffic_lights",
    "fire hydrant": "hydrant",
    "cat": "kitten kitty tomcat",
    "dog": "puppy hound",
    "horse": "pony foal",
    "sheep": "lamb ewe",
    "cow": "cattle bull calf ox",
    "backpack": "rucksack knapsack",
    "umbrella": "parasol",
    "handbag": "purse",
    "tie": "necktie",
    "suitcase": "trolley_case",
    "skis": "ski",
    "sports ball": "ball football soccer_ball basketball tennis_ball baseball volleyball",
    "tennis racket": "racket tennis_racquet racquet",
    "wine glass": "wineglass",
    "cup": "mug teacup coffee_cup coffee_mug",
    "knife": "knives",
    "orange": "orange_fruit",
    "donut": "doughnut",
    "couch": "sofa settee",
    "potted plant": "houseplant pot_plant house_plant flowerpot",
    "dining table": "table dinner_table",
    "tv": "television tv_screen tv_set television_set monitor tvmonitor tv_monitor",
    "laptop": "notebook_computer laptop_computer",
    "mouse": "computer_mouse",
    "remote": "remote_control",
    "keyboard": "computer_keyboard",
    "cell phone": "phone mobile_phone mobile smartphone cellphone telephone",
    "microwave": "microwave_oven",
    "oven": "stove cooker",
    "sink": "washbasin basin",
    "refrigerator": "fridge",
    "clock": "wall_clock",
    "scissors": "scissor pair_of_scissors",
    "teddy bear": "teddy",
    "hair drier": "hair_dryer hairdryer blow_dryer",
}

SYNONYMS: Final[Mapping[str, str]] = {
    word.replace("_", " "): label for label, words in _ALSO.items() for word in words.split()
}

_LEADING = re.compile(r"^(?:an?|the|any|all|every|some)\s+")


def plain(phrase: str) -> str:
    """A phrase in lower case, without article and punctuation: ` The Dogs!` is `dogs`."""
    words = " ".join(re.sub(r"[^\w\s]", " ", phrase.lower()).replace("_", " ").split())
    return _LEADING.sub("", words)


def look_up(phrase: str) -> str | None:
    """The kind that a phrase names, by a table and by plural endings; None for none."""
    words = plain(phrase)
    for form in (words, *_singulars(words)):
        if form in LABELS:
            return form
        if form in SYNONYMS:
            return SYNONYMS[form]
    return None


def is_other_word(phrase: str, label: str) -> bool:
    """Whether a phrase is neither a kind's name nor its plural."""
    words = plain(phrase)
    return label not in (words, *_singulars(words))


def _singulars(words: str) -> tuple[str, ...]:
    endings = (("ies", "y"), ("ves", "f"), ("es", ""), ("s", ""))
    return tuple(words.removesuffix(e) + to for e, to in endings if words.endswith(e))


def known(phrase: str, field: str) -> str:
    """The kind that a phrase names.

    Args:
        phrase: What the model wrote.
        field: The argument that it stands in.

    Raises:
        ModelFault: `bad_args`: the phrase names none of the eighty; the nearest are told.
    """
    label = look_up(phrase)
    if label is not None:
        return label
    near = near_labels(phrase)
    hint = f"near it are: {', '.join(near)}" if near else "it knows such as person, car, dog, cup"
    raise ModelFault(
        FaultCode.BAD_ARGS,
        f"expected one of the 80 kinds of things of COCO, got {phrase[:60]!r}",
        hint=f"{hint}; no kind but these can be found",
        field=field,
    )


def near_labels(phrase: str, most: int = 5) -> list[str]:
    """Kinds whose name stands in the phrase, or is written like one of its words."""
    words = plain(phrase)
    parts = words.split()
    names = {**{label: label for label in LABELS}, **SYNONYMS}
    inside = [names[n] for n in sorted(names, key=len, reverse=True) if f" {n} " in f" {words} "]
    inside += [found for part in parts if (found := look_up(part)) is not None]
    close = (n for w in (words, *parts) for n in difflib.get_close_matches(w, names, 3, 0.75))
    return list(dict.fromkeys(inside or map(names.__getitem__, close)))[:most]
