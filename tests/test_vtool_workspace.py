"""What tools keep between calls: order within a turn, life with the episode, forks, the record."""

import asyncio
import gc

import numpy as np
import pytest
from scripts import answer_text, completion, plain_renderer

from vtool.dialects.hermes import Hermes
from vtool.environment import ReplayFork, ToolEnvironment
from vtool.errors import ForkRefused, VToolError
from vtool.geometry import Box, Region, Unmappable
from vtool.media import Image
from vtool.message import ToolCall
from vtool.programs.branch import branch
from vtool.programs.solo import play
from vtool.record import Context, Sampling
from vtool.seat import Seat
from vtool.store import Store
from vtool.task import Answer, Task
from vtool.tool import tool, tools
from vtool.toolbox import Toolbox
from vtool.trace import TraceWriter, read_trace
from vtool.workspace import Belongings, Workspace, check_runtime


class Tally:
    """Counts, and knows whether it was closed."""

    def __init__(self, at=0, forks=True):
        self.at, self.forks, self.closed = at, forks, 0

    def close(self):
        self.closed += 1

    def fork(self):
        if not self.forks:
            raise ForkRefused("a tally of this kind cannot be copied")
        return Tally(self.at)


@pytest.fixture
def count(monkeypatch):
    monkeypatch.setattr(tools, "_things", dict(tools._things))

    @tool(pure=False)
    def count(by: int, workspace: Workspace) -> str:
        """Count on.

        Args:
            by: How far.
        """
        kept = workspace.belongings.get("tally", Tally)
        kept.at += by
        return f"{kept.at} {sorted(workspace.images)} {workspace.seconds:g}"

    return count


def picture():
    return Image(np.zeros((8, 8, 3), np.uint8))


async def turn(env, *by):
    action = Hermes().parse(
        "".join(
            f'<tool_call>\n{{"name": "count", "arguments": {{"by": {n}}}}}\n</tool_call>\n'
            for n in by
        )
    )
    reply = await env.reply(action, Context(0, "policy", env.store), Hermes())
    return [m.text for m in reply.messages]


def environment(count):
    return ToolEnvironment(
        Task(id="t", prompt=(picture(),), reference=Answer(("1",))), Toolbox([count])
    )


def test_the_scope_is_no_argument_of_the_model_s(count):
    assert [p.name for p in count.spec.params] == ["by"]


def test_it_is_kept_over_turns_and_calls_of_a_turn_go_in_order(count):
    async def go():
        env = environment(count)
        await env.reset()
        first, second = await turn(env, 1), await turn(env, 10)
        await env.close()
        return first + second

    assert asyncio.run(go()) == ["1 ['image_1'] 30", "11 ['image_1'] 30"]
    store, kept = Store(), Belongings()
    box = Toolbox([count]).view(3)
    shown = box.specs[0]
    calls = [ToolCall(shown.name, {shown.params[0].name: 10**i}) for i in range(8)]

    got = asyncio.run(
        box.run(calls, store, Hermes(max_parallel=8), lambda h: None, belongings=kept)
    )
    assert [m.text.split()[0] for m in got] == ["1" * (i + 1) for i in range(8)]


def test_without_an_episode_nothing_outlives_the_turn(count):
    box, made = Toolbox([count]), []
    count_of = count.fn.__globals__["Tally"]

    class Seen(count_of):
        def __init__(self, *a):
            super().__init__(*a)
            made.append(self)

    count.fn.__globals__["Tally"] = Seen
    try:
        for _ in range(2):
            call = [ToolCall("count", {"by": 1})]
            (message,) = asyncio.run(box.run(call, Store(), Hermes(), lambda h: None))
            assert message.text.startswith("1 ")
    finally:
        count.fn.__globals__["Tally"] = count_of
    assert [t.closed for t in made] == [1, 1]


def test_a_fork_has_its_own_and_closing_one_leaves_the_other(count):
    async def go():
        env = environment(count)
        await env.reset()
        await turn(env, 5)
        other = await env.fork()
        mine, theirs = await turn(env, 1), await turn(other, 2)
        await env.close()
        again = await turn(other, 1)
        with pytest.raises(VToolError, match="over"):
            await turn(env, 1)
        return [t[0].split()[0] for t in (mine, theirs, again)]

    assert asyncio.run(go()) == ["6", "7", "8"]


def test_what_cannot_be_copied_refuses_the_fork_and_closes_its_copies():
    kept = Belongings()
    copies = []

    class Watched(Tally):
        def fork(self):
            copies.append(Tally())
            return copies[-1]

    kept.get("a", Watched)
    kept.get("b", lambda: Tally(forks=False))
    with pytest.raises(ForkRefused):
        kept.fork()
    assert [c.closed for c in copies] == [1]


def test_one_that_is_forgotten_is_closed():
    kept = Belongings()
    tally = kept.get("a", Tally)
    del kept
    gc.collect()
    assert tally.closed == 1


def test_a_picture_made_from_all_of_them_has_no_way_back(count):
    @tool(pure=False, name="paint")
    def paint(workspace: Workspace) -> Image:
        """Paint."""
        return Image(np.full((4, 4, 3), 7, np.uint8))

    store = Store()
    store.add(picture())
    box = Toolbox([paint])
    (message,) = asyncio.run(box.run([ToolCall("paint", {})], store, Hermes(), lambda h: None))
    handle = message.outcomes[0].handles[0]
    assert isinstance(store.to_source(Region(handle, Box(0, 0, 1, 1))), Unmappable)


def test_the_record_says_whether_state_was_kept(count):
    @tool(name="plain")
    def plain(text: str) -> str:
        """Say it.

        Args:
            text: What.
        """
        return text

    keeps, forgets = Toolbox([count, plain]).runtime, Toolbox([plain]).runtime
    assert keeps == {"tools": {"count": "1", "plain": "1"}, "persistent": True}
    assert forgets["persistent"] is False
    assert Toolbox([count]).view(1).runtime == Toolbox([count]).runtime
    task = Task(id="t", prompt=(picture(),), reference=Answer(("1",)))
    made = ReplayFork(lambda: ToolEnvironment(task, Toolbox([count])))
    assert made.runtime["persistent"] is True
    check_runtime(keeps, keeps)
    check_runtime({}, keeps)
    with pytest.raises(VToolError, match="did not keep state"):
        check_runtime(forgets, keeps)


def test_an_episode_carries_the_contract_and_forks_are_closed(count, tmp_path):
    renderer, made = plain_renderer(), []

    class Says:
        async def generate(self, request):
            text = (
                answer_text()
                if request.key[-1]
                else ('<tool_call>\n{"name": "count", "arguments": {"by": 1}}\n</tool_call>')
            )
            return completion(renderer, text)

    class Watched(ToolEnvironment):
        async def fork(self):
            made.append(await super().fork())
            return made[-1]

    task = Task(id="t", prompt=(picture(),), reference=Answer(("7",)))
    seats = {"policy": Seat("policy", renderer, Says(), Sampling())}
    episode = asyncio.run(play(environment(count), seats))
    tree = asyncio.run(branch(Watched(task, Toolbox([count])), seats, after=1, width=2))
    for played in (episode, tree):
        assert played.error is None
        assert played.runtime["persistent"] is True
    tally = made[0]._belongings._held["tally"]
    assert (tally.at, tally.closed) == (2, 1)  # the call before the fork, and its own
    with TraceWriter(tmp_path) as writer:
        writer.write(episode)
    (back,) = read_trace(tmp_path)
    assert back.episode.runtime == episode.runtime
