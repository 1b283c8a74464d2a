"""Fetching over http(s), for those who switch it on. Off by default, everywhere.

One fetch has one deadline for everything (names, connecting, handshake, every hop and byte), a
cap on bytes as sent and as unpacked, and dials the very address that was checked: a name is
resolved once a hop, so that a second answer cannot lead elsewhere. Each redirect is checked like
a first address. Proxies of the process's environment are not used.
"""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from urllib.parse import urljoin, urlsplit

from vtool.fetch_http import Clock, get
from vtool.media import Image
from vtool.public_address import (
    FetchError,
    Resolver,
    Target,
    check_public,
    parse_url,
    resolve,
    system_resolver,
)

__all__ = ["FetchError", "FetchPolicy", "fetch", "fetch_image"]


@dataclass(frozen=True, slots=True)
class FetchPolicy:
    """What may be fetched.

    Args:
        enabled: Whether anything may.
        only_hosts: If any are named, no other host is fetched from.
        allow_hosts: ``host:port`` that people trust although its address is not public, such as
            a server of their own network; every other host must be public.
        ports: Ports that other hosts may name.
        max_bytes: Of a body, as sent and as unpacked.
        seconds: For everything together.
        max_redirects: Hops after the first address.
        proxy: ``host:port`` of a proxy that takes CONNECT; the one way by which one is used.
    """

    enabled: bool = False
    only_hosts: tuple[str, ...] = ()
    allow_hosts: tuple[str, ...] = ()
    ports: tuple[int, ...] = (80, 443)
    max_bytes: int = 20_000_000
    seconds: float = 20.0
    max_redirects: int = 5
    proxy: str | None = None


def fetch(
    url: str,
    policy: FetchPolicy,
    *,
    resolver: Resolver = system_resolver,
    context: ssl.SSLContext | None = None,
) -> bytes:
    """The body behind an address.

    Args:
        url: Of http or https.
        policy: What may be fetched.
        resolver: From a host to its addresses.
        context: For https; verifies certificates and names by default.

    Raises:
        FetchError: Not allowed, not reachable, too slow, too large, or no success.
    """
    check_enabled(policy)
    clock = Clock(policy.seconds)
    for hop in count():
        check_hops(hop, policy)
        target = parse_url(url)
        addresses = admit(target, policy, resolver, clock)
        try:
            body, onward = get(
                target,
                addresses,
                clock,
                max_bytes=policy.max_bytes,
                proxy=chosen_proxy(policy),
                context=context,
            )
        except FetchError:
            raise
        except TimeoutError as err:
            raise FetchError("deadline passed") from err
        except (OSError, http.client.HTTPException, ValueError) as err:
            clock.left()
            raise FetchError("server could not be reached or broke off") from err
        if onward is None:
            return body
        check_downgrade(target.scheme, onward)
        url = urljoin(f"{target.scheme}://{target.authority}{target.path}", onward)
    raise AssertionError("unreachable")


def fetch_image(url: str, policy: FetchPolicy, *, resolver: Resolver = system_resolver) -> Image:
    """The picture behind an address, decoded as strictly as a file.

    Raises:
        FetchError: It cannot be fetched.
        MediaError: It is no picture that is read.
    """
    return Image.decode(fetch(url, policy, resolver=resolver))


def check_enabled(policy: FetchPolicy) -> None:
    """Nothing is fetched until somebody says so.

    Raises:
        FetchError: Nobody did.
    """
    if not policy.enabled:
        raise FetchError("fetching is off: it needs a policy with enabled=True")


def chosen_proxy(policy: FetchPolicy) -> str | None:
    """The policy's proxy; those of the process's environment are nobody's wish."""
    return policy.proxy


def admit(target: Target, policy: FetchPolicy, resolver: Resolver, clock: Clock) -> Sequence[str]:
    """The addresses that may be dialled for a target: every hop passes here.

    Raises:
        FetchError: Host, port or address is not allowed.
    """
    if policy.only_hosts and target.host not in policy.only_hosts:
        raise FetchError("host is not among those allowed")
    trusted = f"{target.host}:{target.port}" in policy.allow_hosts
    if not trusted:
        check_port(target.port, policy)
    addresses = resolve(resolver, target.host, target.port, clock.left())
    if not trusted:
        check_public(addresses)
    return addresses


def check_hops(hop: int, policy: FetchPolicy) -> None:
    """Only so many redirects.

    Raises:
        FetchError: One more.
    """
    if hop > policy.max_redirects:
        raise FetchError(f"more than {policy.max_redirects} redirects")


def check_port(port: int, policy: FetchPolicy) -> None:
    """Only ports on which the web is served.

    Raises:
        FetchError: Another one.
    """
    if port not in policy.ports:
        raise FetchError(f"port {port} is not among those allowed")


def check_downgrade(scheme: str, onward: str) -> None:
    """What began encrypted stays so.

    Raises:
        FetchError: A redirect from https to another scheme.
    """
    if scheme == "https" and urlsplit(onward).scheme not in ("", "https"):
        raise FetchError("redirect leaves https")
