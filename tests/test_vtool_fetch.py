"""Fetching for those who switch it on: what comes back, and what is refused (see faults.yaml)."""

import gzip
import io
import ipaddress
import ssl
from pathlib import Path

import numpy as np
import pytest
import yaml
from faults_n import allowing, fetched
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as PILImage
from small_server import Server, always, dripping, ok, onward

from vtool import fetch_http
from vtool.errors import MediaError
from vtool.fetch import FetchError, FetchPolicy, fetch, fetch_image
from vtool.public_address import is_public, parse_url, resolve


def test_nothing_is_fetched_by_default():
    assert not FetchPolicy().enabled
    with pytest.raises(FetchError, match="off"):
        fetch("http://example.com/", FetchPolicy())


def test_a_body_comes_whole_and_the_request_says_little():
    with Server(always(ok(b"a" * 100_000))) as server:
        assert fetch(f"http://{server.at}/x?q=1", allowing(server)) == b"a" * 100_000
        lines = server.asked[0].split("\r\n")
        assert lines[0] == "GET /x?q=1 HTTP/1.1"
        assert f"Host: {server.at}" in lines
        assert "Accept-Encoding: identity" in lines


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_packed_bodies_are_unpacked(coding):
    import zlib

    body = b"some words " * 999
    packed = gzip.compress(body) if coding == "gzip" else zlib.compress(body)
    with Server(always(ok(packed, Content_Encoding=coding))) as server:
        assert fetch(f"http://{server.at}/", allowing(server)) == body


@pytest.mark.parametrize(
    ("response", "said"),
    [
        (ok(b"x", Content_Encoding="br"), "not asked for"),
        (ok(b"no gzip", Content_Encoding="gzip"), "damaged"),
        (ok(gzip.compress(b"abc" * 99)[:-9], Content_Encoding="gzip"), "broke off"),
        (b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n", "answered 404"),
        (b"HTTP/1.1 302 On\r\nContent-Length: 0\r\n\r\n", "nowhere"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", "broke off"),
        (b"junk\r\n\r\n", "broke off"),
        (b"", "broke off"),
        (ok(b"", Content_Length=10**12), "larger than"),
        (b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 200 + b"\r\n", "broke off"),
    ],
    ids=range(10),
)
def test_servers_that_misbehave(response, said):
    with Server(always(response)) as server:
        assert said in fetched(f"http://{server.at}/", allowing(server))


def test_chunked_bodies_and_bodies_without_a_length():
    chunked = (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    )
    with Server(always(chunked)) as server:
        assert fetch(f"http://{server.at}/", allowing(server)) == b"abcde"
    with Server(dripping(b"ab", 3, 0)) as server:
        assert fetch(f"http://{server.at}/", allowing(server)) == b"ababab"


def test_redirects_are_followed_as_browsers_do():
    with Server(always(onward("../b?x=1"), onward("//" + "HOST/c"), ok(b"end"))) as server:
        server._answer = always(onward("../b?x=1"), onward(f"//{server.at}/c"), ok(b"end"))
        assert fetch(f"http://{server.at}/a/a", allowing(server)) == b"end"
        assert [a.split()[1] for a in server.asked] == ["/a/a", "/b?x=1", "/c"]


def test_only_named_hosts_where_any_are_named():
    with Server(always(ok())) as server:
        url = f"http://{server.at}/"
        assert "not among" in fetched(url, allowing(server, only_hosts=("example.com",)))
        assert fetched(url, allowing(server, only_hosts=("127.0.0.1",))) == "hello"


def test_the_next_address_is_dialled_where_the_first_is_dead():
    with Server(always(ok())) as server:
        policy = FetchPolicy(enabled=True, allow_hosts=(f"two.example:{server.port}",), seconds=5)
        url = f"http://two.example:{server.port}/"
        got = fetched(url, policy, resolver=lambda h, p: ["127.0.0.9", "127.0.0.1"])
        assert got == "hello"


def test_certificates_are_verified_unless_told_otherwise(monkeypatch):
    made = []
    real = ssl.create_default_context

    def spy():
        made.append(real())
        return made[-1]

    monkeypatch.setattr(fetch_http.ssl, "create_default_context", spy)
    with Server(always(b"no handshake")) as server:
        said = fetched(f"https://{server.at}/", allowing(server, seconds=2))
    assert said.startswith("refused")
    assert (made[0].verify_mode, made[0].check_hostname) == (ssl.CERT_REQUIRED, True)


def test_a_picture_is_decoded_as_strictly_as_a_file():
    out = io.BytesIO()
    PILImage.fromarray(np.full((6, 8, 3), 50, np.uint8)).save(out, "PNG")
    with Server(always(ok(out.getvalue()), ok(b"<html>"))) as server:
        url = f"http://{server.at}/a.png"
        assert fetch_image(url, allowing(server)).size == (8, 6)
        with pytest.raises(MediaError):
            fetch_image(url, allowing(server))


def test_a_resolver_that_hangs_ends_at_the_deadline():
    import threading

    never = threading.Event()
    with pytest.raises(FetchError, match="deadline"):
        resolve(lambda h, p: [str(never.wait(3))], "a.example", 80, 0.05)
    never.set()


@given(st.text(max_size=60))
def test_any_text_is_an_address_in_plain_ascii_or_refused(text):
    for url in (text, f"http://{text}", f"http://example.com/{text}"):
        try:
            target = parse_url(url)
        except FetchError:
            continue
        whole = target.host + target.path + target.authority
        assert whole.isascii()
        assert whole.isprintable()
        assert not set(target.host) & set(" @/?#\\")


@given(st.ip_addresses(v=4))
def test_mapped_addresses_are_never_public(ip):
    wrapped = [f"::ffff:{ip}", f"64:ff9b::{ip}", str(ipaddress.IPv6Address(int(ip)))]
    wrapped.append(str(ipaddress.IPv6Address((0x2002 << 112) | (int(ip) << 80))))
    assert not any(is_public(w) for w in wrapped)
    if ip.is_private or ip.is_loopback or ip.is_link_local or ip.is_multicast or ip.is_reserved:
        assert not is_public(str(ip))


@pytest.mark.parametrize("address", ["93.184.216.34", "1.1.1.1", "2606:2800:220:1::1"])
def test_public_ones_are(address):
    assert is_public(address)


def test_the_groups_of_network_and_pictures_are_complete():
    ids = {e["id"] for e in yaml.safe_load(Path(__file__).with_name("faults.yaml").read_text())}
    assert {f"N{i}" for i in range(1, 9)} | {f"I{i}" for i in range(1, 15)} <= ids
