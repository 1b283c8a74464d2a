"""Group B of the fault catalogue: boxes, through the toolbox."""

import asyncio
import json
import threading

import numpy as np
from vtool.rl.rewards.evidence import evidence_iou
from vtool.vision_tools.zoom import zoom

from vtool.dialects.hermes import Hermes
from vtool.environment import ToolEnvironment
from vtool.geometry import Box, Region
from vtool.media import Image
from vtool.message import Author, ToolCall
from vtool.record import Episode, Segment, StopReason
from vtool.statistics import count_episode
from vtool.store import Origin, Store
from vtool.task import Answer, Evidence, Task
from vtool.toolbox import Toolbox

NAN_BOX = ["NaN", None, True, [1], "12"]


def picture(width=400, height=300, seed=0):
    rng = np.random.default_rng(seed)
    return Image(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))


def call(box, image=1, store=None):
    """The tool message for one zoom call."""
    if store is None:
        store = Store()
        store.add(picture())
    calls = [ToolCall("zoom", {"image": image, "box": box})]
    toolbox = Toolbox([zoom], cache=False)
    message = asyncio.run(toolbox.run(calls, store, Hermes(), lambda handle: (64, 64)))[0]
    return message, store


def code(message):
    fault = message.outcomes[0].fault
    return "none" if fault is None else str(fault.code)


def b1():
    return code(call([600, 100, 200, 500])[0])


def b2():
    return code(call([200, 100, 200, 500])[0])


def b3():
    return code(call([1100, 100, 1300, 500])[0])


def b4():
    message, store = call([800, 500, 1200, 900])
    words = "".join(getattr(p, "text", "") for p in Hermes().observe([message], store))
    return "told" if "[800, 500, 1000, 900]" in words else words


def b5():
    codes = {code(call([bad, 0, 500, 500])[0]) for bad in NAN_BOX}
    codes.add(code(call("0,0,500,500")[0]))
    codes.add(code(call([float("nan")] * 4)[0]))
    return codes.pop() if len(codes) == 1 else str(codes)


def b6():
    codes = {code(call(box)[0]) for box in ([0, 0, 500], [0, 0, 500, 500, 1], [])}
    return codes.pop() if len(codes) == 1 else str(codes)


def b7():
    message, store = call([500, 0, 10**9, 1000])
    size = store.size(message.outcomes[0].handles[0]) if code(message) == "none" else None
    return "clamped" if size == (200, 300) else str(code(message))


def b8():
    message, store = call([500, 500, 501, 501])
    size = store.size(message.outcomes[0].handles[0])
    return "grown" if size == (16, 16) and message.outcomes[0].effective else str(size)


def b9():
    store = Store()
    store.add(picture(6000, 40))
    return code(call([0, 0, 1000, 400], store=store)[0])


def b10():
    message, _ = call([1200, 900, 1600, 1100])
    told = json.loads(message.text)["error"]
    hinted = "thousandths" in told.get("hint", "")
    return f"{told['code']} with hint" if hinted else told["code"]


def b11():
    store = Store()
    store.add(picture())
    cut = store.add(store.image("image_1").crop_pixels(100, 50, 300, 250), Origin("image_1"))
    small = store.add(cut.value.resize((50, 50)), Origin(cut.handle))
    last = store.add(small.value.crop_pixels(10, 20, 30, 40), Origin(small.handle))
    place = store.to_source(Region(last.handle, Box(0, 0, 1, 1))).shape
    want = (140 / 400, 130 / 300, 220 / 400, 210 / 300)
    got = (place.x1, place.y1, place.x2, place.y2)
    return "exact" if np.allclose(got, want, atol=1e-12) else str(got)


def b12():
    """A number that names nothing, and no cross-talk between 64 episodes at once."""
    other = Store()
    other.add(picture())
    other.add(picture(seed=1))
    codes = []

    def one(seed):
        store = Store()
        store.add(picture(seed=seed))
        try:
            codes.append(code(call([0, 0, 500, 500], image=2, store=store)[0]))
        except Exception as err:
            codes.append(repr(err))

    threads = [threading.Thread(target=one, args=(i,)) for i in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return codes[0] if len(codes) == 64 and len(set(codes)) == 1 else str(set(codes))


def b13():
    """The same crop twice: run, counted, and no better scored than once."""
    once, twice = repeated(1), repeated(2)
    task = once[1]
    same = evidence_iou(*once) == evidence_iou(twice[0], task)
    repeats = count_episode(twice[0]).repeats
    return "counted and worth nothing" if same and repeats == 1 else f"{same} {repeats}"


def repeated(times):
    task = Task(
        id="t",
        prompt=(picture(),),
        reference=Answer(("7",)),
        evidence=(Evidence(0, Box(0.2, 0.2, 0.6, 0.6)),),
    )
    env = ToolEnvironment(task, Toolbox([zoom]))
    episode = Episode(task_id="t", store=env.store)
    body = '{"name": "zoom", "arguments": {"image": 1, "box": [200, 200, 500, 500]}}'
    text = f"<tool_call>\n{body}\n</tool_call>"

    async def go():
        opening = await env.reset()
        context = episode.open("policy", store=env.store)
        context.append(Segment(author=Author.USER, turn=0, messages=opening))
        dialect = Hermes()
        for turn in range(times):
            action = dialect.parse(text)
            reply = await env.reply(action, context, dialect)
            context.append(turn_segment(action, turn))
            context.append(Segment(author=Author.TOOL, turn=turn, messages=reply.messages))

    asyncio.run(go())
    episode.stop = StopReason.ANSWERED
    return episode, task


def turn_segment(action, turn):
    from vtool.message import Message, Role, Text

    message = Message(
        role=Role.ASSISTANT, parts=(Text(action.text),), author=Author.POLICY, action=action
    )
    return Segment(author=Author.POLICY, turn=turn, messages=(message,))
