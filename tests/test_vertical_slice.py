"""The vertical slice: every hard part of the house at once, thin but real.

One test a point of `docs/architecture.md`, "The first vertical slice"; each names its point.
"""

import asyncio

import numpy as np
import pytest
import vtool.rl.rewards  # noqa: F401  (registers the parts)
from scripts import answer_text, completion, picture, plain_renderer, zoom_text
from vtool.vision_tools.zoom import zoom

from vtool.combine import hierarchy, weighted
from vtool.environment import ForkMode, Limits, ReplayFork, ToolEnvironment
from vtool.errors import FaultCode, ForkRefused, ModelFault
from vtool.geometry import Box, Mask, Region
from vtool.media import Clip, Image
from vtool.memory import Window
from vtool.message import Action, Author, Show, Text, ToolCall
from vtool.programs.branch import branch, rerun
from vtool.programs.delegate import delegate
from vtool.programs.solo import play
from vtool.record import Fold, Fork, Sampling, Spawn, StopReason
from vtool.reward import parts
from vtool.scoring import score_group
from vtool.seat import Seat
from vtool.store import Store
from vtool.task import Answer, Evidence, Task
from vtool.tool import Observation, Tool, tool, tools
from vtool.toolbox import Toolbox
from vtool.trace import TraceRecord, read_trace, write_trace


class Says:
    """A token engine that says what a function of the request's key says."""

    def __init__(self, renderer, script, version=0):
        self.renderer, self.script, self.version = renderer, script, version
        self.prompts = []

    async def generate(self, request):
        self.prompts.append(request.prompt)
        text = self.script(request.key)
        return completion(self.renderer, text, version=self.version, seed=sum(request.key))


class Chats:
    """A chat engine: text only, no ids."""

    def __init__(self, *texts):
        self.texts = iter(texts)

    async def chat(self, messages, store, specs, sampling):
        return next(self.texts)


TASK = Task(
    id="t",
    prompt=(picture(96, 96, 5), "what digit?"),
    reference=Answer(("7",)),
    evidence=(Evidence(0, Box(0.25, 0.25, 0.75, 0.75)),),
)
HALF = (250, 250, 750, 750)


def turns(*texts):
    """A script by draw number (the last part of a key)."""
    return lambda key: texts[min(key[-1], len(texts) - 1)]


def seat(script, dialect="hermes", memory=None, name="policy"):
    renderer = plain_renderer(dialect)
    return Seat(name, renderer, Says(renderer, script), Sampling(), memory)


def environment(toolbox=None, limits=None, task=TASK):
    return ToolEnvironment(task, toolbox or Toolbox([zoom]), limits)


def run(env, *seats, **options):
    cast = {s.name: s for s in seats}
    return asyncio.run(play(env, cast, **options))


@pytest.fixture
def registry(monkeypatch):
    monkeypatch.setattr(tools, "_things", dict(tools._things))


def same(a, b):
    """Two contexts, bit for bit."""
    return (
        a.seat == b.seat
        and a.edge == b.edge
        and a.messages() == b.messages()
        and np.array_equal(a.ids(), b.ids())
        and np.array_equal(a.logprobs(), b.logprobs())
        and np.array_equal(a.mask(), b.mask())
        and a.placements() == b.placements()
        and [(e.handle, e.digest, e.origin, e.serial) for e in a.store]
        == [(e.handle, e.digest, e.origin, e.serial) for e in b.store]
    )


def test_a_fork_a_fold_and_a_spawn_go_through_the_trace_and_back(tmp_path, registry):
    @tool
    def helper(image: Image, box: Box) -> str:
        """Ask a helper.

        Args:
            image: Picture.
            box: Where.
        """
        return ""

    asks = zoom_text().replace('"zoom"', '"helper"')
    trunk = seat(
        turns(zoom_text(box=HALF), asks, zoom_text(image=2), answer_text()), memory=Window(2)
    )
    child = seat(turns(answer_text("a small 7")), name="helper")
    cast = {"policy": trunk, "helper": child}

    def make(call, context):
        return environment(task=Task(id="sub", prompt=("look",), reference=Answer(())))

    env = environment(Toolbox([zoom, helper]))
    handlers = {"helper": delegate(cast, "helper", make)}
    episode = asyncio.run(play(env, cast, handlers=handlers))
    assert episode.stop is StopReason.ANSWERED, episode.error
    other = environment(Toolbox([zoom, helper]))
    # A fork of the first context, from its second turn, with another action there.
    episode.leaf = 0
    edited = Action("", "I know.", (), "9")
    asyncio.run(rerun(episode, other, cast, turn=1, edit=edited))
    episode.leaf = None
    kinds = [type(c.edge) for c in episode.contexts]
    assert {Spawn, Fold, Fork} <= set(kinds)
    write_trace(tmp_path, [TraceRecord(episode)])
    back = next(read_trace(tmp_path)).episode
    assert [type(c.edge) for c in back.contexts] == kinds
    assert all(same(a, b) for a, b in zip(episode.contexts, back.contexts, strict=True))
    assert (back.stop, back.answer) == (episode.stop, episode.answer)
    assert back.outcomes() == episode.outcomes()


def test_a_store_with_picture_clip_and_mask_passed_by_handle(tmp_path, registry):
    @tool
    def outline(image: Image, box: Box) -> Mask:
        """Outline a part.

        Args:
            image: Picture.
            box: Part.
        """
        cells = np.zeros((8, 8), bool)
        cells[2:6, 2:6] = True
        return Mask(cells)

    @tool
    def film(image: Image, mask: Mask) -> Observation:
        """Show a masked part over time.

        Args:
            image: Picture.
            mask: Where.
        """
        part = image.crop(mask.box())
        clip = Clip((part, Image(255 - part.pixels)), (0.0, 0.5))
        return Observation(values=(clip,), text=f"area {mask.area:.2f}")

    first = zoom_text(box=HALF).replace('"zoom"', '"outline"')
    second = (
        '<tool_call>\n{"name": "film", "arguments": {"image": 1, "mask": "$mask_1"}}\n</tool_call>'
    )
    player = seat(turns(first, second, answer_text()))
    episode = run(environment(Toolbox([outline, film])), player)
    assert episode.stop is StopReason.ANSWERED, episode.error
    assert [e.kind for e in episode.store] == ["image", "mask", "clip"]
    told = [m.text for m in episode.path_messages() if m.outcomes]
    assert told == ["$mask_1", "area 0.25"]
    clip = next(p for p in episode.final.placements() if p.kind == "clip")
    assert len(clip.runs) == 2
    assert clip.times_s == (0.0, 0.5)
    write_trace(tmp_path, [TraceRecord(episode)])
    assert same(next(read_trace(tmp_path)).episode.final, episode.final)


def test_a_crop_of_a_rotated_crop_maps_to_the_source(registry):
    @tool
    def turn(image: Image) -> Image:
        """Turn a picture a quarter.

        Args:
            image: Picture.
        """
        return image.rotate(90)

    spin = '<tool_call>\n{"name": "turn", "arguments": {"image": 2}}\n</tool_call>'
    player = seat(
        turns(zoom_text(box=HALF), spin, zoom_text(image=3, box=(0, 0, 500, 500)), answer_text())
    )
    episode = run(environment(Toolbox([zoom, turn])), player)
    place = episode.store.to_source(Region("image_4", Box(0, 0, 1, 1)))
    # The left upper quarter of the turned crop is the right upper quarter of the crop.
    assert place == Region("image_1", Box(0.5, 0.25, 0.75, 0.5))


def test_one_picture_shown_at_two_sizes():
    renderer = plain_renderer()
    store = Store()
    store.add(picture(64, 64, 1))
    from scripts import begin, observation, question, reply, say

    context = begin(renderer, [question(Show("image_1"), "q")], store)
    say(renderer, context, zoom_text())
    reply(renderer, context, observation(Show("image_1", max_pixels=32 * 32)))
    shown = [p.shown for p in context.placements()]
    assert shown[0] != shown[1]
    assert context.shown("image_1") == shown[1]
    pictures = renderer.prompt(context).pictures
    assert pictures[0].digest != pictures[1].digest


@pytest.mark.parametrize(
    ("dialect", "box"), [("hermes", HALF), ("inline", (0.25, 0.25, 0.75, 0.75))]
)
def test_two_dialects_that_differ_in_units_names_and_turns(dialect, box):
    """The same look in both, and the tokens of each call are known."""
    texts = (zoom_text(dialect, box), answer_text())
    player = seat(turns(*texts), dialect)
    episode = run(environment(), player)
    assert episode.stop is StopReason.ANSWERED, episode.error
    bound = episode.outcomes()[0].bound
    assert bound.regions["box"] == (Region("image_1", Box(0.25, 0.25, 0.75, 0.75)),)
    context = episode.final
    policy = [s for s in context.segments if s.author is Author.POLICY]
    span = policy[0].call_spans[0]
    codec = player.renderer.codec
    words = codec.decode(policy[0].ids[span.start : span.end].tolist())
    call = policy[0].messages[-1].action.calls[0]
    assert words == texts[0][slice(*call.span)]
    heads = codec.decode(context.ids().tolist()).count("<|im_start|>assistant")
    assert heads == (2 if dialect == "hermes" else 1)


def test_scripted_and_chat_engines_play_the_same_episode():
    texts = (zoom_text(box=HALF), answer_text())
    with_ids = run(environment(), seat(turns(*texts)))
    chat = Seat("policy", plain_renderer(), Chats(*texts))
    without = run(environment(), chat)
    assert without.stop is StopReason.ANSWERED, without.error
    assert not without.final.has_tokens
    assert [m.role for m in without.path_messages()] == [m.role for m in with_ids.path_messages()]
    assert without.store["image_2"].digest == with_ids.store["image_2"].digest
    # A foreign transcript gets tokens by encoding, the very ones that sampling would have given.
    segments = chat.renderer.encode(
        list(without.path_messages()), environment().specs, without.store
    )
    ids = np.concatenate([s.ids for s in segments])
    assert np.array_equal(ids[: len(with_ids.final)], with_ids.final.ids())
    authors = {s.author for s in segments}
    assert Author.TEACHER in authors
    assert Author.POLICY not in authors


class Sealed(ToolEnvironment):
    """An environment whose state cannot be copied."""

    async def fork(self):
        raise ForkRefused("sealed")


def test_a_replay_fork_of_the_environment():
    wrapped = ReplayFork(lambda: Sealed(TASK, Toolbox([zoom])))
    assert wrapped.fork_mode is ForkMode.REPLAY

    def script(key):
        return zoom_text(box=HALF) if key[-1] == 0 and len(key) == 3 else answer_text(str(key[-3]))

    cast = {"policy": seat(script)}
    episode = asyncio.run(branch(wrapped, cast, after=1, width=3))
    assert [type(c.edge) for c in episode.contexts] == [type(None), Fork, Fork]
    assert len(episode.leaves()) == 3
    crops = {c.store["image_2"].digest for c in episode.contexts}
    assert len(crops) == 1
    assert [c.shared for c in episode.contexts] == [0, 3, 3]


def test_parallel_calls_that_finish_out_of_order(registry):
    finished = []

    @tool
    async def wait(image: Image, ticks: int) -> Observation:
        """Wait.

        Args:
            image: Picture.
            ticks: How long.
        """
        for _ in range(ticks * 20):
            await asyncio.sleep(0.001)
        finished.append(ticks)
        return Observation(values=(image.crop_pixels(0, 0, 10 + ticks, 10),), text=str(ticks))

    call = '<tool_call>\n{"name": "wait", "arguments": {"image": 1, "ticks": %d}}\n</tool_call>'
    both = call % 3 + "\n" + call % 1
    episode = run(environment(Toolbox([wait])), seat(turns(both, answer_text())))
    assert finished == [1, 3]
    assert [m.text for m in episode.path_messages() if m.outcomes] == ["3", "1"]
    assert [episode.store.size(h)[0] for h in ("image_2", "image_3")] == [13, 11]


def test_an_observation_that_does_not_fit_is_refused_whole(registry):
    @tool
    def sheet(image: Image) -> Observation:
        """Show a picture many times.

        Args:
            image: Picture.
        """
        return Observation(values=(image,) * 100)

    call = '<tool_call>\n{"name": "sheet", "arguments": {"image": 1}}\n</tool_call>'
    limits = Limits(max_tokens=520, max_images=200)
    episode = run(environment(Toolbox([sheet]), limits), seat(turns(call, answer_text())))
    reply = next(s for s in episode.final.segments if s.author is Author.TOOL)
    assert reply.placements == ()
    assert reply.messages[0].outcomes[0].fault.code is FaultCode.NO_ROOM
    assert episode.stop is StopReason.ANSWERED
    assert len(episode.final) <= limits.max_tokens


def test_attempt_group_and_turn_scoped_rewards():
    once = run(environment(), seat(turns(zoom_text(box=HALF), answer_text())), key=(1,))
    none = [run(environment(), seat(turns(answer_text("3"))), key=(2, i)) for i in range(4)]
    group = [once, *none]
    judges = [parts.get(n) for n in ("format", "answer", "evidence_iou", "curiosity_tool_rate")]
    scores = score_group(group, TASK, judges, hierarchy(process={"evidence_iou": 1.0}))
    assert scores[0].total == pytest.approx(0.1 + 1.0 + 0.5)
    assert scores[0].parts["curiosity_tool_rate"] == pytest.approx(0.5 * (0.3 - 0.2))
    assert scores[1].total == pytest.approx(0.1)
    turn = [*judges, parts.get("turn_format")]
    credit = score_group(group, TASK, turn, weighted({"answer": 1.0, "turn_format": 0.1}))
    assert credit[0].turns == {0: 0.1, 1: 0.1}


def test_an_episode_that_spans_two_weight_versions():
    player = seat(turns(zoom_text(box=HALF), answer_text()))

    def publish(episode, context):
        if context.segments[-1].author is Author.TOOL:
            player.engine.version = 1

    episode = run(environment(), player, watch=publish)
    versions = [s.version for s in episode.final.segments if s.author is Author.POLICY]
    assert versions == [0, 1]


def test_edit_this_box_and_go_on_from_turn_k():
    cast = {"policy": seat(turns(zoom_text(box=HALF), answer_text("3")))}
    episode = asyncio.run(play(environment(), cast))
    edited = Action("", "Better here.", (ToolCall("zoom", {"image": 1, "box": [0, 0, 500, 500]}),))
    again = {"policy": seat(lambda key: answer_text("7"))}
    asyncio.run(rerun(episode, environment(), again, turn=0, edit=edited))
    fork = episode.contexts[1]
    assert fork.edge == Fork(0, 1)
    assert np.array_equal(fork.segments[0].ids, episode.contexts[0].segments[0].ids)
    by = [s.author for s in fork.segments if any(m.action for m in s.messages)]
    assert by == [Author.USER, Author.POLICY]
    assert fork.mask().sum() == len(fork.segments[-1])
    place = fork.store.to_source(Region("image_2", Box(0, 0, 1, 1)))
    assert place.shape == Box(0, 0, 0.5, 0.5)
    assert [e.answer for e in episode.leaves()] == ["3", "7"]


def test_a_replay_that_differs_refuses_the_fork():
    cast = {"policy": seat(turns(zoom_text(box=HALF), answer_text()))}
    episode = asyncio.run(play(environment(), cast))
    elsewhere = Task(id="t", prompt=(picture(96, 96, 6), "what digit?"), reference=Answer(("7",)))
    with pytest.raises(ForkRefused, match="another image_1"):
        asyncio.run(rerun(episode, environment(task=elsewhere), cast, turn=1))


def test_what_breaks_on_our_side_is_failed_and_says_so(registry):
    @tool
    def broken(image: Image) -> str:
        """Break.

        Args:
            image: Any.
        """
        raise KeyError("disk")

    @tool
    def refuses(image: Image) -> str:
        """Refuse.

        Args:
            image: Any.
        """
        raise ModelFault(FaultCode.TOO_SMALL, "too small")

    call = '<tool_call>\n{"name": "%s", "arguments": {"image": 1}}\n</tool_call>'
    ours = run(environment(Toolbox([broken])), seat(turns(call % "broken", answer_text())))
    theirs = run(environment(Toolbox([refuses])), seat(turns(call % "refuses", answer_text())))
    assert ours.stop is StopReason.FAILED
    assert "disk" in ours.error
    assert theirs.stop is StopReason.ANSWERED
    assert theirs.outcomes()[0].fault.code is FaultCode.TOO_SMALL


def test_tools_under_other_names_run_the_same():
    box = Toolbox([zoom]).view(seed=3)
    spec = box.specs[0]
    assert spec.name != "zoom"
    image, place = (p.name for p in spec.params)
    body = (
        f'{{"name": "{spec.name}", "arguments": {{"{image}": 1, "{place}": [250, 250, 750, 750]}}}}'
    )
    text = f"<tool_call>\n{body}\n</tool_call>"
    episode = run(environment(box), seat(turns(text, answer_text())))
    assert episode.stop is StopReason.ANSWERED
    bound = episode.outcomes()[0].bound
    assert (bound.tool, set(bound.regions)) == ("zoom", {"box"})
    assert isinstance(Tool, type)
    assert isinstance(episode.path_messages()[0].parts[0], Show | Text)
