# ruff: noqa: E501  (tables of cases read better with one case a line)
"""Seeded cases for metrics: what a published scorer and ours are both asked.

Only the standard library: the scripts that make golden numbers import this file inside the
environments of other packages. The numbers are stored, the cases are drawn again; a digest tells
whether they are still the same.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import random
from collections.abc import Sequence

WORDS = [
    "Paris",
    "France",
    "paris",
    "red",
    "car",
    "two",
    "cats",
    "the",
    "a",
    "an",
    "blue",
    "Light-blue",
    "10",
    "10.5",
    "50%",
    "$12",
    "1,000",
    "1000",
    "0.5",
    "yes",
    "no",
    "left",
    "of",
    "right",
    "O'Neil",
    "dont",
    "isn't",
    "cant",
    "twas",
    "3.14.",
    "end.",
    "(north)",
    "[south]",
    "x/y",
    "one",
    "none",
    "zero",
    "ten",
    "7",
    "seven",
    "isnt",
    "wouldnt've",
    "Mr.",
    "St.",
    "U.S.",
    "12-13",
    "a.m.",
    "5pm",
    "'quoted'",
    '"double"',
    "é",
    "naïve",
    "ÉCOLE",
]
SPACES = (" ", " ", " ", "  ", "\t", "\n", ", ", ". ", "-", "")


def rng(name: str) -> random.Random:
    """A generator of its own for each kind of case."""
    return random.Random(f"vtool evaluation cases: {name}")


def digest(cases: object) -> str:
    """First digits of the SHA-256 of some cases."""
    return hashlib.sha256(json.dumps(cases, ensure_ascii=False).encode()).hexdigest()[:16]


def phrase(r: random.Random, most: int = 5) -> str:
    parts = [r.choice(WORDS) for _ in range(r.randint(0, most))]
    text = "".join(p + r.choice(SPACES) for p in parts)
    return text.strip() if r.random() < 0.7 else text


def typo(r: random.Random, text: str) -> str:
    """The text with a few characters changed, or its case, or its spaces."""
    out = list(text)
    for _ in range(r.randint(0, 3)):
        at = r.randint(0, len(out))
        kind = r.random()
        if kind < 0.35:
            out.insert(at, r.choice("abcde 01.,"))
        elif out and kind < 0.7:
            del out[min(at, len(out) - 1)]
        elif out:
            out[min(at, len(out) - 1)] = r.choice("abcxyz9 ")
    same = "".join(out)
    return r.choice((same, same, same.upper(), same.lower(), f" {same} "))


def anls_cases() -> list[tuple[str, list[str]]]:
    """(answer, accepted answers)."""
    r = rng("anls")
    hand = [("paris france", ["Paris, France"]), ("1234", ["12"]), ("", [""]), ("", ["a"])]
    drawn = []
    for _ in range(2000):
        golds = [phrase(r) or "x" for _ in range(r.randint(1, 4))]
        drawn.append((typo(r, r.choice(golds)), golds))
    return hand + drawn


def number(r: random.Random) -> str:
    value = r.choice((r.randint(-20, 2000), round(r.uniform(-5, 120), r.randint(0, 3)), 0, 0.0))
    text = r.choice((str(value), f"{value:.2f}", f"{value}%", f"{value:.1e}", f"+{value}"))
    return r.choice((text, text, text, f" {text}", f"${text}", f"{text} ", f"{text}m"))


def relaxed_cases() -> list[tuple[str, str]]:
    """(answer, wanted)."""
    r = rng("relaxed")
    hand = [
        ("10.4", "10"),
        ("10.6", "10"),
        ("50%", "0.5"),
        ("0.0", "0"),
        ("1_0", "10"),
        ("nan", "nan"),
    ]
    hand += [
        ("1,000", "1000"),
        ("-5%", "-0.05"),
        ("inf", "inf"),
        ("", ""),
        ("Yes", "yes"),
        (" 7 ", "7"),
    ]
    drawn = []
    for _ in range(2500):
        gold = number(r) if r.random() < 0.7 else phrase(r, 2)
        near = gold
        with contextlib.suppress(ValueError):
            near = str(
                round(float(gold) * r.choice((0.9, 0.95, 0.96, 1.0, 1.05, 1.049, 1.051, 1.2)), 4)
            )
        drawn.append((r.choice((near, near, gold, number(r), typo(r, gold))), gold))
    return hand + drawn


def vqa_cases() -> list[tuple[str, list[str]]]:
    """(answer, ten annotators' answers)."""
    r = rng("vqa")
    hand = [("The Red, car.", ["red car"] * 2 + ["car"] * 8), ("two", ["2"] * 10)]
    hand += [("1,000", ["1000"] * 3 + ["many"] * 7), ("x", ["y"] * 10), (". " * 40, [""] * 10)]
    drawn = []
    for _ in range(1500):
        pool = [phrase(r, 3) for _ in range(r.randint(1, 4))]
        golds = [typo(r, r.choice(pool)) if r.random() < 0.2 else r.choice(pool) for _ in range(10)]
        drawn.append((typo(r, r.choice(golds)) if r.random() < 0.5 else r.choice(golds), golds))
    return hand + drawn


def plain_cases() -> list[tuple[str, str]]:
    """(answer, wanted)."""
    r = rng("plain")
    drawn = [(g, phrase(r, 3)) for g in (phrase(r, 3) for _ in range(300))]
    drawn += [(typo(r, g), g) for g in (phrase(r, 2) for _ in range(900))]
    return [(a.rstrip("\0"), w) for a, w in drawn]


OBJECTS = (
    "cat",
    "dog",
    "hot dog",
    "red car",
    "blue",
    "the left side",
    "3",
    "a tree",
    "yes",
    "None",
)
FORMS = (
    "{L}", "{L}.", "({L})", "({l})", "{l}", "{L}) {t}", "{L}. {t}", "{t}", "A {t} is on {L}",
    "The answer is {L}.", "the answer is ({L})", "The best answer is: {L}", "Answer: {L}", "answer {l}",
    "I think {L} or {M}", "{L} or {M}", "Because it is {t}", "It is {t}, so {L}", "{L}:{t}", "**{L}**",
    "Looking at A and B, I choose {L}", "{M} is wrong. {L}", "Option {L}", "not {M}; {L}", "{t} and {u}",
    "After a long look at the picture with all its many details I believe it must be {t}",
    "I can't process this file.", "Z", "", "   ", "Sorry", "정답은 {L}", "답: {L}", "答案是{L}", "E", "F",
    "First {M}, then {L}\nFinal answer: ({L})", "{L}\n{t}", "\"{L}\"", "{t}.", "The correct option is {L}",
    "Best answer: {L}", "({M}) no, ({L}) yes", "my choice is {L}, not {M}", "answers: {L}", "{L} {M}",
    "it is blue", "A cat is at D", "The answer", "d", "{L}1", "a {t}, (A) or {L}",
)  # fmt: skip


def choice_cases() -> list[tuple[str, list[str]]]:
    """(answer, four options)."""
    r = rng("choice")
    out = []
    for at in range(3000):
        options = r.sample(OBJECTS, 4)
        i, j = r.sample(range(4), 2)
        fill = {"L": "ABCD"[i], "l": "abcd"[i], "M": "ABCD"[j], "t": options[i], "u": options[j]}
        text = FORMS[at % len(FORMS)].format(**fill)
        if r.random() < 0.25:
            text = r.choice((f"{text} ", f" {text}", f"{text}!", f"<b>{text}</b>", typo(r, text)))
        out.append((text, options))
    return out


def mra_cases() -> list[tuple[str, str]]:
    """(answer, wanted number as text)."""
    r = rng("mra")
    said = (
        "3",
        "three",
        "There are 3 boxes",
        "twenty-one",
        "three hundred and twenty-one",
        "2.5 m",
    )
    said += (
        "one apple, room 2",
        "nothing",
        "",
        "-4",
        "two thousand and five",
        "a hundred",
        "ten.5",
        "0",
    )
    hand = [("9.5", "10"), ("9", "10"), ("11", "10"), ("6", "10"), ("4", "10")]
    drawn = []
    for _ in range(1200):
        gold = r.choice(
            (str(r.randint(1, 40)), f"{r.uniform(0.2, 30):.1f}", f"{r.uniform(0.2, 9):.2f}")
        )
        value = float(gold) * r.choice((0.5, 0.55, 0.6, 0.8, 0.9, 0.95, 1, 1.05, 1.1, 1.35, 1.5))
        drawn.append(
            (
                r.choice((f"{value:.2f}", f"about {value:.1f} metres", str(value), r.choice(said))),
                gold,
            )
        )
    return hand + drawn


def box_cases() -> list[tuple[list[float], list[float]]]:
    """(found, wanted): unit corners; some touch, some are inverted."""
    r = rng("box")
    out = []
    for _ in range(2000):
        x, y, w, h = (round(r.uniform(0.02, 0.45), 3) for _ in range(4))
        wanted = [x, y, round(x + w, 3), round(y + h, 3)]
        found = [round(v + r.choice((0, 0, 0.01, -0.01, r.uniform(-0.2, 0.2))), 3) for v in wanted]
        if r.random() < 0.05:
            found = [found[2], found[1], found[0], found[3]]
        out.append((found, wanted))
    return out


def box_answers() -> list[str]:
    """Answers that name a box, or nearly so."""
    r = rng("box answers")
    out = ["", "no box", "[0, 0, 0, 0]", "[1,2,3]", "(0.1, 0.2, 0.3, 0.4)", "[.1, .2, .3, .4]"]
    forms = (
        "[{}, {}, {}, {}]",
        "({}, {}, {}, {})",
        "It is at [ {},{}, {} ,{} ].",
        "<bbox>{} {} {} {}</bbox>",
    )
    forms += (
        "[{}, {}]",
        "({} {})",
        "x: {}, y: {}",
        "box {} {} {} {}",
        "{}, {}",
        "[[{}, {}], [{}, {}]]",
    )
    forms += (
        '```json\n[{{"point_2d": [{}, {}], "label": "x"}}, {{"point_2d": [{}, {}]}}]\n```',
        "({},{}), ({},{})",
    )
    for _ in range(1500):
        scale = r.choice((1, 1, 1000))
        values = [
            r.choice(
                (f"{r.random() * scale:.2f}", str(int(r.random() * scale)), f"{r.random():.3f}")
            )
            for _ in range(4)
        ]
        if r.random() < 0.1:
            values[r.randrange(4)] = r.choice(("-0.1", "50%", "1e3", ".5", "1001"))
        out.append(r.choice(forms).format(*values))
    return out


def span_answers() -> list[tuple[str, list[float]]]:
    """(answer, wanted span)."""
    r = rng("spans")
    forms = (
        "{a} - {b}", "{a} to {b} seconds", "from {a}s to {b}s", "starts at {a}. ends at {b}.", "{A} - {B}",
        "The event happens in {a} - {b}", "start time: {A}\nend time: {B}", "{A}, {B}", "{a}\n{b}", "nothing",
        "Between {a} and {b}", "start {a}!end {b}", "It lasts 3 s. It happens in {a}s - {b}s", "{b} - {a}", "",
        "a specific example is : 20.8 - 30.0 seconds. {a} - {b}", "{a}–{b}", "today {a} tomorrow {b}", "{a}",
    )  # fmt: skip
    out = []
    for at in range(1500):
        s = round(r.uniform(0, 90), 1)
        e = round(s + r.uniform(0, 30), 1)
        a, b = (round(max(0, v + r.choice((0, 0, r.uniform(-9, 9)))), 1) for v in (s, e))
        clock = [f"{int(v) // 60:02d}:{int(v) % 60:02d}" for v in (a, b)]
        out.append((forms[at % len(forms)].format(a=a, b=b, A=clock[0], B=clock[1]), [s, e]))
    return out


def masks(r: random.Random, height: int, width: int) -> list[list[int]]:
    """Rows of 0 and 1: a rectangle, sometimes nothing."""
    x, y = r.randrange(width), r.randrange(height)
    x2, y2 = r.randint(x, width), r.randint(y, height)
    return [[int(y <= i < y2 and x <= j < x2) for j in range(width)] for i in range(height)]


def mask_cases() -> list[tuple[list[list[int]], list[list[int]]]]:
    """(found, wanted): small masks of one grid."""
    r = rng("masks")
    sizes = [(r.randint(2, 9), r.randint(2, 9)) for _ in range(600)]
    return [(masks(r, h, w), masks(r, h, w)) for h, w in sizes]


def point_cases() -> list[tuple[str, list[list[int]]]]:
    """(answer with points, mask)."""
    r = rng("points")
    out = []
    for _ in range(900):
        mask = masks(r, r.randint(4, 20), r.randint(4, 20))
        points = [
            (round(r.uniform(-0.1, 1.1), 2), round(r.uniform(0, 1), 3))
            for _ in range(r.randint(0, 4))
        ]
        thousand = [(int(1000 * x), int(1000 * y)) for x, y in points]
        fenced = json.dumps([{"point_2d": list(p)} for p in thousand])
        said = (
            str(points),
            ", ".join(map(str, points)),
            f"```json\n{fenced}\n```",
            f"The points are {points}.",
        )
        out.append((r.choice(said), mask))
    return out


def moment_cases(queries: int = 400) -> list[dict[str, object]]:
    """Queries of QVHighlights: annotated windows and predicted ones with scores."""
    r = rng("moments")
    out: list[dict[str, object]] = []
    for qid in range(queries):
        wanted = [window(r) for _ in range(r.randint(1, 4))]
        found = [
            jitter(r, r.choice(wanted)) if r.random() < 0.6 else window(r)
            for _ in range(r.randint(1, 12))
        ]
        scores = [round(r.random(), r.choice((1, 4))) for _ in found]
        clips = sorted(r.sample(range(75), r.randint(1, 20)))
        out.append({
            "qid": qid, "duration": 150, "relevant_windows": wanted,
            "pred_relevant_windows": [[*w, s] for w, s in zip(found, scores, strict=True)],
            "relevant_clip_ids": clips,
            "saliency_scores": [[r.randint(0, 4) for _ in range(3)] for _ in clips],
            "pred_saliency_scores": [round(r.random(), 2) for _ in range(r.choice((70, 75, 75, 80)))],
        })  # fmt: skip
    return out


def window(r: random.Random) -> list[int]:
    start = 2 * r.randrange(74)
    return [start, min(150, start + 2 * r.choice((1, 2, 3, 5, 8, 12, 16, 30, 70)))]


def jitter(r: random.Random, w: Sequence[int]) -> list[float]:
    start = max(0.0, w[0] + r.choice((0, 0, 1, -1, 2, r.uniform(-6, 6))))
    return [
        round(start, 2),
        round(max(start + 0.5, w[1] + r.choice((0, 0, 2, -2, r.uniform(-6, 6)))), 2),
    ]


def ground_cases() -> list[dict[str, object]]:
    """Questions of NExT-GQA: annotated stretches, a predicted one, right or not; some unanswered."""
    r = rng("grounding")
    out: list[dict[str, object]] = []
    for _ in range(500):
        locs = []
        for _ in range(r.randint(1, 3)):
            s = round(r.uniform(0, 40), 1)
            locs.append([s, round(s + r.uniform(0.5, 15), 1)])
        near = r.choice(locs)
        span = [round(max(0, v + r.uniform(-5, 5)), 1) for v in near]
        span = sorted(span) if r.random() < 0.97 else [near[0], near[0]]
        out.append(
            {"locs": locs, "span": None if r.random() < 0.1 else span, "right": r.random() < 0.6}
        )
    return out


def stated_cases() -> list[list[tuple[float, bool]]]:
    """Sets of (confidence, right)."""
    r = rng("calibration")
    sets = []
    for _ in range(60):
        n, step = r.randint(5, 80), r.choice((2, 6))
        sets.append([(round(r.uniform(0.001, 0.999), step), r.random() < 0.6) for _ in range(n)])
    return sets


def label_cases() -> list[tuple[list[str], list[str]]]:
    """(answers, wanted labels)."""
    r = rng("labels")
    out = []
    for _ in range(60):
        wanted = [r.choice("abcd") for _ in range(r.randint(4, 60))]
        out.append(([w if r.random() < 0.6 else r.choice("abcde") for w in wanted], wanted))
    return out


def earth_places() -> list[tuple[float, float]]:
    """(latitude, longitude) of places all over the earth."""
    r = rng("earth")
    return [(round(r.uniform(-90, 90), 4), round(r.uniform(-180, 180), 4)) for _ in range(400)]
