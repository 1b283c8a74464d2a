"""Tools that look into videos: right frames, told times, places that map back."""

import asyncio
from fractions import Fraction

import numpy as np
import pytest
import video_files as vf

from vtool.check import check_tool
from vtool.commands.run_tool import run_by_hand
from vtool.dialects.hermes import Hermes
from vtool.geometry import Box, Convention, Region, Span, Units
from vtool.message import ToolCall
from vtool.store import Store
from vtool.tool import tools
from vtool.toolbox import Toolbox, ToolBroken
from vtool.video.budget import Look, seconds
from vtool.video.cache import FRAMES
from vtool.video.errors import ReaderError
from vtool.video.source import Video
from vtool.workers.results import value_bytes

NAMES = ("crop_video", "find_changes", "glance", "read_subtitles", "resample", "select_frames")


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("VTOOL_CACHE", str(tmp_path / "cache"))
    FRAMES.clear()


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("videos")
    return {
        "plain": vf.write(folder / "plain.mp4", vf.constant(200), b_frames=2, gop=20),
        "variable": vf.write(folder / "variable.mp4", vf.variable(200, gap_at=90), gop=10),
        "scenes": vf.write(folder / "scenes.mp4", vf.constant(150), draw=scenes, gop=15),
    }


def scenes(n, width, height):
    """Cuts at frames 50 and 100; a square rushes through frames 70 to 76."""
    base = (40, 200, 120)[n // 50]
    pixels = np.full((height, width, 3), base, np.uint8)
    rush = 14 * max(0, min(n - 70, 7))
    x = 4 + rush if n // 50 == 1 else 4 + n % 50 // 25
    pixels[20:60, x : x + 24] = 255 - base
    return pixels


def run(source, name, **arguments):
    store = Store()
    store.add(source)
    box = Toolbox(list(NAMES), cache=False)
    calls = [ToolCall(name, {"video": "$video_1"} | arguments)]
    message = asyncio.run(box.run(calls, store, Hermes(), lambda handle: None))[0]
    words = "".join(getattr(p, "text", "") for p in Hermes().observe([message], store))
    return message.outcomes[0], store, words


@pytest.mark.parametrize("name", NAMES)
def test_it_conforms(files, name):
    sample = {"video": Video.open(files["plain"])}
    if name == "select_frames":
        sample["times"] = [0.0, 3.0]
    check_tool(tools.get(name), sample)
    assert tools.get(name).spec.params[0].description


def test_resample_takes_what_is_on_the_screen(files):
    video = Video.open(files["variable"])
    outcome, store, words = run(video, "resample", span=[2.0, 6.0], fps=4)
    clip, times = store["clip_1"].value, video.times_s
    asked = [2.0 + i / 4 for i in range(16)]
    shown = sorted({int(np.searchsorted(times, t, side="right")) - 1 for t in asked})
    assert vf.numbers(clip) == shown
    assert clip.times_s == tuple(times[shown].tolist())
    assert outcome.fault is None
    assert all(seconds(t) in words for t in clip.times_s)


def test_resample_by_count_and_beyond_the_budget(files):
    video = Video.open(files["plain"])
    _, store, words = run(video, "resample", span=[0, 8], count=4)
    assert vf.numbers(store["clip_1"].value) == [25, 75, 125, 175]
    _, store, words = run(video, "resample", span=[0, 8], fps=25)
    assert len(store["clip_1"].value.frames) == 32
    assert "200 frames at 25 a second are too many: 32 were spread evenly" in words


def test_a_clip_knows_its_times_and_maps_back(files):
    video = Video.open(files["plain"])
    _, store, _ = run(video, "crop_video", span=[2, 4], box=[250, 0, 750, 500], count=3)
    origin = store["clip_1"].origin
    assert origin.parent == "video_1"
    assert origin.times_s == store["clip_1"].value.times_s == (2.32, 3.0, 3.64)
    place = store.to_source(Region("clip_1", Box(0.5, 0.0, 1.0, 1.0)))
    assert place == Region("video_1", Box(0.5, 0.0, 0.75, 0.5))
    assert store.to_source(Region("clip_1", Span(2.5, 3))) == Region("video_1", Span(2.5, 3))


def test_crop_shows_the_part_in_its_own_pixels(files):
    video = Video.open(files["plain"])
    _, store, _ = run(video, "crop_video", span=[2, 2.03], box=[500, 250, 1000, 1000], count=1)
    clip = store["clip_1"].value
    whole = video.clip([2.0]).frames[0].pixels
    assert np.array_equal(clip.frames[0].pixels, whole[24:, 64:])


def test_select_frames_and_the_end(files):
    video = Video.open(files["plain"])
    _, store, words = run(video, "select_frames", times=[7.99, 0.05, 8.0, 0.05])
    assert vf.numbers(store["clip_1"].value) == [1, 199]
    assert "2 frames (asked for 4" in words


@pytest.mark.parametrize(
    ("name", "arguments", "code", "said"),
    [
        ("resample", {"span": [0, 1], "fps": 0}, "bad_args", "fps"),
        ("resample", {"span": [0, 1], "fps": 1e6}, "bad_args", "fps"),
        ("resample", {"span": [0, 1], "count": 0}, "bad_args", "1 to 32"),
        ("resample", {"span": [0, 1], "count": 33}, "bad_args", "1 to 32"),
        ("resample", {"span": [0, 1], "count": 3, "fps": 1}, "bad_args", "both"),
        ("resample", {"span": [3, 2]}, "bad_window", "start < end"),
        ("resample", {"span": [-1, 2]}, "bad_window", "0 <= start"),
        ("resample", {"span": [8.5, 9]}, "bad_window", "ends at 8.0 s"),
        ("resample", {"span": ["0:01", "0:02"]}, "bad_args", "finite numbers"),
        ("resample", {}, "bad_args", "span"),
        ("select_frames", {"times": []}, "bad_args", "1 to 32"),
        ("select_frames", {"times": [1, 9]}, "bad_window", "9.0 s is not in the video"),
        ("select_frames", {"times": [-0.1]}, "bad_window", "not in the video"),
        ("select_frames", {"times": ["75s"]}, "bad_args", "list of finite numbers"),
        ("select_frames", {"times": [True]}, "bad_args", "list of finite numbers"),
        ("crop_video", {"span": [0, 1], "box": [0, 0, 20, 20]}, "too_small", "pixels"),
        ("crop_video", {"span": [0, 1], "box": [0, 0, 500, 500], "count": 99}, "bad_args", "32"),
        ("glance", {"video": "image_1"}, "bad_args", "no video is called"),
    ],
)
def test_faults_of_the_model(files, name, arguments, code, said):
    outcome, store, _ = run(Video.open(files["plain"]), name, **arguments)
    assert outcome.fault is not None
    assert str(outcome.fault.code) == code
    assert said in f"{outcome.fault.message} {outcome.fault.hint}"
    assert len(store) == 1


def test_glance_is_exact_where_that_is_cheap_and_says_so_where_not(files):
    video = Video.open(files["plain"])
    glance = tools.get("glance")
    exact = glance.set(count=5)(video)
    assert vf.numbers(exact.values[0]) == [20, 60, 100, 140, 180]
    assert "keyframes" not in exact.text
    keys = glance.set(count=5, exact_frames=50)(video)
    assert all(n % 20 == 0 for n in vf.numbers(keys.values[0]))
    assert "keyframes" in keys.text
    assert [seconds(t) in keys.text for t in keys.values[0].times_s] == [True] * 5
    # Ten keyframes cannot show twenty moments: then the frames are exact after all.
    many = glance.set(count=20, exact_frames=50)(video)
    assert len(many.values[0].frames) == 20


def test_budgets_bound_pixels():
    look = Look(max_frames=64, frame_pixels=10_000, total_pixels=100_000)
    assert look.size((1920, 1080), 1) == (133, 75)
    wide, high = look.size((1920, 1080), 50)
    assert wide * high <= 2000
    assert look.size((64, 48), 1) == (64, 48)
    assert look.size((1920, 1080), 1, share=0.01)[0] == 1333


def test_changes_are_found_where_they_are(files):
    video = Video.open(files["scenes"])
    outcome, _, words = run(video, "find_changes")
    cuts = [f.region.shape for f in outcome.found if f.label == "cut"]
    assert cuts == [Span(1.96, 2.0), Span(3.96, 4.0)]
    peaks = [f.region.shape for f in outcome.found if f.label == "motion"]
    assert peaks
    assert all(p.start_s >= 2.76 and p.end_s <= 3.1 for p in peaks)
    assert '{"video": "$video_1", "label": "cut", "span": [1.96, 2.0]' in words
    only = run(video, "find_changes", span=[2.2, 3.8])[0]
    assert {f.label for f in only.found} == {"motion"}


def test_changes_of_a_long_stretch_come_from_keyframes(files):
    found = tools.get("find_changes").set(max_frames=100)(Video.open(files["scenes"]))
    assert "keyframes only" in found.text
    cuts = [f.shape for f in found.found if f.label == "cut"]
    for cut in (2.0, 4.0):
        assert any(c.start_s <= cut <= c.end_s and c.end_s - c.start_s < 0.7 for c in cuts)


def test_subtitles_of_a_stretch(files, tmp_path):
    path = vf.copy(files["plain"], tmp_path / "a.mp4")
    video = Video.open(path)
    read = tools.get("read_subtitles")
    assert read(video).text == "the video has no subtitles"
    lines = [f"{i}\n00:00:0{i},000 --> 00:00:0{i},900\nline {i}\n" for i in range(8)]
    (tmp_path / "a.srt").write_text("\n".join(lines))
    assert read(video, Span(1.95, 4.0)).text == "[2.0, 2.9] line 2\n[3.0, 3.9] line 3"
    assert read(video, Span(1.95, 1.99)).text == "nothing is said in this stretch"
    assert read.set(max_chars=40)(video).text.endswith("(6 more lines: ask for a shorter stretch)")


def test_a_file_that_changes_under_the_episode_is_our_fault(files, tmp_path):
    path = vf.copy(files["plain"], tmp_path / "a.mp4")
    video = Video.open(path)
    path.write_bytes(b"gone")
    with pytest.raises(ToolBroken, match=r"a\.mp4 was changed"):
        run(video, "resample", span=[0, 1])
    with pytest.raises(ReaderError):
        tools.get("glance")(video)
    assert run(Video.open(files["plain"]), "resample", span=[0, 1])[0].fault is None


def test_by_hand_on_a_file(files, tmp_path):
    told = run_by_hand(
        "resample",
        [f"video={files['plain']}", "span=[1, 2]", "count=2"],
        pictures=[],
        settings=[],
        units=Units.UNIT,
        out=tmp_path / "out",
    )
    assert told.text.startswith("2 frames at 1.24, 1.72 s")
    assert len(list(told.files[0].glob("*.png"))) == 2


def test_a_schema_tells_what_a_video_and_times_are():
    schema = tools.get("select_frames").spec.schema(Convention())["function"]["parameters"]
    assert schema["properties"]["video"]["type"] == "string"
    assert schema["properties"]["times"] == {
        "type": "array",
        "items": {"type": "number"},
        "description": "Times in seconds from the start.",
    }
    assert "settings" not in schema["properties"]


def test_a_rate_that_is_no_whole_number(tmp_path):
    """29.97 a second: the frame told at a time is the one asked for again by that time."""
    base = Fraction(1, 30000)
    path = vf.write(
        tmp_path / "n.mp4", vf.constant(60, Fraction(30000, 1001), base), base=base, b_frames=2
    )
    video = Video.open(path)
    _, store, _ = run(video, "resample", span=[0.5, 1.5], count=6)
    first = store["clip_1"].value
    told = [round(t, 3) for t in first.times_s]
    _, store, _ = run(video, "select_frames", times=told)
    assert vf.numbers(store["clip_1"].value) == vf.numbers(first)


def test_results_are_shared_by_a_group_and_a_video_weighs_nothing_in_the_cache(files):
    video, box = Video.open(files["plain"]), Toolbox(list(NAMES))
    seen = []

    async def play():
        for _ in range(2):
            store = Store()
            store.add(video)
            call = ToolCall("resample", {"video": "$video_1", "span": [1, 2], "count": 4})
            (message,) = await box.run([call], store, Hermes(), lambda handle: None)
            seen.append((message.outcomes[0].cached, store["clip_1"].digest))

    asyncio.run(play())
    assert [cached for cached, _ in seen] == [False, True]
    assert seen[0][1] == seen[1][1]
    assert value_bytes(video) == 0
