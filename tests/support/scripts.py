"""Small helpers to build contexts and episodes by hand: scripted words, no model.

Everything here runs on numpy and pillow alone unless a renderer is passed that needs more.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np

from vtool.dialects import make_dialect
from vtool.engines.base import Completion
from vtool.media import Image
from vtool.message import Author, Message, Outcome, Part, Role, Show, Text, ToolCall
from vtool.plain_codec import PlainCodec, PlainFamily
from vtool.record import Context, Episode, Finish, Sampling
from vtool.render import Act
from vtool.store import Origin, Store
from vtool.token_render import TokenRenderer
from vtool.toolspec import Kind, Param, ToolSpec

ZOOM = ToolSpec(
    "zoom",
    "Look closer at a part of a picture.",
    (
        Param("image", Kind.IMAGE, "Picture to look into."),
        Param("box", Kind.BOX, "Part to look at.", of="image"),
    ),
)


def picture(width: int = 48, height: int = 32, seed: int = 0) -> Image:
    """A picture of noise."""
    rng = np.random.default_rng(seed)
    return Image(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))


def plain_renderer(dialect: str = "hermes", **options: object) -> TokenRenderer:
    """A renderer that needs no library; `announce` is off unless asked for."""
    settings = {"announce": False, **options}
    return TokenRenderer(PlainFamily(), PlainCodec(), make_dialect(dialect), **settings)


def question(*parts: str | Part, store: Store | None = None) -> Message:
    """A user message; strings are words."""
    told = tuple(Text(p) if isinstance(p, str) else p for p in parts)
    return Message(role=Role.USER, parts=told, author=Author.USER)


def observation(*parts: str | Part, call: ToolCall | None = None) -> Message:
    """A tool message; strings are words."""
    told = tuple(Text(p) if isinstance(p, str) else p for p in parts)
    return Message(role=Role.TOOL, parts=told, author=Author.TOOL, outcomes=(Outcome(call=call),))


def zoom_text(
    dialect: str = "hermes",
    box: Sequence[float] = (120, 340, 260, 480),
    image: int = 1,
    thought: str = "I look closer.",
) -> str:
    """A turn that zooms; `image` counts from 1 and `box` is in the dialect's units."""
    if dialect == "inline":
        source = "original_image" if image == 1 else f"observation_{image - 1}"
        body = json.dumps({"bbox_2d": list(box), "source": source})
        return f"{thought}\n<grounding>{body}</grounding>"
    call = {"name": "zoom", "arguments": {"image": image, "box": list(box)}}
    return f"{thought}\n<tool_call>\n{json.dumps(call)}\n</tool_call>"


def answer_text(answer: str = "7", thought: str = "I see it.") -> str:
    """A turn that answers."""
    return f"{thought}\n<answer>{answer}</answer>"


def completion(
    renderer: TokenRenderer,
    text: str,
    *,
    finish: Finish = Finish.STOP,
    version: int = 0,
    seed: int = 0,
) -> Completion:
    """A completion with these words, as the renderer's model would have sampled them.

    A turn that does not end with one of the dialect's stops ends with the end token, unless the
    length cut it.
    """
    ids = renderer.ink.write(renderer.dialect.split(text), Store()).ids
    stopped = len(ids) > 0 and int(ids[-1]) in renderer.stop_ids
    if finish is Finish.STOP and not stopped:
        ids = np.append(ids, np.int32(renderer.stop_ids[0])).astype(np.int32)
    logprobs = -np.random.default_rng(seed).random(len(ids)).astype(np.float32) - 0.01
    return Completion(ids=ids, logprobs=logprobs, finish=finish, version=version)


def begin(
    renderer: TokenRenderer,
    messages: Sequence[Message],
    store: Store,
    specs: Sequence[ToolSpec] = (),
) -> Context:
    """A fresh context."""
    context = Context(0, "policy", store)
    for segment in renderer.begin(messages, specs, store):
        context.append(segment)
    return context


def say(renderer: TokenRenderer, context: Context, text: str, **options: object) -> Act:
    """Append a scripted turn of the policy."""
    step = renderer.next(context, completion(renderer, text, **options), Sampling())
    assert isinstance(step, Act)
    context.append(step.segment)
    return step


def reply(
    renderer: TokenRenderer, context: Context, *messages: Message, room: int | None = None
) -> None:
    """Append what the environment says."""
    for segment in renderer.extend(context, messages, room=room):
        context.append(segment)


def toy_episode(
    renderer: TokenRenderer,
    *,
    turns: int = 3,
    seed: int = 0,
    task_id: str = "toy",
) -> Episode:
    """An episode of `turns` turns, all but the last of which zoom; crops vary in size."""
    name = renderer.dialect.name
    box = (0.1, 0.2, 0.6, 0.8) if name == "inline" else (100, 200, 600, 800)
    episode = Episode(task_id=task_id, seed=seed)
    store = episode.store
    store.add(picture(48 + 16 * (seed % 3), 32, seed))
    context = episode.open("policy")
    for segment in renderer.begin([question(Show("image_1"), "What is it?")], (), store):
        context.append(segment)
    for turn in range(turns - 1):
        act = say(renderer, context, zoom_text(name, box, turn + 1), seed=seed * 31 + turn)
        crop = picture(32 + 16 * turn, 48, seed * 31 + turn + 1)
        entry = store.add(crop, Origin(parent=f"image_{turn + 1}", tool="zoom"))
        reply(renderer, context, observation(Show(entry.handle), call=act.action.calls[0]))
    say(renderer, context, answer_text(), seed=seed * 31 + turns)
    episode.answer = "7"
    return episode
