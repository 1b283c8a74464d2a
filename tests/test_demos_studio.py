"""The studio by program: questions, stopping, the pen, tools, replays, visitors, doors."""

import json
import shutil
import time
import zipfile

import httpx
import pytest
from gradio_client import handle_file
from studio_visits import EVIL, asked, client, facts, later, studio, until, words
from vtool.demos.studio.examples import FOREIGN, picture_examples, video_examples
from vtool.demos.studio.guard import check_password
from vtool.demos.studio.options import Options
from vtool.demos.studio.session import Sessions
from vtool.demos.studio.shelf import Shelf, unpack
from vtool.rl.recipe import load_recipe
from vtool.rl.train import train

from vtool.errors import DataError, TraceError, UnknownName
from vtool.trace import read_trace


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def here(runs):
    with studio(runs) as found:
        yield found


@pytest.fixture
def visitor(here):
    one = client(here[0])
    yield one
    one._kill_heartbeat.set()  # `close` would wait a second for it


@pytest.fixture(scope="module")
def examples(tmp_path_factory):
    return picture_examples(tmp_path_factory.mktemp("examples"))


def test_the_tiny_policy_is_asked_and_every_step_names_its_engine(visitor, examples):
    told, out = asked(visitor, examples[0].path, examples[0].question)
    assert told["stop"] == "answered"
    assert told["engine"] == "hf on cpu"
    assert [s["who"] for s in told["steps"]] == ["user", "policy", "tool", "policy"]
    assert told["steps"][1]["calls"][0]["name"] == "zoom"
    assert told["answer"].isdigit()
    assert words(out[0]).count("tiny/clean · hf on cpu") == 2
    assert 'data-pick="call:1"' in out[1]


def test_a_question_of_another_world_is_not_asked(visitor, examples):
    told, out = asked(visitor, examples[0].path, FOREIGN)
    assert told["answer"] is None
    assert "does not know this world" in told["outside"]
    assert "It was not asked" in words(out[0])


def test_a_script_says_that_it_is_one(visitor, examples):
    told, _ = asked(visitor, examples[0].path, FOREIGN, "script")
    assert told["engine"] == "scripted"
    assert told["answer"].startswith("I am a script")


@pytest.mark.parametrize(
    ("question", "model", "why"),
    [
        ("", "tiny/clean", "expected a question"),
        ("x" * 3000, "tiny/clean", "2000 characters"),
    ],
)
def test_bad_input_is_answered_and_nothing_is_asked(visitor, examples, question, model, why):
    told, _ = asked(visitor, examples[0].path, question, model)
    assert why in told["error"]


def test_nobody_loads_a_folder_by_asking_for_it(here, visitor, examples):
    with pytest.raises(Exception, match=r"choices|expected|policy"):
        asked(visitor, examples[0].path, "what?", "/etc")
    with pytest.raises(UnknownName):
        here[1].policies.load("/etc")


def test_what_is_no_picture_is_refused(visitor, tmp_path):
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"GIF89a nothing of the kind")
    told, _ = asked(visitor, bad, "what is it?", "script")
    assert "picture" in told["error"] or "image" in told["error"]
    told, _ = asked(visitor, None, "what is it?", "script")
    assert "expected a picture" in told["error"]


def test_stop_ends_writing(here, visitor, examples):
    _, household = here
    thread, found = later(lambda: asked(visitor, examples[0].path, "what?", "slow"))

    def going():
        places = [s.places.get("image") for s in household.sessions._all.values()]
        return any(p and p.attempt and p.attempt.going for p in places)

    until(going)
    visitor.predict(api_name="/stop")
    thread.join(6)
    assert not thread.is_alive()
    assert found[0][0]["stop"] == "cancelled"
    assert not going()


def test_two_visitors_see_their_own(here, examples):
    one, two = client(here[0]), client(here[0])
    asked(one, examples[0].path, examples[0].question)
    told = two.predict(0, api_name="/anew_image")
    assert facts(told)["error"] == "ask something first, and let it end"
    one.close()
    two.close()


# ---------------------------------------------------------------------------- the pen


def test_an_edited_call_makes_a_branch_that_can_be_learnt_from(here, visitor, examples, tmp_path):
    asked(visitor, examples[0].path, examples[0].question)
    call = json.dumps({"name": "zoom", "arguments": {"image": 1, "box": [700, 700, 900, 900]}})
    told = facts(visitor.predict(0, "I look elsewhere.", call, "", api_name="/go_on_image"))
    assert told["paths"] == 2
    assert told["steps"][1]["who"] == "you"
    assert told["steps"][1]["thought"] == "I look elsewhere."
    assert "700" in told["steps"][1]["calls"][0]["arguments"]
    assert told["steps"][3]["who"] == "policy"
    example = kept(here, visitor, "example", tmp_path)
    (record,) = read_trace(example)
    assert record.score.total == 1.0
    assert len(record.episode.contexts) == 1
    pair = list(read_trace(kept(here, visitor, "pair", tmp_path)))
    assert [r.meta["role"] for r in pair] == ["chosen", "rejected"]
    (whole,) = read_trace(kept(here, visitor, "trace", tmp_path))
    assert len(whole.episode.leaves()) == 2


def kept(here, visitor, kind, folder):
    """What a button keeps, unpacked: its trace."""
    _, household = here
    visitor.predict(api_name=f"/keep_{kind}_image")
    found = sorted(household.sessions.root.rglob(f"{kind}.zip"), key=lambda p: p.stat().st_mtime)
    out = folder / kind
    with zipfile.ZipFile(found[-1]) as archive:
        archive.extractall(out)
    return out


def test_what_the_pen_keeps_is_what_training_reads(here, visitor, examples, tmp_path):
    asked(visitor, examples[0].path, examples[0].question)
    call = json.dumps({"name": "zoom", "arguments": {"image": 1, "box": [600, 600, 900, 900]}})
    visitor.predict(0, "", call, "", api_name="/go_on_image")
    one, two = (kept(here, visitor, kind, tmp_path) for kind in ("example", "pair"))
    small = ["model=tiny/weak", "steps=1", "prompts=1", "tensorboard=false", "tools=[zoom]"]
    imitate = ["kind=imitate", f"trace={one}"]
    assert train(recipe(small + imitate), tmp_path / "imitated").finished
    prefer = ["kind=prefer", f"trace={two}", "pairs={by: ranked}"]
    assert train(recipe(small + prefer), tmp_path / "preferred").finished


def recipe(overrides):
    return load_recipe("zoom", overrides)


@pytest.mark.parametrize(
    ("calls", "answer", "why"),
    [
        ("", "", "either calls or an answer"),
        ("{", "", "not JSON"),
        ('{"nome": 1}', "", "expected"),
        ("[" * 5000, "", "not JSON"),
        ('{"name": "zoom"}', "7", "either calls or an answer"),
    ],
)
def test_an_edit_that_says_nothing_is_refused(visitor, examples, calls, answer, why):
    asked(visitor, examples[0].path, examples[0].question)
    told = facts(visitor.predict(0, "", calls, answer, api_name="/go_on_image"))
    assert why in told["error"]


# -------------------------------------------------------------- video, compare, tools, 3D


def test_a_video_is_asked_about(visitor, tmp_path):
    example = video_examples(tmp_path)[1]
    out = visitor.predict(
        handle_file(str(example.path)),
        example.question,
        "tiny/moments",
        ["resample"],
        0,
        0,
        api_name="/ask_video",
    )
    told = facts(out)
    assert told["stop"] == "answered"
    assert any(c["name"] == "resample" for s in told["steps"] for c in s["calls"])
    assert "timeline of" in out[1]


def test_two_sides_are_asked_the_same(visitor, examples):
    picture = handle_file(str(examples[0].path))
    out = visitor.predict(
        picture, examples[0].question, "tiny/clean", "tiny/clean", True, False, api_name="/compare"
    )
    told = out[-1]
    calls = {s: sum(len(x["calls"]) for x in told[s]["steps"]) for s in ("left", "right")}
    assert calls["left"] == 1
    faults = [c["fault"] for x in told["right"]["steps"] for c in x["calls"]]
    assert calls["right"] == 0 or all("no tool" in f or "unknown" in f for f in faults)


def test_a_tool_by_hand(visitor, examples):
    visitor.predict([handle_file(str(examples[0].path))], api_name="/bring")
    told = visitor.predict(
        "zoom", {"image": "image_1", "box": "0, 0, 500, 500"}, api_name="/run_tool"
    )
    assert (told["fault"], told["handles"]) == (None, ["image_2"])
    told = visitor.predict("zoom", {"image": "image_2", "box": "0, 0, 5"}, api_name="/run_tool")
    assert told["fault"]["code"] == "bad_args"
    told = visitor.predict("zoom", {"image": "image_9", "box": "0,0,5,5"}, api_name="/run_tool")
    assert "image_9" in told["error"]
    told = visitor.predict("depth", {"image": "image_1"}, api_name="/run_tool")
    assert "It lacks" in told["error"]
    told = visitor.predict(
        "segment", {"image": "image_1", "box": "100,100,600,600"}, api_name="/run_tool"
    )
    mask = next(h for h in told["handles"] if h.startswith("mask"))
    told = visitor.predict("measure_mask", {"mask": mask}, api_name="/run_tool")
    assert told["fault"] is None
    assert told["found"][0]["facts"]["pixels"] > 0


def test_points_in_space_of_a_pair(here, visitor):
    _, household = here
    pair = [
        handle_file(str(household.sessions.root / "examples" / f"{n}.png"))
        for n in ("left", "right")
    ]
    out = visitor.predict(*pair, "stereo pair", 0.1, 400, api_name="/measure")
    assert "points are shown" in words(out[2])
    (cloud,) = sorted(household.sessions.root.rglob("cloud.glb"))[-1:]
    assert cloud.read_bytes()[:4] == b"glTF"
    out = visitor.predict(*pair, "one picture", 0.1, 400, api_name="/measure")
    assert "It lacks" in words(out[2])


# -------------------------------------------------------------------- what lies in the runs


@pytest.fixture(scope="module")
def run(runs):
    """A run of two steps, and a report."""
    small = ["steps=2", "prompts=2", "group_size=2", "trace_every=1", "tensorboard=false"]
    train(load_recipe("zoom", [*small, "data.options={seed: 1, one: 4}"]), runs / "small")
    total = {"accuracy": 0.5, "low": 0.2, "high": 0.8, "n": 10, "tool_rate": 1, "calls": 1.0}
    for name, body in (("eval/one", total), ("eval/torn", {**total, "low": "x"})):
        (runs / name).mkdir(parents=True)
        told = {"name": EVIL if name == "eval/one" else "b", "total": body, "k": 1}
        (runs / name / "report.json").write_text(json.dumps(told))
    return runs


def test_a_run_is_shown_with_its_curves(visitor, run):
    curves, before, after = visitor.predict("small", api_name="/learning")
    assert "2 steps done" in words(curves)
    assert "reward by part" in words(curves)
    assert "early" in words(before)
    assert "late" in words(after)


def test_a_trace_is_replayed(visitor, run):
    out = visitor.predict("small/trace/step-000002", api_name="/replay")
    assert "1 · question" in words(out[2])
    assert "answer" in words(out[5])


@pytest.mark.parametrize("name", ["..", "../..", "/etc", "small/../../..", ""])
def test_nothing_outside_the_folder_is_read(visitor, run, name):
    with pytest.raises(UnknownName):
        Shelf(run).folder(name)
    try:
        said = str(visitor.predict(name, api_name="/replay"))
    except Exception as err:  # gradio refuses what is not in the list
        said = str(err)
    assert "root:" not in said


def test_reports_stand_with_their_intervals(visitor, run):
    table = visitor.predict(api_name="/leaderboard")
    assert "0.500 (0.200 to 0.800)" in words(table)
    assert "expected a number for low" in words(table)
    assert "<img src=x" not in table


def test_a_packed_trace_is_brought(visitor, run, tmp_path):
    packed = shutil.make_archive(str(tmp_path / "t"), "zip", run / "small/trace/step-000001")
    out = visitor.predict(handle_file(packed), api_name="/bring_trace")
    assert "1 · question" in words(out[2])


@pytest.mark.parametrize(
    "members",
    [
        {"../out.txt": b"x", "episodes.jsonl": b""},
        {"/abs.txt": b"x", "episodes.jsonl": b""},
        {"a\\..\\b": b"x"},
        {"media/x.png": b"x"},
    ],
)
def test_archives_that_lead_elsewhere_are_refused(members, tmp_path):
    path = tmp_path / "evil.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    with pytest.raises(TraceError):
        unpack(path, tmp_path / "out")
    assert not (tmp_path / "out.txt").exists()


def test_what_is_no_archive_is_refused(tmp_path):
    (tmp_path / "a.zip").write_bytes(b"PK\x03\x04 torn")
    with pytest.raises(TraceError, match=r"packed as \.zip"):
        unpack(tmp_path / "a.zip", tmp_path / "out")


# ------------------------------------------------------------------------------ the doors


def test_foreign_hosts_and_pages_are_turned_away(here):
    address = here[0]
    assert httpx.get(address).status_code == 200
    assert httpx.get(address, headers={"host": "evil.invalid"}).status_code == 421
    foreign = {"origin": "http://evil.invalid"}
    assert httpx.post(f"{address}gradio_api/call/stop", headers=foreign, json={}).status_code == 403
    for path in ("docs", "openapi.json", "gradio_api/file=/etc/passwd"):
        assert httpx.get(f"{address}{path}").status_code in (403, 404)


def test_a_report_that_cannot_be_read_is_left_out(tmp_path):
    total = {"total": {"accuracy": 0.5}}
    for name, text in (("good", json.dumps(total)), ("deep", "[" * 200_000), ("odd", "{}")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "report.json").write_text(text, encoding="utf-8")
    assert Shelf(tmp_path).reports() == {"good": total}


def test_half_a_surrogate_pair_is_a_wrong_password():
    assert not check_password("vtool", "\ud800", "eight chars")
    assert not check_password("\ud800", "eight chars", "eight chars")
    assert check_password("vtool", "eight chars", "eight chars")


def test_a_password_is_asked_for(runs):
    with studio(runs, password="eight chars") as (address, _):
        with pytest.raises(Exception, match=r"(?i)auth|login|401"):
            client(address).predict(api_name="/leaderboard")
        one = client(address, auth=("vtool", "eight chars"))
        assert one.predict(api_name="/leaderboard")
        with pytest.raises(Exception, match=r"(?i)incorrect|credentials|login|auth"):
            client(address, auth=("vtool", "eight charz"))
    with pytest.raises(DataError, match="8 characters"):
        Options(password="short")


def test_more_than_may_wait_are_told_that_it_is_busy(runs, examples):
    with studio(runs, at_once=1, max_waiting=1) as (address, _):
        visitors = [client(address) for _ in range(4)]
        picture = handle_file(str(examples[0].path))
        jobs = [
            v.submit(picture, "what?", "slow", ["zoom"], 0, 0, api_name="/ask") for v in visitors
        ]
        until(lambda: any(j.done() and j.exception() for j in jobs), 8)
        errors = [str(j.exception()) for j in jobs if j.done() and j.exception()]
        assert all("full" in e.lower() or "busy" in e.lower() for e in errors)
        end = time.monotonic() + 30
        while not all(j.done() for j in jobs) and time.monotonic() < end:
            for one in visitors:  # stopping waits for nobody
                body = {"data": [], "session_hash": one.session_hash}
                assert httpx.post(f"{address}gradio_api/run/stop", json=body).status_code == 200
            time.sleep(0.2)
        assert all(j.done() for j in jobs)


def test_a_large_file_is_refused(runs, tmp_path):
    large = tmp_path / "large.png"
    large.write_bytes(b"\x89PNG" + bytes(1_300_000))
    with (
        studio(runs, max_upload_mb=1) as (address, _),
        pytest.raises(Exception, match=r"(?i)413|large|size"),
    ):
        asked(client(address), large, "what?", "script")


def test_sessions_are_bounded_and_forgotten():
    now = [0.0]
    sessions = Sessions(10.0, most=3, clock=lambda: now[0])
    folders = [sessions.of(f"v{i}").folder for i in range(5)]
    assert len(sessions) == 3
    assert [f.exists() for f in folders] == [False, False, True, True, True]
    now[0] = 100.0
    sessions.of("new")
    assert len(sessions) == 1
    sessions.close()


def test_markup_of_a_model_stays_words(visitor, examples):
    told, out = asked(visitor, examples[0].path, "what?", "evil")
    assert told["answer"] == EVIL.strip()
    for panel in out[:3]:
        for tag in ("<script", "<iframe", "<img src=x", "<svg/onload", "<link", "<a "):
            assert tag not in panel


def test_a_report_in_which_nothing_counted_has_no_accuracy():
    from vtool.demos.studio.leaderboard_tab import leaders

    def told(n: int, share: float) -> dict:
        total = {"accuracy": share, "low": 0.0, "high": 1.0, "n": n, "tool_rate": 0.0, "calls": 0.0}
        return {"name": "main", "k": 1, "total": total}

    page = str(leaders({"none": told(0, 0.0), "bad": told(4, 0.0), "good": told(4, 0.5)}))
    assert page.index("good") < page.index("bad") < page.index("nothing counted")
    assert page.count("0.000 (0.000 to 1.000)") == 1
