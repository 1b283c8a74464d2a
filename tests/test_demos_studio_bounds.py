"""What a visitor may keep and when Stop counts: bounds of the studio's bench, replay and queue."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("gradio")

from vtool.demos.addresses import Addresses
from vtool.demos.studio import replay as replay_module
from vtool.demos.studio import workbench
from vtool.demos.studio.app import serve
from vtool.demos.studio.guard import ASKED, HostGuard, asked_at
from vtool.demos.studio.leaderboard_tab import leaders
from vtool.demos.studio.options import Options
from vtool.demos.studio.replay import within
from vtool.demos.studio.session import Sessions

from vtool.errors import DataError
from vtool.media import Image
from vtool.record import Episode
from vtool.store import Store
from vtool.trace import TraceRecord


def noise(seed: int, size: int = 64) -> Image:
    return Image(np.random.default_rng(seed).integers(0, 255, (size, size, 3), np.uint8))


def test_stop_counts_for_what_still_waits():
    session = Sessions(60).of("somebody")
    asked = time.monotonic()
    session.check(asked)
    asyncio.run(session.stop())
    with pytest.raises(DataError, match="stopped before it began"):
        session.check(asked)
    session.check(time.monotonic() + 1e-3)  # what is asked afterwards begins


def test_a_stopped_tool_never_begins():
    session = Sessions(60).of("somebody")
    began = []

    async def tool() -> None:
        began.append(True)

    async def play() -> None:
        asked = time.monotonic()
        await session.stop()
        with pytest.raises(DataError, match="stopped before it began"):
            await session.run(tool(), asked)

    asyncio.run(play())
    assert not began


def test_the_guard_notes_when_a_question_came():
    seen = []

    async def app(scope, receive, send):
        seen.append(scope)

    scope = {"type": "http", "headers": [(b"host", b"localhost")]}
    before = time.monotonic()
    asyncio.run(HostGuard(app, frozenset({"localhost"}))(scope, None, None))
    noted = asked_at(SimpleNamespace(request=SimpleNamespace(scope=seen[0])))
    assert before <= noted == seen[0][ASKED] <= time.monotonic()


def test_the_bench_is_bounded_in_bytes(tmp_path, monkeypatch):
    path = tmp_path / "noise.png"
    path.write_bytes(noise(0).encode("PNG"))
    monkeypatch.setattr(workbench, "MOST_BYTES", 3 * 64 * 64 * 2)
    bench = workbench.Workbench()
    bench.open(path)
    bench.open(path)
    with pytest.raises(DataError, match="MiB of pictures: begin a fresh one"):
        bench.open(path)
    assert len(bench.store) == 2


def records(count: int) -> list[TraceRecord]:
    from vtool.record import Context

    made = []
    for n in range(count):
        store = Store()
        store.add(noise(n))
        episode = Episode(task_id=f"task-{n}", store=store)
        episode.contexts.append(Context(number=0, seat="policy", store=store))
        made.append(TraceRecord(episode, None, {}))
    return made


def test_replay_keeps_no_more_than_its_bytes(monkeypatch):
    monkeypatch.setattr(replay_module, "MOST_BYTES", 3 * 64 * 64 * 3)
    kept, more = within(records(5))
    assert [r.task_id for r in kept] == ["task-0", "task-1", "task-2"]
    assert more.startswith("the first 3 episodes")
    monkeypatch.undo()
    assert within(records(5))[1] == ""


def test_a_picture_is_encoded_once(monkeypatch):
    kept, image = Addresses(most=10**6), noise(1)
    first = kept.of(image, 768, 40_000)
    assert kept.of(Image(image.pixels.copy()), 768, 40_000) is first
    assert kept.of(image, 32, 40_000) != first


def test_addresses_are_bounded_in_bytes():
    kept = Addresses(most=40_000)
    for seed in range(8):
        kept.of(noise(seed), 768, 40_000)
    assert 0 < kept.held <= 40_000
    assert kept.held == sum(map(len, kept._kept.values()))


def test_an_impossible_accuracy_is_no_rank():
    total = {"accuracy": 3.0, "low": 2.0, "high": 4.0, "n": 5, "tool_rate": 1, "calls": 1}
    shown = str(leaders({"mine": {"name": "zoom", "total": total}}))
    assert "expected 0 &lt;= low &lt;= accuracy" in shown


def test_who_listens_everywhere_is_told_to_give_a_name(monkeypatch, tmp_path):
    from vtool.demos.studio import app

    told: list[str] = []
    monkeypatch.setattr(app, "build", lambda studio: (_ for _ in ()).throw(KeyboardInterrupt))
    for hosts in ((), ("box.example",)):
        options = replace(Options(), host="0.0.0.0", hosts=hosts, runs=tmp_path)
        with pytest.raises(KeyboardInterrupt):
            serve(options, told.append)
    assert sum("--name" in words for words in told) == 1
