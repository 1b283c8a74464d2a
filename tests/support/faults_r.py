"""Group R of the fault catalogue: rewards that cannot be had, and rewards had for nothing."""

import asyncio
import json
import math

from attempts import FULL, attempt, call, final, look, question
from sampling import TASK, Unsure, looks, maker, seats
from trees import scored
from vtool.rl.alarms import Alarms, AlarmSettings
from vtool.rl.collect import Collector, Judges
from vtool.rl.credit_spec import CreditSpec, RuleSpec
from vtool.rl.group_advantage import blended_credits
from vtool.rl.hacks import hack_rates
from vtool.rl.rewards.answer import answer, answer_f1
from vtool.rl.rewards.shapes import box_iou
from vtool.rl.rewards.tools import tool_used

from vtool import combine_published
from vtool.data_rows import BadRow, read_rows
from vtool.geometry import Box
from vtool.metrics import exact_match
from vtool.reward import RewardPart, Scope, Score, Site, Unscored
from vtool.scoring import score_group
from vtool.task import Answer, Boxes, Choice

PLAIN = question(Answer(("forty-two",)))


def flat(count):
    return [attempt(PLAIN, final(f"{i}"), seed=i) for i in range(count)]


def part(values):
    """A part that answers these numbers by attempt's answer."""
    return RewardPart(
        "answer", Site.EPISODE, Scope.ATTEMPT, lambda e, task: values[int(e.answer) % len(values)]
    )


def plain_total(parts):
    mark = parts["answer"]
    return Score(parts, mark if isinstance(mark, Unscored) else float(mark))


def r1():
    marks = score_group(flat(4), PLAIN, [part([1.0, math.nan, 0.0, math.inf])], plain_total)
    lost = sum(isinstance(s.total, Unscored) for s in marks)
    return f"{lost} masked of {len(marks)}"


def r1_run():
    """Nobody can be scored: the run must not go on as if all had failed."""
    make = maker()
    judges = Judges((part([math.nan]),), plain_total)
    collector = Collector(seats(Unsure(looks(0))), lambda t, n: make(n), judges, group_size=2)
    try:
        asyncio.run(collector.collect(lambda n: [TASK] * n, 2, key=(0,)))
    except Exception as err:
        return f"stopped: {type(err).__name__}"
    return "went on"


def r2():
    spec = CreditSpec((RuleSpec("group"),))
    found = blended_credits(flat(3), [scored(0.1)] * 3, spec)
    return "dead" if all(c.dead for c in found) else "learnt from"


def r3():
    found = blended_credits(flat(3), [scored(None)] * 3, CreditSpec((RuleSpec("group"),)))
    return f"{len(found)} credits"


def r4():
    task = question(Choice(("red", "green", "blue"), 0))
    return str(answer(attempt(task, final("A, B, C")), task))


def r4_tool():
    task = question(Answer(("42",)))
    return str(answer(attempt(task, call("read_for_tests"), final("cannot tell")), task))


def r5():
    """Five looks are paid once, and only where the answer is right."""
    total = combine_published.conditional_bonus()
    out = []
    for said in ("forty-two", "forty-one"):
        played = attempt(PLAIN, *[look()] * 5, final(said), max_turns=8)
        marks = {"answer": float(said == "forty-two"), "format_penalty": 0.0}
        marks["tool_used"] = tool_used(played, PLAIN)
        out.append(total(marks).total)
    return "{:.1f} right, {:.1f} wrong".format(*out)


def r6():
    return str(tool_used(attempt(PLAIN, FULL, final("forty-two")), PLAIN))


def r6_tiny():
    speck = attempt(PLAIN, look(box=(800, 800, 812, 812)), final("forty-two"))
    return str(hack_rates([(PLAIN, speck)])["hack/tiny_looks"])


def r7():
    watch = Alarms(AlarmSettings(window=3))
    falling = [0.7] * 3 + [0.6, 0.5, 0.4, 0.3]
    rows = [{"reward/part/format": 1.0, "accuracy": right} for right in falling]
    return ", ".join(a.name for i, row in enumerate(rows) for a in watch.check(i, row))


def r8():
    """A hundred kilobytes in which every word stands would share one with any answer."""
    task = question(Answer(("42",)))
    long = attempt(task, final("42 " * 40_000), max_tokens=10**7)
    return str(answer_f1(long, task))


def r9():
    pairs = [("1,000", "1000"), ("50 %", "50%"), ("3.0", "3"), ("-3 m", "3 m"), ("+7", "7")]
    return " ".join(str(int(exact_match(a, [b]))) for a, b in pairs)


def r10():
    pairs = [
        ("ＡＢＣ", "abc"),
        ("Москва", "МОСКВА"),
        ("the cat", "Cat"),
        ("Yes.", "yes"),
        ("不", "没"),
    ]
    return " ".join(str(int(exact_match(a, [b]))) for a, b in pairs)


def r11(folder):
    """An empty answer in the task file would make silence right."""
    row = {"id": "a", "messages": [{"role": "user", "content": "what?"}], "answer": " "}
    path = folder / "tasks.jsonl"
    path.write_text(json.dumps(row) + "\n")
    return ", ".join("bad row" if isinstance(r, BadRow) else "row" for r in read_rows(path))


def r12():
    """Two boxes for one, one for two, and none where none is wanted."""
    one, two = Box(0.1, 0.1, 0.2, 0.2), Box(0.6, 0.6, 0.8, 0.8)
    said = {one: [100, 100, 200, 200], two: [600, 600, 800, 800]}
    rows = [((one,), (one, two)), ((one, two), (one,)), ((), ())]
    out = []
    for wanted, named in rows:
        task = question(Boxes(wanted))
        out.append(box_iou(attempt(task, final([said[b] for b in named])), task))
    return " ".join(f"{v:.2f}" for v in out)
