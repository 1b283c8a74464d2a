"""Group N of the fault catalogue: network and paths. Servers are on the loopback alone."""

import asyncio
import contextlib
import gzip
import json
import os
import time
from unittest import mock

import numpy as np
from PIL import Image as PILImage
from small_server import Server, always, dripping, ok, onward
from vtool.vision_tools.retrieve import retrieve

from vtool import data as task_files
from vtool import fetch as fetching
from vtool import fetch_http
from vtool.dialects.hermes import Hermes
from vtool.errors import DataError, MediaError
from vtool.fetch import FetchError, FetchPolicy
from vtool.media import Image
from vtool.message import ToolCall
from vtool.store import Store
from vtool.toolbox import Toolbox

PUBLIC = "93.184.216.34"


def allowing(*servers, **more):
    return FetchPolicy(enabled=True, allow_hosts=tuple(s.at for s in servers), **more)


def fetched(url, policy=None, **more):
    """`refused` and why, or what came."""
    try:
        return fetching.fetch(url, policy or FetchPolicy(enabled=True, seconds=5), **more).decode()[
            :40
        ]
    except FetchError as err:
        return f"refused: {err}"


@contextlib.contextmanager
def no_dialling():
    """Nothing leaves: the addresses that would be dialled are kept."""
    dialled = []

    def dial(addresses, port, clock):
        dialled.extend((a, port) for a in addresses)
        raise FetchError("dialled")

    with mock.patch.object(fetch_http, "dial", dial):
        yield dialled


def all_refused(urls, why, **more):
    with no_dialling():
        said = {u: fetched(u, **more) for u in urls}
    wrong = {u: s for u, s in said.items() if why not in s}
    return f"{len(said)} refused" if not wrong else str(wrong)


def n1():
    urls = (
        "file:///etc/passwd",
        "ftp://example.com/a",
        "gopher://example.com/",
        "data:image/png;base64,AAAA",
        "//example.com/a",
        "/etc/passwd",
        "jar:http://example.com!/",
    )
    return all_refused(urls, "expected an address of")


def n1_off():
    with Server(always(ok())) as server:
        policy = FetchPolicy(allow_hosts=(server.at,))
        said = fetched(f"http://{server.at}/", policy)
        return "off by default" if "off" in said and not server.asked else said


def n1_data():
    """A `data:` address is a picture in text: bounded before it is decoded."""
    try:
        Image.decode_text("data:image/png;base64," + "A" * 64_000_004)
    except MediaError as err:
        return "too big" if "characters" in str(err) else str(err)
    return "decoded"


PRIVATE = (
    "127.0.0.1",
    "127.8.8.8",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "0.0.0.0",
    "224.0.0.1",
    "255.255.255.255",
    "[::]",
    "[::1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::7f00:1]",
    "[fe80::1]",
    "[fd00:ec2::254]",
    "[fec0::1]",
    "[64:ff9b::7f00:1]",
    "[2002:7f00:1::]",
    "[ff02::1]",
    "localhost",
)


def n2():
    return all_refused([f"http://{h}/" for h in PRIVATE], "public addresses only")


def n2_spellings():
    hosts = ("2130706433", "0x7f000001", "0177.0.0.1", "127.1", "017700000001", "0x7f.0.0.1")
    hosts += ("127.0.0.1.0x1", "1.2.3.4.5", "[::1%25lo]", "")
    return all_refused([f"http://{h}/" for h in hosts], "no plain host")


def n2_mixed():
    """One private answer among public ones refuses the host."""
    answers = [PUBLIC, "10.0.0.1", "2606:2800:220:1::1"]
    return all_refused(
        ["http://mixed.example/"], "public addresses only", resolver=lambda h, p: answers
    )


def n3():
    with Server(always(ok(b"secret"))) as inner, Server(always(b"")) as outer:
        outer._answer = always(onward(f"http://{inner.at}/"))
        said = fetched(f"http://{outer.at}/", allowing(outer, ports=(inner.port,)))
        return "hop refused" if "public" in said and not inner.asked else said


def n3_port():
    with Server(always(onward("http://other.example:8022/"))) as server, no_dialling() as dialled:
        with mock.patch.object(fetch_http, "dial", real_dial_for(server, dialled)):
            said = fetched(f"http://{server.at}/", allowing(server), resolver=names(server))
        return "port refused" if "port 8022" in said and not dialled else said


def real_dial_for(server, dialled):
    real = DIAL

    def dial(addresses, port, clock):
        if port == server.port:
            return real(addresses, port, clock)
        dialled.append(port)
        raise FetchError("dialled")

    return dial


DIAL = fetch_http.dial


def names(server):
    return lambda host, port: ["127.0.0.1"] if port == server.port else [PUBLIC]


def n3_hops():
    with Server(always(*[onward("/again")] * 11, ok())) as server:
        said = fetched(f"http://{server.at}/", allowing(server, max_redirects=10))
        return f"{said.split(': ')[-1]} ({len(server.asked)} asked)"


def n3_downgrade():
    """From https to http: refused, with the name told to the handshake and to the server."""
    asked = []

    class Plain:
        def wrap_socket(self, sock, server_hostname):
            asked.append(server_hostname)
            return sock

    with Server(always(onward("http://site.example/"), ok())) as server:
        policy = FetchPolicy(enabled=True, allow_hosts=(f"site.example:{server.port}",))
        said = fetched(
            f"https://site.example:{server.port}/",
            policy,
            context=Plain(),
            resolver=lambda h, p: ["127.0.0.1"] if p == server.port else [],
        )
        right = asked == ["site.example"] and "Host: site.example:" in server.asked[0]
        return said if right else f"{asked} {server.asked}"


def n4():
    """The address that was checked is dialled; a later answer is checked anew."""
    answers = [[PUBLIC], ["127.0.0.1"]]
    with no_dialling() as dialled:
        said = [
            fetched("http://moving.example/", resolver=lambda h, p: answers.pop(0))
            for _ in range(2)
        ]
    once = dialled == [(PUBLIC, 80)] and not answers
    return "dialled what was checked" if once and "public" in said[1] else f"{dialled} {said}"


def n5_slow():
    with Server(dripping(b"x", 30, 0.05)) as server:
        start = time.monotonic()
        said = fetched(f"http://{server.at}/", allowing(server, seconds=0.4))
        return said if time.monotonic() - start < 1.2 else "late"


def n5_endless():
    with Server(dripping(b"x" * 100_000, 30, 0)) as server:
        return fetched(f"http://{server.at}/", allowing(server, max_bytes=500_000))


def n5_gzip():
    bomb = gzip.compress(bytes(20_000_000))
    with Server(always(ok(bomb, Content_Encoding="gzip"))) as server:
        return fetched(f"http://{server.at}/", allowing(server, max_bytes=1_000_000))


def n5_cut():
    """Half a body is no body."""
    with Server(always(ok(b"half", Content_Length=8))) as server:
        return fetched(f"http://{server.at}/", allowing(server))


def n6(folder):
    """Rows name files below their folder, however it is said."""
    secret = folder / "secret.png"
    PILImage.fromarray(np.zeros((4, 4, 3), np.uint8)).save(secret)
    root = folder / "root"
    root.mkdir()
    (root / "link.png").symlink_to(secret)
    (root / "up").symlink_to(folder)
    names = ("../secret.png", str(secret), "link.png", "up/secret.png", "./../root/../secret.png")
    refused = 0
    for name in names:
        row = {"images": [name], "messages": [{"role": "user", "content": "?"}], "answer": "1"}
        (root / "t.jsonl").write_text(json.dumps(row))
        try:
            task_files.load_tasks(root / "t.jsonl")
        except DataError as err:
            refused += "leaves it" in str(err)
    return f"{refused} of {len(names)} refused"


def n7():
    urls = ("http://user@example.com/", "http://a:b@example.com/", "http://@example.com/")
    more = ("http://example.com\\@10.0.0.1/", "http://exa mple.com/", "http://example.com/\r\nX: y")
    users = all_refused(urls, "names a user", resolver=lambda h, p: [PUBLIC])
    blanks = all_refused(more, "blanks", resolver=lambda h, p: [PUBLIC])
    return f"{users}, {blanks}"


def n7_unicode():
    asked = []

    def resolver(host, port):
        asked.append(host)
        return ["10.0.0.1"]

    with no_dialling():
        for host in ("bücher.example", "\uff11\uff12\uff17.0.0.1", "EXAMPLE.com."):
            fetched(f"http://{host}/", resolver=resolver)
    return " ".join(asked)


def n8():
    """The environment's proxies are nobody's wish; the policy's is, and gets the address."""
    with Server(always(ok(b"proxied"))) as proxy, Server(always(ok(b"direct"))) as server:
        found = dict.fromkeys(("http_proxy", "HTTP_PROXY", "ALL_PROXY"), f"http://{proxy.at}")
        with mock.patch.dict(os.environ, found):
            said = [fetched(f"http://{server.at}/", allowing(server))]
        proxy._answer = through()
        url = f"http://site.example:{server.port}/"
        policy = FetchPolicy(
            enabled=True, allow_hosts=(f"site.example:{server.port}",), proxy=proxy.at
        )
        said.append(fetched(url, policy, resolver=lambda h, p: ["127.0.0.1"]))
        first = proxy.asked[0].split(" HTTP")[0].replace(str(server.port), "port")
        return f"{', '.join(said)} by {first}"


def through():
    """A proxy that says yes and then plays the server itself."""

    def answer(request, connection):
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        connection.recv(65536)
        connection.sendall(ok(b"by way of the proxy"))

    return answer


def n6_library(folder):
    """A knowledge folder gives nothing that lies outside it, however it is named."""
    (folder / "secret.txt").write_text("swordfish")
    root = folder / "root"
    root.mkdir()
    (root / "link.txt").symlink_to(folder / "secret.txt")
    os.mkfifo(root / "pipe.txt")
    (root / "list.json").write_text(json.dumps({"../secret.png": "swordfish"}))
    call = ToolCall("retrieve", {"query": "swordfish"})
    toolbox = Toolbox([retrieve.set(folder=str(root))])
    return asyncio.run(toolbox.run([call], Store(), Hermes(), lambda handle: None))[0].text


def environment_proxy(policy):
    """What most http libraries do."""
    return os.environ.get("http_proxy", policy.proxy or "").removeprefix("http://") or None
