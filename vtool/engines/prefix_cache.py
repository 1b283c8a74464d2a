"""Keys and values of what was read before, found again by content.

A chain of nodes spells a prefix; each node is keyed by a hash of its parent's key, its ids and
the pictures among them, the first one by the weight version. What a hash finds is compared token
for token before it is used. Nodes end where segments end (a completion's one token early: its last
one was drawn, never read), so a prompt that goes on, forks or is shared by a group finds what it
shares with an earlier one.
"""

from __future__ import annotations

import hashlib
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from vtool.engines.base import Prompt
from vtool.record import Ids

Mark = tuple[int, int, tuple[int, int, int], str]
"""A picture in a node: first token in it, how many, grid, digest."""

_MIN_NODE = 16
"""Segments shorter than this join the next one: a node costs a copy per use."""


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """Keys and values of tokens [start, end) of every prompt that begins like this one."""

    key: bytes
    parent: bytes
    start: int
    ids: Ids
    marks: tuple[Mark, ...]
    kv: Tensor
    """(layers, 2, heads, end - start, head_dim)."""
    after: int
    """Position of the token that follows."""

    @property
    def end(self) -> int:
        """Token count of the prefix that this node completes."""
        return self.start + len(self.ids)

    @property
    def bytes(self) -> int:
        """What the tensor holds."""
        return int(self.kv.nbytes)


class PrefixCache:
    """Nodes within a budget; the least recently used go first, leaves before their parents.

    Args:
        max_bytes: Budget; 0 keeps nothing.
        version: Weights that the keys and values come from.
    """

    def __init__(self, max_bytes: int, version: int = 0) -> None:
        self.max_bytes = max_bytes
        self.bytes = 0
        self._nodes: OrderedDict[bytes, Node] = OrderedDict()
        self._ends: dict[bytes, Counter[int]] = {}
        """How many children of a node end where."""
        self._root = _root(version)

    def __len__(self) -> int:
        return len(self._nodes)

    def clear(self, version: int) -> None:
        """Forget everything; what comes now was made by these weights."""
        self._nodes.clear()
        self._ends.clear()
        self.bytes = 0
        self._root = _root(version)

    def find(self, prompt: Prompt) -> list[Node]:
        """The nodes that spell the longest known beginning of a prompt, first node first."""
        chain: list[Node] = []
        while node := self._next(prompt, chain[-1] if chain else None):
            chain.append(node)
        self._touch(chain)
        return chain

    def add(
        self,
        prompt: Prompt,
        chain: list[Node],
        end: int,
        kv: Tensor,
        after: Callable[[int], int],
    ) -> None:
        """Remember the tokens of ``prompt`` from the end of ``chain`` to ``end``.

        Args:
            prompt: What was read; its boundaries say where nodes end.
            chain: What `find` answered; extended in place by the new nodes.
            end: Token count up to which ``kv`` goes.
            kv: (layers, 2, heads, n, head_dim); copied where it is cut.
            after: Position of the token that follows the first so many tokens.
        """
        start = first = chain[-1].end if chain else 0
        for stop in _cuts(prompt, start, end):
            parent = chain[-1].key if chain else self._root
            ids, marks = prompt.ids[start:stop], _marks(prompt, start, stop)
            whole = stop - start == kv.shape[3]
            part = kv if whole else kv[:, :, :, start - first : stop - first].clone()
            key = _key(parent, ids, marks)
            node = Node(key, parent, start, ids, marks, part, after(stop))
            self._insert(node)
            chain.append(node)
            start = stop
        self._touch(chain)
        self._evict()

    def _next(self, prompt: Prompt, at: Node | None) -> Node | None:
        start, parent = (at.end, at.key) if at else (0, self._root)
        for end in sorted(self._ends.get(parent, ()), reverse=True):
            if end > len(prompt.ids):
                continue
            ids, marks = prompt.ids[start:end], _marks(prompt, start, end)
            node = self._nodes.get(_key(parent, ids, marks))
            if node is not None and same(node, parent, ids, marks):
                return node
        return None

    def _insert(self, node: Node) -> None:
        orphan = node.parent != self._root and node.parent not in self._nodes
        if node.bytes > self.max_bytes or orphan or node.key in self._nodes:
            return
        self._nodes[node.key] = node
        self._ends.setdefault(node.parent, Counter())[node.end] += 1
        self.bytes += node.bytes

    def _touch(self, chain: list[Node]) -> None:
        # Leaf first, root last: a parent is always younger than its children, hence outlives them.
        for node in reversed(chain):
            if node.key in self._nodes:
                self._nodes.move_to_end(node.key)

    def _evict(self) -> None:
        while self.bytes > self.max_bytes:
            _, node = self._nodes.popitem(last=False)
            self.bytes -= node.bytes
            ends = self._ends[node.parent]
            ends[node.end] -= 1
            if not ends[node.end]:
                del ends[node.end]
            if not ends:
                del self._ends[node.parent]


def same(node: Node, parent: bytes, ids: Ids, marks: tuple[Mark, ...]) -> bool:
    """Whether a node that a hash found is the one that was meant, token for token."""
    return node.parent == parent and node.marks == marks and np.array_equal(node.ids, ids)


def _root(version: int) -> bytes:
    return b"weights %d" % version


def _key(parent: bytes, ids: Ids, marks: tuple[Mark, ...]) -> bytes:
    body = hashlib.blake2b(parent, digest_size=16)
    body.update(np.ascontiguousarray(ids, dtype=np.int32).tobytes())
    body.update(repr(marks).encode())
    return body.digest()


def _marks(prompt: Prompt, start: int, end: int) -> tuple[Mark, ...]:
    """Pictures among tokens [start, end), counted from ``start``."""
    return tuple(
        (p.run.start - start, p.run.length, p.run.grid, p.digest)
        for p in prompt.pictures
        if p.run.start < end and p.run.start + p.run.length > start
    )


def _cuts(prompt: Prompt, start: int, end: int) -> list[int]:
    """Where to cut tokens [start, end) into nodes."""
    cuts, last = [], start
    for cut in sorted({b for b in prompt.boundaries if start < b < end}):
        if cut - last >= _MIN_NODE:
            cuts.append(cut)
            last = cut
    return [*cuts, end] if end > start else cuts
