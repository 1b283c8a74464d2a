"""A chat engine that knows the answers, and evaluations played with it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from types import SimpleNamespace

from sample_episode import zoom_task
from vtool.eval.run import evaluate

from vtool.dialects.hermes import Hermes
from vtool.errors import EngineError
from vtool.message import Message, Role
from vtool.task import Task
from vtool.toolbox import Toolbox

FAMILY = SimpleNamespace(shown_size=lambda size: (64, 64))
RENDERER = SimpleNamespace(name="double", dialect=Hermes(), family=FAMILY)


class Oracle:
    """A chat engine that zooms onto the evidence and then says the answer it is told to say.

    Args:
        tasks: What may be asked.
        right: Whether it answers well.
        fail: Task ids at which it breaks.
    """

    def __init__(self, tasks: Sequence[Task], *, right: bool = True, fail: set[str] = frozenset()):
        self.by_question = {t.prompt[-1]: t for t in tasks}
        self.right, self.fail = right, set(fail)
        self.asked: list[str] = []

    async def chat(self, messages: Sequence[Message], store, specs, sampling) -> str:
        await asyncio.sleep(0)
        question = next(m.text for m in messages if m.role is Role.USER)
        task = self.by_question[question]
        if task.id in self.fail:
            raise EngineError("gone")
        turns = sum(m.role is Role.ASSISTANT for m in messages)
        if turns == 0:
            self.asked.append(task.id)
            box = task.evidence[-1].shape
            raw = [round(v * 1000) for v in (box.x1, box.y1, box.x2, box.y2)]
            call = {"name": "zoom", "arguments": {"image": 1, "box": raw}}
            return f"<tool_call>\n{json.dumps(call)}\n</tool_call>"
        answer = task.reference.texts[0] if self.right else "nothing"
        return f"<answer>{answer}</answer>"


def tasks(count: int = 4) -> list[Task]:
    found: dict[str, Task] = {}
    for seed in range(200):
        task = zoom_task(seed)
        found.setdefault(task.prompt[-1], task)
        if len(found) == count:
            break
    return list(found.values())


def run(engine, some, **options):
    return asyncio.run(
        evaluate(some, renderer=RENDERER, engine=engine, toolbox=Toolbox(["zoom"]), **options)
    )
