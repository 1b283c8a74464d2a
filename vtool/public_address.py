"""Which addresses of the internet may be dialled: the ones that everybody can reach.

A host is refused if any of its addresses is loopback, private, link-local (cloud metadata
services), unspecified, reserved, multicast, or an IPv6 wrapping of such a one.
"""

from __future__ import annotations

import ipaddress
import re
import socket
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias
from urllib.parse import quote, urlsplit

from vtool.errors import VToolError

SCHEMES = ("https", "http")
_PORTS = {"https": 443, "http": 80}
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)\Z")
_NUMERIC = re.compile(r"(0x[0-9a-f]*|[0-9]+)\Z")
_WRAPPED = tuple(ipaddress.ip_network(n) for n in ("2002::/16", "2001::/32"))
"""Ranges within unicast whose addresses stand for IPv4 ones (6to4, Teredo)."""
_UNICAST = ipaddress.ip_network("2000::/3")
"""All IPv6 addresses that are handed out; mapped, NAT64 and local ones lie outside."""
_UNSAFE = re.compile(r"[\x00-\x20\x7f\\]")

Resolver: TypeAlias = Callable[[str, int], Sequence[str]]
"""From host and port to numeric addresses."""


class FetchError(VToolError, OSError):
    """An address that may not be fetched, or could not be. The message names no address."""


@dataclass(frozen=True, slots=True)
class Target:
    """A checked address of the web, in parts."""

    scheme: str
    host: str
    """ASCII, lower case, without brackets."""
    port: int
    path: str
    """With its query, never empty."""

    @property
    def authority(self) -> str:
        """What the `Host` header says."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS.get(self.scheme) else f"{host}:{self.port}"


def parse_url(url: str) -> Target:
    """Take an address apart.

    Raises:
        FetchError: No http(s), names a user, holds blanks or control characters, or has no
            plain host.
    """
    if len(url) > 8192 or _UNSAFE.search(url):
        raise FetchError("address holds blanks, control characters or backslashes, or is too long")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as err:
        raise FetchError("address cannot be read") from err
    check_scheme(parts.scheme)
    check_no_user(parts.netloc)
    host = plain_host(parts.hostname or "")
    path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=-._~")
    query = quote(parts.query, safe="/?%:@!$&'()*+,;=-._~[]|")
    return Target(
        parts.scheme,
        host,
        _PORTS.get(parts.scheme, 0) if port is None else port,
        f"{path}?{query}" if query else path,
    )


def check_scheme(scheme: str) -> None:
    """Only http and https.

    Raises:
        FetchError: Another one.
    """
    if scheme not in SCHEMES:
        raise FetchError(f"expected an address of {' or '.join(SCHEMES)}, got {scheme[:20]!r}")


def check_no_user(authority: str) -> None:
    """No `user@host`: such addresses are made to be misread.

    Raises:
        FetchError: There is one.
    """
    if "@" in authority:
        raise FetchError("address names a user before its host; expected the host alone")


def plain_host(host: str) -> str:
    """A host as the name system knows it: ASCII by IDNA, lower case, no trailing dot.

    Raises:
        FetchError: No host, or one that is no name and no plain address; a number in other
            forms than four decimal parts is no address here.
    """
    if ":" in host:
        try:
            return str(ipaddress.IPv6Address(host)) if "%" not in host else _no_host()
        except ValueError:
            _no_host()
    try:
        name = host.encode("idna").decode("ascii").lower().removesuffix(".")
    except UnicodeError:
        _no_host()
    labels = name.split(".")
    if len(name) > 253 or not all(_LABEL.match(label) for label in labels):
        _no_host()
    if is_number(labels[-1]):
        check_dotted(name)
    return name


def is_number(label: str) -> bool:
    """Whether the last part of a host makes it an address in some form, not a name."""
    return _NUMERIC.match(label) is not None


def check_dotted(name: str) -> None:
    """Only four decimal parts: no octal, hexadecimal or shortened spelling.

    Raises:
        FetchError: Another spelling.
    """
    try:
        ipaddress.IPv4Address(name)
    except ValueError:
        _no_host()


def _no_host() -> str:
    raise FetchError("address has no plain host name or address")


def is_public(address: str) -> bool:
    """Whether an address is one that everybody can reach."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    if ip.version == 6 and (ip not in _UNICAST or any(ip in net for net in _WRAPPED)):
        return False
    return ip.is_global and not ip.is_multicast and not ip.is_reserved and not ip.is_unspecified


def check_public(addresses: Sequence[str]) -> None:
    """All of a host's addresses must be public; one that is not spoils them all.

    Raises:
        FetchError: There is none, or one is not public.
    """
    if not addresses:
        raise FetchError("host has no address")
    if not all(is_public(a) for a in addresses):
        raise FetchError("host does not lead to public addresses only")


def system_resolver(host: str, port: int) -> Sequence[str]:
    """Addresses by the operating system.

    Raises:
        FetchError: It knows none.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as err:
        raise FetchError("host is not known") from err
    return list(dict.fromkeys(str(info[4][0]) for info in found))


def resolve(resolver: Resolver, host: str, port: int, seconds: float) -> Sequence[str]:
    """Ask a resolver, with a limit: the system's has none of its own.

    Raises:
        FetchError: No answer in time, or what the resolver raises.
    """
    got: list[Sequence[str] | Exception] = []

    def ask() -> None:
        try:
            got.append(resolver(host, port))
        except Exception as err:
            got.append(err)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(max(0.0, seconds))
    if not got:
        raise FetchError("deadline passed")
    if isinstance(got[0], FetchError):
        raise got[0]
    if isinstance(got[0], Exception):
        raise FetchError("host is not known") from got[0]
    return got[0]
