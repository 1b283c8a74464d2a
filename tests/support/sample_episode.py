"""Hand-made episodes on a zoom world picture, for tests of what reads records."""

from __future__ import annotations

import numpy as np

from vtool.errors import FaultCode
from vtool.geometry import Box, Region
from vtool.media import Image
from vtool.message import (
    Action,
    Author,
    BoundCall,
    Fault,
    Message,
    Outcome,
    Role,
    Show,
    Text,
    ToolCall,
)
from vtool.record import Episode, Placement, Run, Segment, StopReason
from vtool.reward import Score
from vtool.store import Origin
from vtool.task import Answer, Evidence, Task
from vtool.trace import TraceRecord
from vtool.worlds.zoom import draw


def zoom_task(seed: int = 3) -> Task:
    """A question that needs one zoom."""
    scene = draw(seed, kind="one")
    image = Image(scene.pixels)
    w, h = image.size
    x1, y1, x2, y2 = scene.path[-1]
    where = Evidence(0, Box(x1 / w, y1 / h, x2 / w, y2 / h))
    return Task(
        id=f"zoom-{seed}",
        prompt=(image, scene.question),
        reference=Answer((scene.answer,)),
        evidence=(where,),
        tags={"kind": "one"},
    )


def policy_segment(turn: int, action: Action, tokens: int) -> Segment:
    """A turn of the policy."""
    said = Message(
        role=Role.ASSISTANT, parts=(Text(action.text),), author=Author.POLICY, action=action
    )
    return Segment(
        author=Author.POLICY,
        turn=turn,
        messages=(said,),
        ids=np.arange(tokens, dtype=np.int32),
        logprobs=np.full(tokens, -0.12, np.float32),
        version=3,
    )


def zoom_episode(
    task: Task, *, box: Box | None = None, answer: str | None = None, words: str = "It is small."
) -> Episode:
    """One zoom, then an answer; on the evidence and right unless said otherwise."""
    episode = Episode(task_id=task.id, seconds=0.41)
    context = episode.open("policy")
    image, question = task.prompt
    assert isinstance(image, Image)
    assert isinstance(question, str)
    first = context.store.add(image).handle
    asked = Message(role=Role.USER, parts=(Show(first), Text(question)), author=Author.USER)
    shown = Placement(first, "image", (Run(2, 16, (1, 8, 8)),), (64, 64))
    context.append(
        Segment(
            author=Author.USER,
            turn=0,
            messages=(asked,),
            ids=np.arange(30, dtype=np.int32),
            placements=(shown,),
        )
    )
    look = box or task.evidence[-1].shape
    assert isinstance(look, Box)
    raw = [round(v * 1000) for v in (look.x1, look.y1, look.x2, look.y2)]
    call = ToolCall("zoom", {"image": 1, "box": raw})
    context.append(policy_segment(0, Action(text=words, thought=words, calls=(call,)), 23))
    cut = context.store.add(image.crop(look), Origin(parent=first, tool="zoom")).handle
    region = Region(first, look)
    bound = BoundCall(call, "zoom", {"image": first}, {"box": (region,)})
    outcome = Outcome(call=call, bound=bound, handles=(cut,), seconds=0.002)
    reply = Message(role=Role.TOOL, parts=(Show(cut),), author=Author.TOOL, outcomes=(outcome,))
    context.append(
        Segment(
            author=Author.TOOL,
            turn=0,
            messages=(reply,),
            ids=np.arange(22, dtype=np.int32),
            placements=(Placement(cut, "image", (Run(3, 16, (1, 8, 8)),), (64, 64)),),
        )
    )
    assert isinstance(task.reference, Answer)
    said = answer if answer is not None else task.reference.texts[0]
    context.append(policy_segment(1, Action(text=said, thought="", answer=said), 9))
    episode.stop, episode.answer = StopReason.ANSWERED, said
    context.stop, context.answer = episode.stop, said
    return episode


def lost_episode(task: Task) -> Episode:
    """A call that could not be read, until the turns ran out."""
    episode = Episode(task_id=task.id, seconds=0.2)
    context = episode.open("policy")
    image, question = task.prompt
    assert isinstance(question, str)
    first = context.store.add(image).handle  # type: ignore[arg-type]
    asked = Message(role=Role.USER, parts=(Show(first), Text(question)), author=Author.USER)
    context.append(
        Segment(author=Author.USER, turn=0, messages=(asked,), ids=np.arange(30, dtype=np.int32))
    )
    fault = Fault(FaultCode.BAD_JSON, "expected a JSON object in the call", "close the brace")
    action = Action(text="<tool_call>{zoom", thought="Let me see.", faults=(fault,))
    context.append(policy_segment(0, action, 12))
    told = Message(
        role=Role.TOOL,
        parts=(Text('{"error": {"code": "bad_json"}}'),),
        author=Author.TOOL,
        outcomes=(Outcome(fault=fault),),
    )
    context.append(
        Segment(author=Author.TOOL, turn=0, messages=(told,), ids=np.arange(14, dtype=np.int32))
    )
    episode.stop = context.stop = StopReason.MAX_TURNS
    return episode


def sample_records() -> list[TraceRecord]:
    """A right episode, a wrong one that looked elsewhere, and a lost one."""
    out = []
    for seed, kind in ((3, "right"), (4, "wrong"), (5, "lost")):
        task = zoom_task(seed)
        if kind == "lost":
            episode = lost_episode(task)
        else:
            elsewhere = Box(0.02, 0.05, 0.2, 0.3) if kind == "wrong" else None
            answer = None if kind == "right" else "not a digit"
            episode = zoom_episode(task, box=elsewhere, answer=answer)
        parts = {
            "format": float(kind != "lost"),
            "answer": float(kind == "right"),
            "evidence": 1.0 if kind == "right" else 0.0,
        }
        assert isinstance(task.reference, Answer)
        meta = {
            "attempt": 0,
            "tags": dict(task.tags),
            "reference": {"texts": list(task.reference.texts)},
        }
        score = Score(parts, 0.1 * parts["format"] + 1.5 * parts["answer"])
        out.append(TraceRecord(episode, score, meta))
    return out
