"""Who waits, who is served together: synchronous waves, asynchronous ones, cancellation."""

import asyncio
import random
import threading
import time

import pytest
from engine_talk import Talk, gap
from tiny_vlm import build, shared

from vtool.engines.hf import HFEngine
from vtool.engines.waiting import Ticket, WaitingRoom
from vtool.scheduler import run_all


def spy(engine):
    """Keys of the rows of every wave, as they are served."""
    waves, serve = [], engine._wave

    def watched(batch):
        waves.append([ticket.request.key for ticket in batch])
        return serve(batch)

    engine._wave = watched
    return waves


def jobs(vlm, engine, turns, clock, talks):
    """Episodes that spend an unpredictable time between turns."""

    def job(number, count):
        async def play():
            talk = Talk(vlm, (number,)).say(number % 3, 10 + number % 3, [(32, 32, number % 3)])
            talks[number] = talk
            for turn in range(count):
                await asyncio.sleep(clock.random() * 0.01)
                await talk.ask(engine, max_tokens=3 + (number + turn) % 4)
                talk.say(turn, 4)
            return talk

        return play

    return [job(n, count) for n, count in enumerate(turns)]


TURNS = (3, 1, 2, 3, 1, 2)


def played(synchronous, seed, concurrency=0, **options):
    vlm = shared("qwen3_vl")
    engine = HFEngine(vlm, synchronous=synchronous, **options)
    waves, talks = spy(engine), {}
    todo = jobs(vlm, engine, TURNS, random.Random(seed), talks)
    asyncio.run(run_all(todo, engine=engine, concurrency=concurrency))
    return waves, talks


def test_synchronous_waves_are_a_function_of_keys_and_turns():
    waves, first = played(True, seed=1)
    assert waves == [
        [(n, turn) for n in range(len(TURNS)) if TURNS[n] > turn] for turn in range(max(TURNS))
    ]
    again, second = played(True, seed=2)
    assert again == waves
    for number in first:
        assert first[number].ids == second[number].ids
        assert first[number].drawn == second[number].drawn  # bit for bit
    assert gap(shared("qwen3_vl"), list(first.values())) < 1e-4


def test_synchronous_waves_with_fewer_workers_than_episodes():
    waves, _ = played(True, seed=1, concurrency=2)
    again, _ = played(True, seed=3, concurrency=2)
    assert again == waves
    assert all(len(w) <= 2 for w in waves)
    assert sum(map(len, waves)) == sum(TURNS)


def test_a_large_synchronous_batch_is_cut_in_order():
    waves, _ = played(True, seed=1, max_rows=4)
    assert waves[:2] == [[(0, 0), (1, 0), (2, 0), (3, 0)], [(4, 0), (5, 0)]]


def test_asynchronous_waves_take_who_is_there():
    waves, talks = played(False, seed=1)
    assert sorted(k for w in waves for k in w) == [
        (n, t) for n in range(len(TURNS)) for t in range(TURNS[n])
    ]
    vlm = shared("qwen3_vl")
    assert gap(vlm, list(talks.values())) < 1e-4
    _, calm = played(True, seed=1)
    assert [talks[n].ids for n in talks] == [calm[n].ids for n in talks]


def test_an_asynchronous_wave_waits_for_nobody():
    vlm = shared("qwen3_vl")
    engine = HFEngine(vlm, synchronous=False)
    with engine.participants(5):
        done = asyncio.run(asyncio.wait_for(Talk(vlm).say(1, 5).ask(engine), 5))
    assert len(done.ids)


def test_a_synchronous_wave_waits_until_the_last_one_leaves():
    vlm = shared("qwen3_vl")
    engine = HFEngine(vlm)
    waves = spy(engine)

    async def play():
        with engine.participants(3) as party:
            asked = [asyncio.create_task(Talk(vlm, (n,)).say(n, 5).ask(engine)) for n in range(2)]
            await asyncio.sleep(0.05)
            assert waves == []
            engine.leave()
            await asyncio.gather(*asked)
            assert party.count == 2

    asyncio.run(play())
    assert waves == [[(0, 0), (1, 0)]]


def test_whoever_splits_in_two_announces_one_more():
    vlm = shared("qwen3_vl")
    engine = HFEngine(vlm)
    waves = spy(engine)

    async def path(*key, delay=0.0):
        await asyncio.sleep(delay)
        await Talk(vlm, key).say(1, 5).ask(engine)

    async def split():
        with engine.participants(1) as more:
            await asyncio.gather(path(0, 0), path(0, 1, delay=0.05))
            more.leave()
        engine.leave()

    async def plain():
        await path(1, delay=0.02)
        engine.leave()

    async def play():
        with engine.participants(2):
            await asyncio.gather(split(), plain())

    asyncio.run(play())
    assert waves == [[(0, 0, 0), (0, 1, 0), (1, 0)]]


def test_participants_begin_with_empty_caches():
    vlm = shared("qwen3_vl")
    engine = HFEngine(vlm)

    async def once():
        with engine.participants(1):
            await Talk(vlm).say(1, 20, [(32, 32, 0)]).ask(engine)
            return engine.counters.cached_tokens

    assert asyncio.run(once()) == 0
    assert asyncio.run(once()) == 0


def slowly(vlm, seconds, started):
    """The model's head, taking its time."""
    head = type(vlm).head

    def slow(hidden):
        started.set()
        time.sleep(seconds)
        return head(vlm, hidden)

    return slow


@pytest.fixture
def slow_model(monkeypatch):
    vlm, started = shared("qwen3_vl"), threading.Event()
    monkeypatch.setattr(vlm, "head", slowly(vlm, 0.02, started), raising=False)
    return vlm, started


def test_a_cancelled_request_leaves_its_wave_and_harms_nobody(slow_model):
    vlm, started = slow_model
    engine = HFEngine(vlm)
    goes, stays = (Talk(vlm, (n,)).say(n, 9, [(32, 32, n)]) for n in range(2))

    async def play():
        tasks = [
            asyncio.create_task(goes.ask(engine, max_tokens=500)),
            asyncio.create_task(stays.ask(engine, max_tokens=8)),
        ]
        await asyncio.to_thread(started.wait)
        tasks[0].cancel()
        await asyncio.wait(tasks)
        return tasks

    cancelled, served = asyncio.run(play())
    assert cancelled.cancelled()
    assert len(served.result().ids) == 8
    engine.close()  # the wave has ended long before 500 tokens
    assert engine.counters.decode_steps < 100
    assert gap(vlm, [stays]) < 1e-4


def test_a_request_cancelled_while_it_waits_is_forgotten(slow_model):
    vlm, started = slow_model
    engine = HFEngine(vlm)
    waves = spy(engine)

    async def play():
        first = asyncio.create_task(Talk(vlm, (0,)).say(0, 9).ask(engine))
        await asyncio.to_thread(started.wait)
        second = asyncio.create_task(Talk(vlm, (1,)).say(1, 9).ask(engine))
        await asyncio.sleep(0)
        second.cancel()
        await first

    asyncio.run(play())
    assert waves == [[(0, 0)]]


def test_an_update_waits_for_the_wave_that_runs(monkeypatch):
    vlm, started = build("qwen3_vl"), threading.Event()
    old = {name: value.clone() for name, value in vlm.model.state_dict().items()}
    new = {name: value + 1 for name, value in old.items()}
    engine = HFEngine(vlm)
    talk = Talk(vlm).say(1, 9)
    monkeypatch.setattr(vlm, "head", slowly(vlm, 0.02, started), raising=False)

    async def play():
        task = asyncio.create_task(talk.ask(engine))
        await asyncio.to_thread(started.wait)
        engine.update(new.items(), version=1)
        return await task

    assert asyncio.run(play()).version == 0
    assert engine.version == 1
    engine.update(old.items(), version=2)
    assert gap(vlm, [talk]) < 1e-4


def test_an_engine_outlives_its_event_loop(slow_model):
    vlm, _ = slow_model
    engine = HFEngine(vlm)

    async def give_up():
        await asyncio.wait_for(Talk(vlm, (0,)).say(0, 9).ask(engine, max_tokens=500), 0.05)

    with pytest.raises(TimeoutError):
        asyncio.run(give_up())
    talk = Talk(vlm, (1,)).say(1, 9)
    asyncio.run(talk.ask(engine))
    assert gap(vlm, [talk]) < 1e-4


def ticket(*key):
    request = Talk(shared("qwen3_vl"), key).say(sum(key), 3).request()
    return Ticket(request, asyncio.new_event_loop().create_future())


def test_first_come_first_served():
    room = WaitingRoom(synchronous=False, max_rows=2)
    tickets = [ticket(n) for n in (3, 1, 2)]
    for one in tickets:
        room.add(one)
    assert room.take() == tickets[:2]
    assert room.take() == tickets[2:]
    assert room.take() == []


def test_equal_keys_are_ordered_by_what_they_say():
    orders = []
    for turn in (0, 1):
        room = WaitingRoom(synchronous=True, max_rows=9)
        one, other = ticket(0), ticket(0)
        object.__setattr__(other.request, "prompt", Talk(shared("qwen3_vl")).say(9, 4).prompt)
        for waiting in (one, other) if turn else (other, one):
            room.add(waiting)
        orders.append([t.request.prompt.ids.tolist() for t in room.take()])
    assert orders[0] == orders[1]


def test_a_room_can_be_cleared():
    room = WaitingRoom(synchronous=True, max_rows=1)
    tickets = [ticket(n) for n in (2, 1)]
    for one in tickets:
        room.add(one)
    assert [t.request.key[0] for t in room.take()] == [1]
    room.add(ticket(0))
    assert len(room.clear()) == 2
    assert not room.ready


def test_what_a_job_raises_comes_out_as_it_was():
    async def bad():
        raise KeyError("lost")

    with pytest.raises(KeyError, match="lost"):
        asyncio.run(run_all([bad, bad]))
