"""Group S of the fault catalogue, as far as it is the studio's and the page's."""

import asyncio
import contextlib
import hmac
import io
import json
import re
import time
from html.parser import HTMLParser
from unittest import mock

import httpx
import numpy as np
from studio_visits import studio
from vtool.demos.studio.attempt import Attempt
from vtool.demos.studio.board import board
from vtool.demos.studio.guard import HostGuard
from vtool.demos.studio.leaderboard_tab import leaders
from vtool.demos.studio.panels import Asked, conversation, film, notice
from vtool.demos.studio.path import view_path
from vtool.demos.studio.policies import Cast
from vtool.demos.studio.script import script_seat
from vtool.demos.studio.session import Sessions
from vtool.demos.studio.workbench import Workbench
from vtool.demos.view import page_of_trace

from vtool.environment import Limits
from vtool.errors import DataError
from vtool.geometry import Box, Region
from vtool.media import Image
from vtool.message import (
    Action,
    Author,
    BoundCall,
    Message,
    Outcome,
    Role,
    Show,
    Text,
    ToolCall,
)
from vtool.record import Episode, Segment, StopReason
from vtool.store import Origin, Store
from vtool.task import Answer, Task
from vtool.toolbox import Toolbox
from vtool.trace import TraceRecord, write_trace

BEACON = "http://203.0.113.7/beacon.png"
CORPUS = (
    "<script>window.__evil=1</script>",
    "<img src=x onerror=window.__evil=1>",
    f"![beacon]({BEACON})",
    f'<img src="{BEACON}">',
    f"<style>@import url({BEACON});body{{background:url({BEACON})}}</style>",
    "<svg/onload=window.__evil=1>",
    '"><iframe srcdoc="<script>parent.__evil=1</script>"></iframe>',
    "[press](javascript:window.__evil=1)",
    f'<link rel="stylesheet" href="{BEACON}"><meta http-equiv="refresh" content="0;{BEACON}">',
    f"<video autoplay src={BEACON}></video><form action={BEACON}><button>x</button></form>",
    "{{constructor.constructor('window.__evil=1')()}} ${window.__evil=1}",
    "</p></li></ol></textarea></title><base href=http://203.0.113.7/>",
    '" onmouseover="window.__evil=1" style="background:url(http://203.0.113.7/b)" x="',
    "\u202eevil\u202c\u200b\u0000<details open ontoggle=window.__evil=1>",
)
EVIL = "\n".join(CORPUS)

# What our own markup is made of; of these, none loads anything but what lies in the page.
OURS = re.compile(
    r"(ol|ul|li|div|span|p|b|i|code|pre|button|figure|figcaption|img|svg|g|rect|line|text|circle"
    r"|path|table|thead|tbody|tr|td|th|h[1-4]|dl|dt|dd|details|summary|html|head|meta|title|style"
    r"|body|main|header|nav|a|section|footer|small|em|strong|polygon|article|input|label)"
)
LOADS = ("src", "href", "srcset", "action", "data", "poster", "background", "xlink:href")


class Danger(HTMLParser):
    """Collects whatever could run, or ask another machine."""

    def __init__(self, page):
        super().__init__()
        self.found = set()
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        told = dict(attrs)
        if not OURS.fullmatch(tag) or told.get("http-equiv") == "refresh":
            self.found.add(tag)
        for name, value in told.items():
            value = value or ""
            ours = value.startswith(("data:image/", "#"))
            if name.startswith("on") or (name in LOADS and not ours and tag != "input"):
                self.found.add(name)
            if name == "style" and "url(" in value:
                self.found.add("style")


def danger(markup):
    found = Danger(str(markup)).found
    return "escaped" if not found else ", ".join(sorted(found))


def hostile_episode(words=EVIL):
    """A model, a tool that reads text and a file's name, all of one mind."""
    pixels = np.zeros((40, 40, 3), np.uint8)
    store = Store()
    source = store.add(Image(pixels)).handle
    origin = Origin(parent=source, tool=words)
    part = store.add(Image(pixels[:20, :20]), origin).handle
    call = ToolCall(words, {words: words, "box": [0, 0, 500, 500]})
    region = Region(source, Box(0, 0, 0.5, 0.5))
    bound = BoundCall(call, words, {"image": source}, {"box": (region,)}, {"note": words})
    read = Outcome(call=call, bound=bound, handles=(part,), effective=(region,))
    action = Action(text=words, thought=words, calls=(call,))
    last = Action(text=words, thought=words, answer=words)
    said = [
        (
            Author.USER,
            Message(role=Role.USER, parts=(Show(source), Text(words)), author=Author.USER),
        ),
        (Author.POLICY, spoken(action)),
        (
            Author.TOOL,
            Message(
                role=Role.TOOL,
                parts=(Text(words), Show(part)),
                author=Author.TOOL,
                outcomes=(read,),
            ),
        ),
        (Author.POLICY, spoken(last)),
    ]
    episode = Episode(task_id=words, seed=0, store=store, stop=StopReason.ANSWERED, answer=words)
    context = episode.open("policy", store=store)
    for turn, (author, message) in enumerate(said):
        context.append(Segment(author=author, turn=turn // 2, messages=(message,)))
    context.stop, context.answer = StopReason.ANSWERED, words
    return episode


def spoken(action):
    parts = (Text(action.text),)
    return Message(role=Role.ASSISTANT, parts=parts, author=Author.POLICY, action=action)


def s4():
    """The studio's panels, with a model, a read text and a policy's name that are markup."""
    path = view_path(hostile_episode(), 0)
    told = [
        conversation(path, Asked(EVIL, EVIL)),
        film(path),
        board(path, path.sources[0]),
        notice(EVIL, "bad"),
    ]
    return danger("".join(told))


def s4_page(folder):
    """The page that is kept as one file."""
    write_trace(folder / "trace", [TraceRecord(hostile_episode(), None, {EVIL: EVIL})])
    return danger(page_of_trace(folder / "trace"))


def s4_names():
    """Reports and files under names that are markup."""
    total = dict.fromkeys(("accuracy", "low", "high", "n", "tool_rate", "calls"), 0.5)
    report = {"name": EVIL, "total": total, "k": EVIL, "control": EVIL}
    torn = {**report, "total": {**total, "low": EVIL}}
    return danger(leaders({EVIL: report, EVIL[::-1] + "<script>": torn}))


def unquoted(name, value):
    """Writes attributes as they come."""
    return f' {name.rstrip("_").replace("_", "-")}="{value}"'


def as_it_is(words):
    """Takes words for markup."""
    from vtool.demos.markup import Html

    return Html(words)


def asked_of(address, client, hash_, path):
    """Ask as a page does; the answer of the queue."""
    config = client.get(f"{address}config").json()
    ask = next(d["id"] for d in config["dependencies"] if d.get("api_name") == "ask")
    picture = {"path": path, "meta": {"_type": "gradio.FileData"}}
    body = {"data": [picture, "what?", "slow", [], 0, 0], "fn_index": ask, "session_hash": hash_}
    return client.post(f"{address}gradio_api/queue/join", json=body)


def uploaded(address, client, data):
    return client.post(f"{address}gradio_api/upload", files={"files": ("a.png", data)})


def small_picture():
    return Image(np.zeros((8, 8, 3), np.uint8)).encode("PNG")


def s5(folder):
    """More visitors than may wait, of a studio that answers one at once."""
    with studio(folder, at_once=1, max_waiting=1) as (address, _), httpx.Client() as client:
        (path,) = uploaded(address, client, small_picture()).json()
        codes = []
        for n in range(4):
            codes.append(asked_of(address, client, f"visitor{n}", path).status_code)
            time.sleep(0.3)
    return ", ".join(map(str, codes))


def s5_leave():
    """A visitor goes while a policy writes."""

    async def go():
        sessions = Sessions(60.0)
        picture = Image(np.zeros((8, 8, 3), np.uint8))
        task = Task(id="t", prompt=(picture, "what?"), reference=Answer(()))
        cast = Cast("slow", script_seat(30.0), "scripted")
        attempt = Attempt(task, cast, Toolbox(["zoom"]), Limits(max_turns=2, max_tokens=64))
        sessions.of("v").place("image").begin(attempt)
        seen = attempt.play()
        await anext(seen)
        await sessions.leave("v")
        going = attempt.going
        await seen.aclose()
        sessions.close()
        return "goes on" if going or len(sessions) else "cancelled"

    return asyncio.run(go())


async def nothing(self):
    """Stops nobody."""
    return False


def s6(folder):
    """A file that is larger than the studio takes."""
    with studio(folder, max_upload_mb=1) as (address, _), httpx.Client() as client:
        good = uploaded(address, client, small_picture()).status_code
        return f"{good}, {uploaded(address, client, bytes(3_000_000)).status_code}"


def s6_many(folder):
    """File after file on one bench."""
    bench, path = Workbench(), folder / "a.png"
    path.write_bytes(small_picture())
    for n in range(200):
        try:
            bench.open(path)
        except DataError:
            return f"refused after {n}"
    return "all taken"


ENDLESS = 10**9


def s8(folder):
    """No password, a wrong one, the right one."""
    with studio(folder, password="long enough") as (address, _):
        codes = [httpx.get(f"{address}config").status_code]
        for given in ("long enougH", "long enough"):
            with httpx.Client() as client:
                form = {"username": "vtool", "password": given}
                client.post(f"{address}login", data=form)
                codes.append(client.get(f"{address}config").status_code)
    return ", ".join(map(str, codes))


def s8_time():
    """What is compared is the whole of it, whatever was given."""
    seen, real = [], hmac.compare_digest

    def spy(a, b):
        seen.append((bytes(a), bytes(b)))
        return real(a, b)

    with mock.patch.object(hmac, "compare_digest", spy):
        from vtool.demos.studio import guard

        for name, given in (("vtool", "x"), ("who", "long enough"), ("vtool", "long enough")):
            guard.check_password(name, given, "long enough")
    whole = sum(b == b"long enough" for _, b in seen)
    return f"{whole} of 3 compared whole"


def eager(name, given, wanted):
    """Stops at the first letter that differs."""
    return name == "vtool" and given == wanted


def knocked(*headers):
    """How requests with these headers are answered."""

    async def ours(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def go(told):
        sent = []

        async def send(message):
            sent.append(message)

        scope = {"type": "http", "headers": [(k.encode(), v.encode()) for k, v in told.items()]}
        await HostGuard(ours, frozenset({"127.0.0.1", "localhost"}))(scope, None, send)
        return str(sent[0]["status"])

    return ", ".join(asyncio.run(go(h)) for h in headers)


def s9():
    """Names that resolve to this machine and are not its own."""
    return knocked(
        {"host": "evil.invalid"},
        {"host": "evil.invalid:7860"},
        {"host": "127.0.0.1.evil.invalid:7860"},
        {"host": "127.0.0.1@evil.invalid"},
        {"host": ""},
        {"host": "localhost:7860"},
        {"host": "127.0.0.1:7860"},
    )


def s9_origin():
    """Another page that asks this studio."""
    host = "127.0.0.1:7860"
    return knocked(
        {"host": host, "origin": "http://evil.invalid"},
        {"host": host, "origin": "null"},
        {"host": host, "origin": "http://127.0.0.1:9999"},
        {"host": host, "origin": f"http://{host}"},
        {"host": host},
    )


SECRET = "4242 4242 4242 4242"


def s10(folder):
    """Somebody asks with a secret, well and badly; everything that the server writes is read."""
    out = io.StringIO()
    with (
        contextlib.redirect_stderr(out),
        contextlib.redirect_stdout(out),
        studio(folder, password="long enough") as (address, household),
        httpx.Client() as client,
    ):
        form = {"username": "vtool", "password": "long enough"}
        client.post(f"{address}login", data=form)
        (path,) = uploaded(address, client, small_picture()).json()
        picture = {"path": path, "meta": {"_type": "gradio.FileData"}}
        config = client.get(f"{address}config").json()
        ask = next(d["id"] for d in config["dependencies"] if d.get("api_name") == "ask")
        for n, model in enumerate(("script", SECRET)):
            data = [picture, SECRET, model, [], 0, 0]
            body = {"data": data, "fn_index": ask, "session_hash": f"s{n}"}
            client.post(f"{address}gradio_api/queue/join", json=body)
            listen(address, client, f"s{n}")
        print(household.options)
    told = out.getvalue()
    leaks = [w for w in (SECRET, "long enough", "iVBOR", "data:image") if w in told]
    return "nothing told" if not leaks else f"told: {leaks}"


def listen(address, client, hash_):
    """Read what comes until it is over."""
    told = f"{address}gradio_api/queue/data?session_hash={hash_}"
    with client.stream("GET", told, timeout=20) as lines:
        for line in lines.iter_lines():
            if line.startswith("data:") and json.loads(line[5:])["msg"] == "process_completed":
                return


def s10_fetch(folder):
    """An address instead of a file: the studio asks nobody for it."""
    asked = []

    async def fetch(url):
        asked.append(url)
        raise RuntimeError("asked")

    from gradio import processing_utils

    with (
        mock.patch.object(processing_utils, "async_ssrf_protected_get", fetch),
        studio(folder) as (address, _),
        httpx.Client() as client,
    ):
        answer = asked_of(address, client, "s", BEACON)
        if answer.status_code == 200:
            listen(address, client, "s")
    return "asked" if asked else "not asked"


async def fetching(url, cache_dir):
    """Gets whatever a visitor names."""
    from gradio import processing_utils

    return await processing_utils.async_ssrf_protected_get(url)


def everything(error):
    """Writes the whole error into the log."""
    return repr(error)
