"""Prefixes and pictures: found by content, verified, within their budget."""

import dataclasses

import numpy as np
import pytest
import torch
from engine_talk import Talk, gap, serve
from hypothesis import given
from hypothesis import strategies as st
from tiny_vlm import shared

from vtool.engines import prefix_cache
from vtool.engines.base import Picture, Prompt
from vtool.engines.decode import close_up
from vtool.engines.hf import HFEngine
from vtool.engines.kv import KVBuffer
from vtool.engines.prefix_cache import PrefixCache
from vtool.engines.vision_cache import VisionCache
from vtool.record import Run

GRID = (1, 2, 2)


def prompt(ids, boundaries=(), digests=()):
    """`digests`: (start, digest) of pictures of one token."""
    pictures = tuple(Picture(Run(at, 1, GRID), name, None) for at, name in digests)
    return Prompt(np.array(ids, dtype=np.int32), pictures, tuple(boundaries))


def kv(n, value=1.0):
    return torch.full((2, 2, 1, n, 4), value)


SIZE = kv(1).nbytes


def remember(cache, what, end=None, value=1.0):
    chain = cache.find(what)
    start = chain[-1].end if chain else 0
    end = end or len(what.ids)
    cache.add(what, chain, end, kv(end - start, value), lambda count: count)


def known(cache, what):
    chain = cache.find(what)
    assert [n.start for n in chain] == [0, *(n.end for n in chain)][: len(chain)]
    return chain[-1].end if chain else 0


def test_a_continued_prompt_finds_what_it_shares():
    cache = PrefixCache(1 << 20)
    remember(cache, prompt(range(20), [20]))
    remember(cache, prompt(range(24), [20]))  # a completion's tokens, its last one never read
    assert known(cache, prompt(range(40), [20, 25, 40])) == 24
    assert known(cache, prompt([*range(20), 99, *range(40)], [20, 25])) == 20
    assert known(cache, prompt([99, *range(40)], [20, 25])) == 0


def test_a_prefix_is_found_whatever_boundaries_the_asker_has():
    cache = PrefixCache(1 << 20)
    remember(cache, prompt(range(20)))
    assert known(cache, prompt(range(20))) == 20
    assert known(cache, prompt(range(30), [7, 25])) == 20
    assert known(cache, prompt(range(19))) == 0


def test_a_node_knows_the_position_after_it():
    vlm = shared("qwen3_vl")
    engine = HFEngine(vlm)
    talk = Talk(vlm).say(0, 18, [(64, 96, 1)], 3).say(1, 20, [(96, 32, 2)], 2).say(2, 5)
    serve(engine, [talk])
    blocks = [vlm.family.block(p.run.start, p.run.grid) for p in talk.pictures]
    whole = vlm.family.positions(len(talk.ids), blocks)
    chain = engine._core.prefixes.find(talk.prompt)
    assert len(chain) > 2
    assert [n.after for n in chain] == [whole[0, n.end] for n in chain]


def test_nodes_end_where_segments_end():
    cache = PrefixCache(1 << 20)
    remember(cache, prompt(range(60), [3, 20, 40, 60]))
    assert len(cache) == 3
    assert known(cache, prompt([*range(40), 99, 98], [20, 40, 42])) == 40
    assert known(cache, prompt([*range(20), 99, 98], [20, 22])) == 20
    assert known(cache, prompt([*range(3), 99, 98], [3, 5])) == 0  # too short to be worth a node


def test_pictures_and_versions_are_part_of_a_prefix():
    cache = PrefixCache(1 << 20, version=1)
    shown = prompt(range(20), [20], [(4, "a")])
    remember(cache, shown)
    assert known(cache, prompt(range(30), [20], [(4, "a")])) == 20
    assert known(cache, prompt(range(30), [20], [(4, "b")])) == 0
    assert known(cache, prompt(range(30), [20], [(5, "a")])) == 0
    assert known(cache, prompt(range(30), [20])) == 0
    assert known(cache, prompt(range(30), [20], [(4, "a"), (25, "c")])) == 20
    cache.clear(version=2)
    assert (len(cache), cache.bytes, known(cache, shown)) == (0, 0, 0)


def test_a_hash_that_lies_is_not_believed(monkeypatch):
    """With all keys equal, a wrong node is found; comparing tokens refuses it."""
    cache = PrefixCache(1 << 20)
    monkeypatch.setattr(prefix_cache, "_key", lambda parent, ids, marks: b"always")
    remember(cache, prompt(range(20), [20]))
    assert known(cache, prompt(range(20), [20])) == 20
    assert known(cache, prompt(range(50, 70), [20])) == 0
    monkeypatch.setattr(prefix_cache, "same", lambda *_: True)
    assert cache.find(prompt(range(50, 70), [20]))[:1] != []


def test_the_least_recently_used_goes_first_and_leaves_before_parents():
    cache = PrefixCache(100 * SIZE)
    trunk, left = prompt(range(40), [40]), prompt(range(70), [40, 70])
    right = prompt([*range(40), *range(200, 230)], [40, 70])
    for what in (trunk, left, right):
        remember(cache, what)
    assert cache.bytes == 100 * SIZE
    known(cache, left)
    remember(cache, prompt(range(300, 310), [10]))
    assert known(cache, right) == 40  # its leaf went, the shared trunk stayed
    assert known(cache, left) == 70
    remember(cache, prompt(range(400, 499), [99]))
    assert known(cache, trunk) == 0
    assert cache.bytes <= cache.max_bytes


def test_an_old_leaf_goes_before_its_parent():
    cache = PrefixCache(100 * SIZE)
    remember(cache, prompt(range(40), [40]))
    leaf = prompt(range(70), [40, 70])
    remember(cache, leaf)
    remember(cache, prompt(range(300, 340), [40]))
    assert known(cache, leaf) == 40


@pytest.mark.parametrize("budget", [0, 5])
def test_what_is_larger_than_the_budget_is_not_kept(budget):
    cache = PrefixCache(budget * SIZE)
    remember(cache, prompt(range(20), [20]))
    assert (len(cache), cache.bytes) == (0, 0)


def test_nothing_is_kept_below_a_prefix_that_went():
    cache = PrefixCache(30 * SIZE)
    what = prompt(range(20), [20])
    remember(cache, what)
    chain = cache.find(what)
    remember(cache, prompt(range(100, 130), [30]))
    cache.add(prompt(range(28), [20, 28]), chain, 28, kv(8), lambda count: count)
    assert len(cache) == 1
    assert cache.bytes == 30 * SIZE


@pytest.mark.parametrize("budget", [0, 2_000, 30_000, 1 << 30])
def test_any_budget_gives_the_same_log_probs(budget):
    vlm = shared("qwen3_vl")
    engine = HFEngine(vlm, cache_bytes=budget, vision_bytes=budget, prefill_tokens=40)
    talks = [Talk(vlm, (n,)).say(n, 4 + 9 * n, [(64, 32, n % 2)], 5) for n in range(4)]
    for turn in range(3):
        serve(engine, talks)
        for talk in talks:
            talk.say(turn, 3, [(32, 32, turn)])
    assert gap(vlm, talks) < 1e-4
    assert engine._core.prefixes.bytes <= budget
    assert engine._core.pictures.bytes <= budget


def test_a_picture_is_encoded_once_until_the_weights_change():
    vlm = shared("qwen3_vl")
    talk = Talk(vlm).say(0, 2, [(64, 64, 1), (32, 32, 2), (64, 64, 1)])
    cache = VisionCache(1 << 20)
    features, made = cache.encode(vlm, talk.pictures)
    assert made == sum(p.run.length for p in talk.pictures[:2])
    again, none = cache.encode(vlm, talk.pictures[::-1])
    assert none == 0
    assert all(again[d] is features[d] for d in features)
    cache.clear()
    assert cache.encode(vlm, talk.pictures)[1] == made


def test_a_small_budget_keeps_the_latest_picture():
    vlm = shared("qwen3_vl")
    talk = Talk(vlm).say(0, 2, [(32, 32, n) for n in range(3)])
    one = VisionCache(1 << 20)
    one.encode(vlm, talk.pictures[:1])
    cache = VisionCache(one.bytes)
    for picture in talk.pictures:
        cache.encode(vlm, [picture])
    assert len(cache) == 1
    assert cache.encode(vlm, talk.pictures[2:])[1] == 0
    assert cache.encode(vlm, talk.pictures[:1])[1] > 0


def test_a_buffer_grows_and_keeps_what_it_holds():
    buffer = KVBuffer.empty((2, 1, 4), rows=3, columns=2, dtype=torch.float32, device="cpu")
    chunk = torch.arange(24.0).view(3, 1, 2, 4)
    for layer in range(2):
        keys, _ = buffer.update(chunk + layer, -chunk, layer)
        assert torch.equal(keys, chunk + layer)
    buffer.advance(2)
    buffer.reserve(3)
    assert buffer.columns >= 3
    assert torch.equal(buffer.read(1, 0, 2)[1, 0], chunk[1] + 1)
    assert not buffer.data[:, :, :, :, 2:].any()
    buffer.move([(2, 0)], rows=2)
    assert torch.equal(buffer.data[0, 1, 0, :, :2], -chunk[2])
    assert torch.equal(buffer.data[0, 1, 1, :, :2], -chunk[1])
    assert buffer.data.shape[2] == 2


@given(st.sets(st.integers(0, 40), min_size=1))
def test_closing_up_moves_no_more_than_it_must(active):
    rows = sorted(active)
    order, moves = close_up(rows)
    assert sorted(order) == rows
    place = list(range(41))
    for source, target in moves:
        assert source >= len(rows) > target
        place[target] = source
    assert place[: len(rows)] == order


def test_a_repeated_digest_at_two_places_is_two_marks():
    vlm = shared("qwen3_vl")
    engine = HFEngine(vlm)
    twice = Talk(vlm, (0,)).say(0, 18, [(32, 32, 1), (32, 32, 1)], 3)
    serve(engine, [twice])
    once = twice.copy(1)
    swapped = [once.pictures[0], dataclasses.replace(once.pictures[1], digest="other")]
    once.pictures = swapped
    once.ids, once.drawn = once.ids[: once.boundaries[0]], []
    once.boundaries = once.boundaries[:1]
    before = engine.counters.cached_tokens
    serve(engine, [once])
    assert engine.counters.cached_tokens == before
