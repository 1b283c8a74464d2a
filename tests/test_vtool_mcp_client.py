"""Tools of MCP servers in a toolbox."""

import asyncio
import json
import os
import sys
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from vtool.dialects.hermes import Hermes
from vtool.errors import VToolError
from vtool.mcp_client import McpServer, mcp_tools, params_of
from vtool.media import Image
from vtool.message import Text, ToolCall
from vtool.store import Store
from vtool.toolbox import Toolbox, ToolBroken
from vtool.toolspec import Kind

FAKE = Path(__file__).parent / "support" / "mcp_fake.py"


def noise(width=64, height=48, seed=0):
    rng = np.random.default_rng(seed)
    return Image(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))


async def run(toolbox, store, name, /, **arguments):
    calls = [ToolCall(name, arguments)]
    return (await toolbox.run(calls, store, Hermes(), store.size))[0]


def outcome(message):
    fault = message.outcomes[0].fault
    return (str(fault.code), fault.message) if fault else message.text


@pytest.fixture(scope="module")
def fake():
    os.environ["VTOOL_SECRET"] = "x"
    server = McpServer([sys.executable, str(FAKE)])
    yield server
    server.close()
    del os.environ["VTOOL_SECRET"]


def test_schemas_of_others_are_read_into_kinds(fake):
    echo, act, size = fake.tools(prefix="far_")
    kinds = {p.name: p.kind for p in echo.spec.params}
    assert kinds == {
        "word": Kind.STRING,
        "mode": Kind.STRING,
        "count": Kind.INTEGER,
        "share": Kind.NUMBER,
        "sure": Kind.BOOLEAN,
        "words": Kind.STRINGS,
        "box": Kind.STRING,
        "either": Kind.STRING,
    }
    assert echo.spec.param("mode").choices == ("loud", "soft")
    assert "written as JSON text" in echo.spec.param("box").description
    assert [p.required for p in echo.spec.params] == [True] + [False] * 7
    assert (act.spec.name, size.spec.params[0].kind) == ("far_act", Kind.IMAGE)
    assert len(echo.spec.description) == 1000
    assert not echo.spec.pure


def test_arguments_arrive_as_they_were_meant(fake):
    box, store = Toolbox(fake.tools()), Store()
    given = {"word": "a", "mode": "loud", "count": 3, "share": 0.5, "sure": True, "words": ["b"]}

    async def go():
        message = await run(box, store, "echo", **given, box="[1, 2.5]", either='{"a": null}')
        bad = await run(box, store, "echo", word="a", box="[1, 2")
        nan = await run(box, store, "echo", word="a", box="[NaN]")
        wrong = await run(box, store, "echo", word="a", mode="medium")
        return message.text, outcome(bad), outcome(nan), outcome(wrong)

    text, bad, nan, wrong = asyncio.run(go())
    assert json.loads(text) == {**given, "box": [1, 2.5], "either": {"a": None}}
    assert [f[0] for f in (bad, nan, wrong)] == ["bad_json", "bad_json", "bad_args"]


def test_pictures_go_there_and_come_back(fake):
    box, store = Toolbox(fake.tools()), Store()
    store.add(noise())
    message = asyncio.run(run(box, store, "size", picture=1))
    (handle,) = message.outcomes[0].handles
    assert store[handle].digest == noise().digest
    assert json.loads(message.text)["bytes"] == len(noise().encode())


def test_what_others_do_wrong_is_contained(fake):
    box = Toolbox(fake.tools(seconds=1.0))
    patient = Toolbox(fake.tools(seconds=60.0))

    async def act(what, box=box):
        try:
            return outcome(await run(box, Store(), "act", what=what))
        except ToolBroken as err:
            return str(err)

    async def go():
        first = await act("hello")
        assert first.endswith("keys []")
        assert await act("error") == ("tool_error", "act: no such thing")
        assert (await act("raise"))[0] == "tool_error"
        assert (await act("junk"))[0] == "tool_error"
        assert "99 pictures" in await act("many")
        assert json.loads(await act("structured")) == {"a": 1}
        start = time.monotonic()
        assert (await act("hang"))[0] == "timeout"
        assert time.monotonic() - start < 4
        assert await act("hello") == first
        assert (await act("crash"))[0] == "tool_crashed"
        again = await act("hello", patient)  # which starts it again
        assert again.startswith("pid ")
        assert again != first

    asyncio.run(go())


def test_a_server_that_changes_its_tools_is_refused(tmp_path):
    server = McpServer([sys.executable, str(FAKE), str(tmp_path / "second")])
    pinned = server.digest
    box = Toolbox(server.tools())

    async def go():
        assert outcome(await run(box, Store(), "act", what="crash"))[0] == "tool_crashed"
        with pytest.raises(ToolBroken, match="lists other tools"):
            await run(box, Store(), "act", what="hello")

    asyncio.run(go())
    server.close()
    changed = [sys.executable, str(FAKE), str(tmp_path / "second")]
    with pytest.raises(ToolBroken, match="lists other tools"):
        mcp_tools(changed, pin=pinned)


def test_a_recipe_may_name_a_server():
    box = Toolbox(["zoom", {"mcp": {"command": [sys.executable, str(FAKE)], "only": ["echo"]}}])
    assert [s.name for s in box.specs] == ["zoom", "echo"]


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"command": []},
        {"command": ["a"], "url": "http://localhost"},
        {"command": ["/no/such/program"]},
        {"command": [sys.executable, "-c", "print('hello')"]},
    ],
)
def test_a_server_that_cannot_be_reached_is_told(arguments):
    with pytest.raises(VToolError, match=r"needs a command or a url|cannot be reached"):
        mcp_tools(**arguments)


def test_a_tool_that_the_server_lacks_is_told(fake):
    with pytest.raises(VToolError, match=r"no tool 'ecko'; it has echo"):
        fake.tools(only=["ecko"])
    with pytest.raises(VToolError, match="type object"):
        params_of({"type": "array"})


def test_descriptions_of_others_are_ordinary_text(fake):
    pieces = Hermes().announce([t.spec for t in fake.tools()])
    assert any("<|im_end|>" in p.text for p in pieces if isinstance(p, Text))


def test_closing_a_toolbox_ends_the_server_its_thread_and_its_loop():
    """A run that opens servers again and again must not gather children and threads."""

    def children():
        found = psutil.Process().children(recursive=True)
        alive = [p for p in found if p.status() != psutil.STATUS_ZOMBIE]
        return [p for p in alive if str(FAKE) in p.cmdline()]

    def lines():
        return {t for t in threading.enumerate() if t.name == "mcp"}

    before, old = len(children()), lines()
    server = McpServer([sys.executable, str(FAKE)])
    store = Store()

    async def go():
        box = Toolbox(server.tools())
        first = (await run(box, store, "echo", word="a")).text
        await box.close()
        between = len(children()), lines()
        again = (await run(box, store, "echo", word="a")).text
        await box.close()
        await box.close()
        return first, between, again

    first, between, again = asyncio.run(go())
    assert first == again
    assert between == (before, old)
    assert (len(children()), lines()) == (before, old)
