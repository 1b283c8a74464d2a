"""The toolbox over MCP: stdio and HTTP, pictures by handle, what may be opened."""

import asyncio
import base64
import contextlib
import json
import subprocess
import sys

import httpx2
import numpy as np
import pytest
from mcp import Client, MCPError, StdioServerParameters

from vtool.dialects.hermes import Hermes
from vtool.errors import VToolError
from vtool.geometry import Units
from vtool.mcp_client import mcp_tools
from vtool.mcp_http import Guard
from vtool.mcp_server import Desk, ServerOptions, below, make_server
from vtool.media import Image
from vtool.message import ToolCall
from vtool.observation import Finding, Observation
from vtool.store import Store, Table
from vtool.tool import tool, tools
from vtool.toolbox import Toolbox
from vtool.workspace import Workspace

TOKEN = "a-token-for-tests"


@pytest.fixture(autouse=True)
def _own_names(monkeypatch):
    monkeypatch.setattr(tools, "_things", dict(tools._things))


def noise(width=64, height=48, seed=0):
    rng = np.random.default_rng(seed)
    return Image(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))


async def run(toolbox, store, name, /, **arguments):
    calls = [ToolCall(name, arguments)]
    return (await toolbox.run(calls, store, Hermes(), store.size))[0]


@pytest.fixture
def pictures(tmp_path):
    """A root with one picture, and a secret beside it."""
    root = tmp_path / "root"
    (root / "sub").mkdir(parents=True)
    (root / "sub" / "a.png").write_bytes(noise().encode())
    (root / "words.png").write_text("<html>no picture</html>")
    (tmp_path / "secret.png").write_bytes(noise(seed=1).encode())
    (root / "link.png").symlink_to(tmp_path / "secret.png")
    return root


def command(*more):
    return [sys.executable, "-m", "vtool.cli", "mcp", "--tools", "zoom", *more]


def pixels(content):
    return Image.decode(base64.b64decode(content.data)).pixels


async def tour(client):
    """Every request that a client makes of us once; what it saw."""
    names = [t.name for t in (await client.list_tools()).tools]
    opened = await client.call_tool("open_image", {"path": "sub/a.png"})
    cut = await client.call_tool("zoom", {"image": "image_1", "box": [0, 0, 32, 24]})
    far = await client.call_tool("zoom", {"image": "image_7", "box": [0, 0, 32, 24]})
    bad = await client.call_tool("zoom", {"image": "image_1", "box": [9, 9, 1, 1]})
    listed = [r.uri for r in (await client.list_resources()).resources]
    blob = (await client.read_resource("vtool://image_2")).contents[0]
    with pytest.raises(MCPError, match="no 'image_9'"):
        await client.read_resource("vtool://image_9")
    assert names == ["open_image", "zoom"]
    assert opened.structured_content["values"] == [
        {"handle": "image_1", "kind": "image", "size": [64, 48]}
    ]
    assert np.array_equal(pixels(opened.content[1]), noise().pixels)
    assert cut.structured_content["values"][0]["of"] == "image_1"
    assert np.array_equal(pixels(cut.content[1]), noise().pixels[:24, :32])
    assert json.loads(cut.content[0].text) == cut.structured_content
    assert (far.is_error, bad.is_error) == (True, True)
    assert far.structured_content["error"]["code"] == "unknown_image"
    assert bad.structured_content["error"]["code"] == "bad_box"
    assert listed == ["vtool://image_1", "vtool://image_2"]
    seen = Image.decode(base64.b64decode(blob.blob))
    assert (blob.mime_type, np.array_equal(seen.pixels, noise().pixels[:24, :32])) == (
        "image/png",
        True,
    )


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_a_client_over_stdio(pictures, mode):
    async def go():
        head, *rest = command("--root", str(pictures))
        async with Client(StdioServerParameters(command=head, args=rest), mode=mode) as client:
            await tour(client)

    asyncio.run(go())


# What a server may open


@pytest.mark.parametrize(
    "path",
    [
        "../secret.png",
        "sub/../../secret.png",
        "link.png",
        "/etc/passwd",
        "",
        ".",
        "sub",
        "no.png",
        "a\0b.png",
        "x" * 5000,
        "/dev/zero",
    ],
)
def test_only_files_below_the_roots(pictures, path):
    assert below(path, [pictures]) is None
    desk = Desk(Toolbox(["zoom"]), ServerOptions(roots=(pictures,)))
    got = asyncio.run(desk.call("open_image", {"path": path}, "a"))
    assert got["structured"]["error"]["code"] == "bad_image"
    assert "secret" not in json.dumps(got["structured"])


def test_files_below_the_roots_are_found_by_either_path(pictures):
    for path in ("sub/a.png", str(pictures / "sub" / "a.png"), "sub/../sub/a.png"):
        assert below(path, [pictures.parent / "absent", pictures]) == pictures / "sub" / "a.png"


@pytest.mark.parametrize("arguments", [{}, {"path": 3}, {"path": "a", "more": 1}, {"path": None}])
def test_arguments_of_open_image_are_read_strictly(pictures, arguments):
    desk = Desk(Toolbox(["zoom"]), ServerOptions(roots=(pictures,)))
    got = asyncio.run(desk.call("open_image", arguments, "a"))
    assert got["structured"]["error"]["code"] == "bad_args"


def test_what_is_no_picture_is_refused_and_without_roots_nothing_opens(pictures):
    desk = Desk(Toolbox(["zoom"]), ServerOptions(roots=(pictures,)))
    got = asyncio.run(desk.call("open_image", {"path": "words.png"}, "a"))
    assert got["structured"]["error"]["code"] == "bad_image"
    shut = Desk(Toolbox(["zoom"]), ServerOptions())
    assert [s["name"] for s in shut.schemas()] == ["zoom"]
    got = asyncio.run(shut.call("open_image", {"path": "sub/a.png"}, "a"))
    assert got["structured"]["error"]["code"] == "unknown_tool"


def test_sessions_see_their_own_pictures_and_are_bounded(pictures):
    desk = Desk(Toolbox(["zoom"]), ServerOptions(roots=(pictures,), max_sessions=2, max_images=2))

    def opened(session):
        got = asyncio.run(desk.call("open_image", {"path": "sub/a.png"}, session))
        return got["structured"].get("handles") or got["structured"]["error"]["code"]

    assert [opened(s) for s in ("a", "a", "b", "a")] == [
        ["image_1"],
        ["image_2"],
        ["image_1"],
        "too_many_images",
    ]
    assert len(desk.resources("a")) == 2
    opened("c")
    assert len(desk.resources("b")) == 0


def test_a_session_keeps_what_its_tools_keep_and_ends_it_with_the_session(pictures):
    ended = []

    class Counter:
        def __init__(self):
            self.count = 0

        def close(self):
            ended.append(self.count)

        def fork(self):
            raise AssertionError

    @tool(pure=False)
    def count_up(workspace: Workspace) -> str:
        """Count the calls."""
        counter = workspace.belongings.get("counter", Counter)
        counter.count += 1
        return f"{counter.count} {workspace.seed}"

    async def go():
        desk = Desk(Toolbox([count_up]), ServerOptions(max_sessions=2))
        said = [
            (await desk.call("count_up", {}, session))["structured"]["text"] for session in "aab"
        ]
        await desk.call("count_up", {}, "c")
        for _ in range(100):
            if ended:
                break
            await asyncio.sleep(0.02)
        desk.close()
        return said

    said = asyncio.run(go())
    assert [s.split()[0] for s in said] == ["1", "2", "1"]
    assert len({s.split()[1] for s in said[:2]}) == 2, "each call draws anew"
    assert sorted(ended) == [1, 1, 2]


def test_what_a_session_holds_is_bounded_in_bytes_and_pictures(pictures):
    @tool
    def several(count: int) -> Observation:
        """Make pictures."""
        return Observation(tuple(Image(np.full((32, 32, 3), i, np.uint8)) for i in range(count)))

    def code(got):
        return got["structured"].get("error", {}).get("code")

    async def go(options, *counts):
        desk = Desk(Toolbox([several], cache=False), options)
        return [code(await desk.call("several", {"count": n}, "a")) for n in counts]

    assert asyncio.run(go(ServerOptions(max_images=3), 2, 2, 1)) == [None, "too_many_images", None]
    assert asyncio.run(go(ServerOptions(max_bytes=5000), 1, 1, 1)) == [None, None, "too_large"]


def test_schemas_say_the_convention_and_results_are_written_in_it(pictures):
    @tool
    def spot(image: Image) -> Observation:
        """Find the one thing.

        Args:
            image: Where.
        """
        from vtool.geometry import Box, Mask

        return Observation(
            (Table(({"a": 1},)), Mask(image.pixels.max(axis=2) > 99)),
            "one",
            found=(Finding(Box(0.5, 0.5, 1, 1), "cat", 0.5, facts={"metres": 2}),),
        )

    for units, expected, words in [
        (Units.ORIGINAL, [32, 24, 64, 48], "pixels of the original"),
        (Units.THOUSAND, [500, 500, 1000, 1000], "1000"),
    ]:
        desk = Desk(Toolbox(["zoom", spot]), ServerOptions(roots=(pictures,), units=units))
        zoom = next(s for s in desk.schemas() if s["name"] == "zoom")
        assert words in zoom["input_schema"]["properties"]["box"]["description"]
        assert zoom["input_schema"]["properties"]["image"]["type"] == "string"
        asyncio.run(desk.call("open_image", {"path": "sub/a.png"}, "a"))
        got = asyncio.run(desk.call("spot", {"image": "vtool://image_1"}, "a"))["structured"]
        assert got["found"] == [
            {"picture": "image_1", "label": "cat", "place": expected, "score": 0.5, "metres": 2}
        ]
        assert got["handles"] == ["table_1", "mask_1"]
        assert desk.read("vtool://table_1", "a") == ("application/json", b'[{"a": 1}]')
        assert Image.decode(desk.read("vtool://mask_1", "a")[1]).size == (64, 48)


def test_large_pictures_are_shown_smaller_and_say_so(pictures):
    desk = Desk(Toolbox(["zoom"]), ServerOptions(roots=(pictures,), max_pixels=768))
    got = asyncio.run(desk.call("open_image", {"path": "sub/a.png"}, "a"))
    entry = got["structured"]["values"][0]
    assert (entry["size"], entry["shown"]) == ([64, 48], [32, 24])
    assert got["content"][1].size == (32, 24)
    assert Image.decode(desk.read("vtool://image_1", "a")[1]).size == (64, 48)


def test_a_broken_tool_is_told_without_its_words():
    @tool
    def broken(text: str) -> str:
        """Break.

        Args:
            text: Nothing.
        """
        raise RuntimeError("the secret of this machine")

    desk = Desk(Toolbox([broken], forgiving=True), ServerOptions())
    got = asyncio.run(desk.call("broken", {"text": "a"}, "a"))
    assert got["structured"]["error"]["code"] == "tool_error"
    assert "secret" not in json.dumps(got["structured"])


# HTTP


@contextlib.contextmanager
def http_server(pictures, *more):
    """A server in a process of its own; its address and what it printed."""
    words = command("--http", "--port", "0", "--root", str(pictures), *more)
    server = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
    said = []
    try:
        while not said or not said[-1].startswith("http"):
            line = server.stderr.readline()
            assert line, f"it ended: {said}"
            said.append(line.strip())
        yield said[-1], said
    finally:
        server.terminate()
        server.wait(10)
        server.stderr.close()


PING = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
ACCEPT = {"accept": "application/json, text/event-stream"}


def test_over_http_only_with_the_token_and_from_known_places(pictures):
    async def go(url):
        good = {"authorization": f"Bearer {TOKEN}", **ACCEPT}
        port = url.split(":")[2].split("/")[0]
        async with httpx2.AsyncClient() as http:
            for change, expected in [
                ({"authorization": ""}, 401),
                ({"authorization": "Bearer wrong"}, 401),
                ({"authorization": f"Basic {TOKEN}"}, 401),
                ({"host": "attacker.example"}, 421),
                ({"host": f"attacker.example:{port}"}, 421),
                ({"host": "127.0.0.1.attacker.example"}, 421),
                ({"origin": "https://attacker.example"}, 403),
                ({"origin": "null"}, 403),
                ({"origin": f"http://127.0.0.1.attacker.example:{port}"}, 403),
            ]:
                got = await http.post(url, json=PING, headers={**good, **change})
                assert got.status_code == expected, change
                assert got.content == b""
            got = await http.post(url, json=PING, headers={**good, "origin": "http://localhost"})
            assert got.status_code not in (401, 403, 421)
        remote = await asyncio.to_thread(mcp_tools, url=url, token=TOKEN)
        assert [t.spec.name for t in remote] == ["open_image", "zoom"]
        with pytest.raises(VToolError, match="cannot be reached"):
            await asyncio.to_thread(mcp_tools, url=url, token="wrong")
        store = Store()
        box = Toolbox(remote)
        seen = await run(box, store, "open_image", path="sub/a.png")
        assert np.array_equal(store.image(seen.outcomes[0].handles[0]).pixels, noise().pixels)

    with http_server(pictures, "--token", TOKEN) as (url, said):
        assert not any(TOKEN in line for line in said)
        asyncio.run(go(url))


def test_a_token_is_made_where_none_is_given(pictures):
    with http_server(pictures) as (url, said):
        (token,) = [line.split()[1] for line in said if line.startswith("token ")]
        assert len(token) >= 32
        assert [t.spec.name for t in mcp_tools(url=url, token=token)] == ["open_image", "zoom"]


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([("host", "localhost"), ("authorization", "Bearer t")], None),
        ([("host", "[::1]:80"), ("authorization", "Bearer t")], None),
        ([("authorization", "Bearer t")], 421),
        ([("host", "localhost"), ("host", "evil"), ("authorization", "Bearer t")], 421),
        (
            [("host", "localhost"), ("authorization", "Bearer t"), ("authorization", "Bearer x")],
            401,
        ),
        ([("host", "localhost"), ("authorization", "bearer t")], 401),
        (
            [("host", "localhost"), ("origin", "file://localhost"), ("authorization", "Bearer t")],
            403,
        ),
    ],
)
def test_verdicts_of_the_guard(headers, expected):
    assert Guard(None, "t", {"a", "localhost", "::1"}).verdict(headers) == expected


def test_our_own_server_in_process():
    async def go():
        server = make_server(Toolbox(["zoom"]), ServerOptions())
        async with Client(server) as client:
            return [t.name for t in (await client.list_tools()).tools]

    assert asyncio.run(go()) == ["zoom"]
