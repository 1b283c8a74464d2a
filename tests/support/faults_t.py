"""Group T of the fault catalogue: text of tool calls, through the dialect or the environment."""

import asyncio

from scripts import picture
from vtool.vision_tools.zoom import zoom

from vtool.dialects.hermes import Hermes
from vtool.environment import ToolEnvironment
from vtool.record import Context
from vtool.task import Answer, Task
from vtool.toolbox import Toolbox

ZOOM = '{"name": "zoom", "arguments": {"image": 1, "box": [100, 200, 600, 800]}}'


def tagged(body):
    return f"<tool_call>\n{body}\n</tool_call>"


def read(text, *, finished=True):
    """The one code of a turn; `called` or `answered` where there is no fault."""
    action = Hermes().parse(text, finished=finished)
    codes = {str(f.code) for f in action.faults}
    if codes:
        return codes.pop() if len(codes) == 1 else str(sorted(codes))
    if action.calls:
        return "called"
    return "nothing" if action.answer is None else "answered"


def each(*codes):
    """The code that all have, or all that came."""
    return codes[0] if len(set(codes)) == 1 else str(codes)


def replies(text, dialect=None):
    """Codes with which an environment answers a turn, in order."""
    dialect = dialect or Hermes()

    async def go():
        task = Task(id="t", prompt=(picture(400, 300), "?"), reference=Answer(("7",)))
        env = ToolEnvironment(task, Toolbox([zoom]))
        await env.reset()
        reply = await env.reply(dialect.parse(text), Context(0, "p", env.store), dialect)
        return [o.fault for m in reply.messages for o in m.outcomes]

    return [str(f.code) if f else "done" for f in asyncio.run(go())]


def t1():
    return each(read(tagged('{"name": "zoom"')), *replies(tagged('{"name": ')))


def t1_position():
    fault = Hermes().parse(tagged('{"name" "zoom"}')).faults[0]
    return "told" if "at character 9" in fault.message else fault.message


def t2():
    return read(tagged(ZOOM + ZOOM))


def t3():
    return read("<tool_call>\n" + ZOOM)


def t3_cut():
    return read("<tool_call>\n" + ZOOM, finished=False)


def t4():
    return each(
        *replies(tagged(ZOOM.replace("zoom", "Zoom"))),
        *replies(tagged(ZOOM.replace("zoom", "ocr"))),
    )


def t5():
    return each(*replies(tagged(ZOOM.replace("zoom", "zoomzoom"))))


def t6():
    extra = ZOOM.replace('"image": 1', '"image": 1, "colour": "red"')
    missing = '{"name": "zoom", "arguments": {"image": 1}}'
    mistyped = ZOOM.replace("[100, 200, 600, 800]", '"100, 200, 600, 800"')
    return each(*(code for body in (extra, missing, mistyped) for code in replies(tagged(body))))


def t7():
    body = '{"name": "zoom", "arguments": "{\\"image\\": 1, \\"box\\": [100, 200, 600, 800]}"}'
    return each(*replies(tagged(body)))


def t8():
    python = "{'name': 'zoom', 'arguments': {'image': 1, 'box': (1, 2, 3, 4)}}"
    return each(read(tagged(python)), read(tagged(ZOOM.replace("1,", "None,"))))


def t9():
    numbers = ("NaN", "Infinity", "-Infinity")
    return each(*(read(tagged(ZOOM.replace("100", n))) for n in numbers))


def t9_overflow():
    return read(tagged(ZOOM.replace("100", "1e999")))


def t9_digits():
    return read(tagged(ZOOM.replace("100", "9" * 3900)))


def t10():
    return read(tagged('{"name": "zoom", "name": "zoom", "arguments": {}}'))


def t11():
    return read(tagged("[" * 3000 + "]" * 3000))


def t11_size():
    return read(tagged(ZOOM.replace("zoom", "z" * 10_000_000)))


def t12():
    action = Hermes().parse(f"<think>{tagged(ZOOM)}</think>so")
    return f"{len(action.calls)} run, {action.ignored} ignored"


def t13():
    both = tagged(ZOOM) + "<answer>7</answer>"
    return each(read(both), read("<answer>7</answer><answer>8</answer>"))


def t14():
    return ", ".join(replies(tagged(ZOOM) * 3, Hermes(max_parallel=1)))


def t15():
    odd = '{"name": "zo\\ud800\\u200bom\\u202e", "arguments": {"image": 1, "box": [1, 2, 3, 4]}}'
    kept = Hermes().parse(tagged(odd)).calls[0].name == "zo\ud800\u200bom\u202e"
    wide = read(tagged(ZOOM.replace("100", "１００")))
    return f"{'kept' if kept else 'changed'}, {wide}"


def t16():
    text = f"héé🚀 {tagged(ZOOM)} <answer>é</answer>"
    data, batch = text.encode(), Hermes().parse(text)
    for cut in range(len(data)):
        stream = Hermes().stream()
        stream.feed(data[:cut])
        stream.feed(data[cut:])
        if stream.finish() != batch:
            return f"differs when split at byte {cut}"
    return "equals batch"
