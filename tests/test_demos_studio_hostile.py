"""What a hostile reader of the studio found: each stays found."""

import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from functools import partial

import httpx
import numpy as np
import pytest
from gradio_client import handle_file
from sample_episode import sample_records
from studio_visits import asked, client, facts, later, studio, until, words
from vtool.demos.studio.app import serve
from vtool.demos.studio.examples import picture_examples
from vtool.demos.studio.guard import check_origin
from vtool.demos.studio.options import Options
from vtool.demos.studio.pen import read_fields
from vtool.demos.studio.session import Sessions
from vtool.demos.studio.shelf import Shelf, unpack
from vtool.rl.prefer import answer_sample
from vtool.rl.recipe import load_recipe
from vtool.rl.regrow import regrow
from vtool.rl.train import train
from vtool.rl.tree_pairs import ranked_pairs

from vtool.errors import DataError, TraceError, UnknownName
from vtool.families.folder import family_of_folder
from vtool.message import Author
from vtool.pairs import load_renderer
from vtool.shipped import shipped
from vtool.trace import read_trace, write_trace

LOOK = {"name": "zoom", "arguments": {"image": 1, "box": [100, 100, 500, 500]}}


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    with studio(tmp_path_factory.mktemp("runs")) as found:
        yield found


@pytest.fixture
def visitor(here):
    one = client(here[0])
    yield one
    one._kill_heartbeat.set()


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    return picture_examples(tmp_path_factory.mktemp("examples"))[0]


@pytest.fixture
def mine(here, visitor, example):
    """Somebody who has asked, and the place where they are."""
    _, household = here
    before = set(household.sessions._all)
    asked(visitor, example.path, example.question)
    (name,) = set(household.sessions._all) - before
    return household.sessions._all[name].place("image")


def pen(visitor, calls="", answer="", thought=""):
    told = calls if isinstance(calls, str) else json.dumps(calls)
    return facts(visitor.predict(0, thought, told, answer, api_name="/go_on_image"))


def test_stop_in_compare_stops_both_sides(here, visitor, example):
    _, household = here
    given = (handle_file(str(example.path)), example.question, "slow", "slow", True, True)
    thread, found = later(lambda: visitor.predict(*given, api_name="/compare"))

    def left():
        places = [s.places.get("left") for s in household.sessions._all.values()]
        return next((p.attempt for p in places if p and p.attempt and p.attempt.going), None)

    until(left)
    began = time.monotonic()
    visitor.predict(api_name="/stop")
    thread.join(6)
    assert time.monotonic() - began < 6  # a turn of the other side would take eight seconds
    assert found[0][2]["left"]["stop"] == "cancelled"
    assert found[0][2]["right"] == {"stop": "cancelled"}
    assert "Stopped before it began" in words(found[0][1])


def test_stop_ends_a_question_that_waits_for_its_turn(tmp_path, example):
    with studio(tmp_path, at_once=1) as (address, household):
        first, second = client(address), client(address)
        given = (example.question, "slow", ["zoom"], 0, 0)

        def ask(who):
            file = handle_file(str(example.path))
            return later(lambda: who.predict(file, *given, api_name="/ask"))

        def plays(name):
            attempt = household.sessions.of(name).place("image").attempt
            return attempt is not None and attempt.going

        long, _ = ask(first)
        until(lambda: any(plays(n) for n in list(household.sessions._all)))
        waiting, found = ask(second)
        time.sleep(1.0)  # it lies in the queue: nothing tells when
        second.predict(api_name="/stop")
        first.predict(api_name="/stop")
        waiting.join(6)
        long.join(6)
        assert facts(found[0]) == {"answer": None, "steps": [], "error": "stopped before it began"}
        for one in (first, second):
            one._kill_heartbeat.set()


def test_nobody_asks_past_the_queue(here):
    for name in ("run_tool", "bring", "replay", "keep_trace_image", "compare"):
        said = httpx.post(f"{here[0]}gradio_api/run/{name}", json={"data": ["zoom", {}]})
        assert said.status_code == 404


def test_who_has_no_session_is_nobody_elses():
    sessions = Sessions(60.0)
    with pytest.raises(DataError, match="of a session"):
        sessions.of(None)
    assert len(sessions) == 0
    sessions.close()


def test_an_origin_that_is_no_address_is_foreign():
    assert not check_origin("http://[", "127.0.0.1:7860")
    assert check_origin("http://127.0.0.1:7860", "127.0.0.1:7860")


def test_every_answer_says_that_nothing_may_be_fetched_elsewhere(here):
    for path in ("", "config", "gradio_api/info"):
        policy = httpx.get(f"{here[0]}{path}").headers["content-security-policy"]
        assert "default-src 'self'" in policy
        assert "http:" not in policy
        assert "*" not in policy


def test_an_emptied_seed_is_zero(visitor, example):
    given = (handle_file(str(example.path)), example.question, "tiny/clean", ["zoom"], 0, None)
    assert facts(visitor.predict(*given, api_name="/ask"))["stop"] == "answered"


def test_what_one_visitor_asked_is_not_told_to_another(here, example):
    for _ in range(2):
        _, out = asked(client(here[0]), example.path, example.question)
        assert "the same call as before" not in words(out[0])


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e400"])
def test_a_number_that_is_none_is_refused_and_nothing_is_lost(visitor, mine, number):
    told = pen(visitor, json.dumps(LOOK).replace("500]", f"{number}]"))
    assert "line 1 of the calls is not JSON" in told["error"]
    assert len(mine.attempt.episode.contexts) == 1
    assert pen(visitor, LOOK)["paths"] == 2


def test_a_call_is_read_with_finite_numbers_only():
    with pytest.raises(DataError, match="finite numbers, got NaN"):
        read_fields("", '{"name": "zoom", "arguments": {"box": [NaN]}}', "")
    assert read_fields("", json.dumps(LOOK), "").calls[0].name == "zoom"


def test_after_a_path_was_chosen_the_correction_is_what_is_shown_and_kept(
    here, visitor, mine, tmp_path
):
    right = "7" if mine.attempt.episode.answer != "7" else "3"
    pen(visitor, answer="1" if right != "1" else "2")
    mine.leaf = 0  # Path: as asked
    told = pen(visitor, answer=right)
    assert told["answer"] == right
    assert mine.leaf is None
    (record,) = read_trace(kept(here, visitor, "example", tmp_path))
    assert record.episode.answer == right


def test_after_a_refusal_the_path_is_still_the_chosen_one(visitor, mine):
    pen(visitor, answer="1")
    before = mine.leaf
    assert "error" in pen(visitor, thought="<tool_call>", answer="8")
    assert mine.leaf == before
    assert pen(visitor, answer="5")["answer"] == "5"


def test_what_has_no_answer_is_not_kept_as_an_example(here, visitor, example):
    thread, found = later(lambda: asked(visitor, example.path, example.question, "slow"))
    until(lambda: any(s.places for s in here[1].sessions._all.values()))
    time.sleep(1.0)
    visitor.predict(api_name="/stop")
    thread.join(8)
    assert found[0][0]["stop"] == "cancelled"
    _, said = visitor.predict(api_name="/keep_example_image")
    assert "no answer" in words(said)


def kept(here, visitor, kind, folder):
    visitor.predict(api_name=f"/keep_{kind}_image")
    root = here[1].sessions.root
    found = max(root.rglob(f"{kind}.zip"), key=lambda p: p.stat().st_mtime)
    with zipfile.ZipFile(found) as archive:
        archive.extractall(folder / kind)
    return folder / kind


@pytest.mark.parametrize("edit", ["answer", "call"])
def test_a_preference_teaches_what_the_person_wrote(here, visitor, mine, tmp_path, edit):
    old = mine.attempt.episode.answer
    pen(
        visitor, **({"answer": "7" if old != "7" else "3"} if edit == "answer" else {"calls": LOOK})
    )
    folder = kept(here, visitor, "pair", tmp_path)
    weak = shipped("tiny/weak")
    (group,) = regrow(read_trace(folder))
    (pair,) = ranked_pairs(group.episodes, group.scores)
    sample = answer_sample(pair.chosen, load_renderer(weak), family_of_folder(weak))
    context = pair.chosen.episode.contexts[pair.chosen.context]
    taught = context.mask(Author.TEACHER)
    assert taught.any()
    assert sample.target[: len(taught)][taught[: len(sample.target)]].all()
    small = ["model=tiny/weak", "steps=1", "prompts=1", "tensorboard=false", "tools=[zoom]"]
    recipe = load_recipe("zoom", [*small, "kind=prefer", f"trace={folder}", "pairs={by: ranked}"])
    assert train(recipe, tmp_path / "preferred").finished


@pytest.mark.parametrize("name", ["a\x00b", ["x"], 3])
def test_a_name_that_is_none_is_unknown(tmp_path, name):
    with pytest.raises(UnknownName):
        Shelf(tmp_path).folder(name)


def test_damaged_and_locked_archives_are_refused_in_words(tmp_path):
    write_trace(tmp_path / "t", sample_records())
    packed = tmp_path / "t.zip"
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(tmp_path / "t" / "episodes.jsonl", "episodes.jsonl")
    data = bytearray(packed.read_bytes())
    damaged, locked = tmp_path / "damaged.zip", tmp_path / "locked.zip"
    middle = bytes(data).index(b"episodes.jsonl") + 40
    damaged.write_bytes(
        data[:middle] + bytes(b ^ 0xFF for b in data[middle : middle + 60]) + data[middle + 60 :]
    )
    flags = bytearray(data)
    flags[6] |= 1  # of the entry
    flags[bytes(data).index(b"PK\x01\x02") + 8] |= 1  # and of the list
    locked.write_bytes(flags)
    for number, bad in enumerate((damaged, locked)):
        with pytest.raises(TraceError, match="expected a trace packed as"):
            unpack(bad, tmp_path / str(number))


def test_an_archive_of_episodes_that_never_began_is_refused_by_its_own_name(
    here, visitor, tmp_path
):
    write_trace(tmp_path / "t", sample_records())
    lines = (tmp_path / "t" / "episodes.jsonl").read_text(encoding="utf-8").splitlines()
    body = json.loads(lines[0])
    inner = body.get("episode", body)
    inner["contexts"] = []
    packed = tmp_path / "mine.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("episodes.jsonl", json.dumps(body) + "\n")
        for path in (tmp_path / "t" / "media").iterdir():
            archive.write(path, f"media/{path.name}")
    out = visitor.predict(handle_file(str(packed)), api_name="/bring_trace")
    said = words(out[-1])
    assert "no episode that began" in said
    assert str(here[1].sessions.root) not in said


def test_pictures_keep_their_shape_in_the_style(example):
    from vtool.demos.studio.board import plain_board

    from vtool.media import Image

    wide = plain_board(Image(np.zeros((9, 16, 3), np.uint8)))
    assert "--ratio:1.777778;aspect-ratio:16/9" in str(wide)


def test_stop_ends_a_tool_that_is_run_by_hand(here, visitor):
    given = ("python", {"code": "import time; time.sleep(30)"})
    thread, found = later(lambda: visitor.predict(*given, api_name="/run_tool"))
    until(lambda: any(s.doing for s in here[1].sessions._all.values()))
    began = time.monotonic()
    visitor.predict(api_name="/stop")
    thread.join(8)
    assert time.monotonic() - began < 8
    assert found[0] == {"error": "stopped by you"}
    assert not any(s.doing for s in here[1].sessions._all.values())


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_nothing_is_left_when_the_studio_ends(tmp_path, ending):
    env = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONUNBUFFERED": "1"}
    line = [sys.executable, "-m", "vtool.cli", "demo", "--port", "0", "--runs", str(tmp_path)]
    # A test run in the background of a shell ignores ctrl-C, and so would what it starts.
    heed = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    with subprocess.Popen(
        line, env=env, stdout=subprocess.PIPE, text=True, preexec_fn=heed
    ) as going:
        try:
            assert any("the studio is open" in said for said in going.stdout)
            going.send_signal(ending)
            going.wait(30)
        finally:
            going.kill()
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(("vtool-", "gradio"))] == []


def test_a_taken_port_is_said_with_the_way_out(here, tmp_path):
    port, before = int(here[0].rsplit(":", 1)[1].strip("/")), signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(DataError, match="--port"):
            serve(Options(runs=tmp_path, port=port), lambda said: None)
    finally:
        signal.signal(signal.SIGTERM, before)
