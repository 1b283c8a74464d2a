"""The page of a trace: complete, self-contained, and deaf to what models write into it."""

from __future__ import annotations

import re
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as PILImage
from sample_episode import lost_episode, sample_records, zoom_episode, zoom_task
from vtool.demos.markup import tag, text
from vtool.demos.page import Section, render_page, table
from vtool.demos.steps import view_record
from vtool.demos.view import find_trace, page_of_trace, write_page

from vtool.errors import TraceError
from vtool.geometry import Box, Region
from vtool.record import Fold, Fork
from vtool.reward import Score, Unscored
from vtool.trace import TraceRecord, write_trace


class Elements(HTMLParser):
    """Collects elements with their attributes, and text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.words.append(data)

    def of(self, name: str) -> list[dict[str, str | None]]:
        return [a for n, a in self.found if n == name]


@pytest.fixture(scope="module")
def trace(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "trace"
    write_trace(folder, sample_records())
    return folder


def test_page_shows_what_happened(trace):
    page = page_of_trace(trace)
    seen = Elements(page)
    words = " ".join(seen.words)
    for told in (
        "zoom(image=1, box=[",
        "It is small.",
        "bad_json: expected a JSON object in the call",
        "mean log-prob -0.12",
        "max_turns",
        "evidence",
        "seen at 64×64",
    ):
        assert told in words, told
    kinds = [a["class"] for a in seen.of("details")]
    assert kinds == ["ep right tool", "ep wrong tool", "ep wrong notool"]


def test_boxes_are_drawn_where_they_were_asked(trace):
    task = zoom_task()
    box = task.evidence[-1].shape
    view = view_record(TraceRecord(zoom_episode(task)))
    marks = [m for s in view.strands[0].steps for sight in s.sights for m in sight.marks]
    assert [(m.number, m.box, m.used) for m in marks] == [(1, box, False)]
    rects = [r for r in Elements(page_of_trace(trace)).of("rect") if r["class"] == "box"]
    assert float(rects[0]["x"]) == pytest.approx(box.x1 * 384, abs=0.01)
    assert float(rects[0]["width"]) == pytest.approx((box.x2 - box.x1) * 384, abs=0.01)


def test_the_place_really_used_is_drawn_dashed():
    task = zoom_task()
    episode = zoom_episode(task)
    outcome = episode.outcomes()[0]
    used = Region("image_1", Box(0.1, 0.1, 0.5, 0.5))
    object.__setattr__(outcome, "effective", (used,))
    view = view_record(TraceRecord(episode))
    marks = [m for s in view.strands[0].steps for sight in s.sights for m in sight.marks]
    assert [(m.number, m.used) for m in marks] == [(1, False), (1, True)]
    assert "differs" in view.strands[0].steps[1].calls[0].note


def test_right_and_wrong_come_from_the_reference():
    states = [view_record(r).right for r in sample_records()]
    assert states == [True, False, False]
    record = sample_records()[0]
    assert view_record(TraceRecord(record.episode, record.score)).right is True
    assert view_record(TraceRecord(record.episode)).right is None


def test_unscored_parts_are_told_as_such():
    task = zoom_task()
    score = Score({"judge": Unscored("service down"), "turns": [1.0, 0.5]}, Unscored("judge"))
    view = view_record(TraceRecord(zoom_episode(task), score))
    assert view.parts == (("judge", "unscored (service down)"), ("turns", "1 0.5"))


def test_forks_and_folds_are_strands_of_their_own():
    task = zoom_task()
    episode = zoom_episode(task)
    main = episode.contexts[0]
    branch = episode.open("policy", edge=Fork(0, 3))
    branch.append(main.segments[3])
    episode.open("policy", edge=Fold(0, "window")).append(main.segments[0])
    view = view_record(TraceRecord(episode))
    assert [s.title for s in view.strands] == [
        "policy",
        "fork of 0 after 3 segments",
        "folds 0 (window)",
    ]
    assert [len(s.steps) for s in view.strands] == [4, 1, 1]
    assert [s.own_tokens for s in view.strands] == [84, 9, 30]


ATTACKS = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    '"><svg onload=alert(1)>',
    "</style><script>alert(1)</script>",
    "![beacon](http://evil.example/x.png)",
    "<iframe src='http://evil.example'></iframe>",
    "<a href='javascript:alert(1)'>x</a>",
    "'><meta http-equiv=refresh content='0;url=http://evil.example'>",
]
ALLOWED = {
    "html head meta title style body main h1 h2 p div section details summary span figure "
    "figcaption svg rect text dl dt dd code b input label table tr th td img"
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_nothing_that_a_model_writes_becomes_markup(attack, tmp_path):
    """S4: thought, answer, arguments, question, faults and tags go through one escape."""
    task = zoom_task()
    episode = zoom_episode(task, words=attack, answer=attack)
    object.__setattr__(episode, "task_id", attack)
    call = episode.actions()[0].calls[0]
    call.arguments["box"] = attack  # type: ignore[index]
    meta = {"tags": {attack: attack}, "reference": {"texts": [attack]}}
    record = TraceRecord(episode, Score({attack: 1.0}, 1.0), meta)
    page = render_page(attack, attack, [Section(attack, attack, (view_record(record),))])
    seen = Elements(page)
    assert {n for n, _ in seen.found} <= set(" ".join(ALLOWED).split())
    for name, attributes in seen.found:
        assert not [a for a in attributes if a.startswith("on")], (name, attributes)
        for key, value in attributes.items():
            if key in ("src", "href"):
                assert value.startswith("data:"), (name, key, value)
    assert "refresh" not in [a.get("http-equiv") for a in seen.of("meta")]


def test_the_page_asks_nothing_of_the_network(trace):
    page = page_of_trace(trace)
    policy = next(a for a in Elements(page).of("meta") if "http-equiv" in a)["content"]
    assert policy.startswith("default-src 'none'")
    assert "script" not in policy
    addresses = re.findall(r"url\(([^)]{0,30})", page)
    assert addresses
    assert all(a.startswith("data:image/") for a in addresses)
    assert "http://" not in page
    assert "https://" not in page


def test_pixels_are_embedded_once(trace):
    page = page_of_trace(trace)
    rules = re.findall(r"\.(m[0-9a-f]{16})\{", page)
    assert len(rules) == len(set(rules))


@given(st.text())
def test_escape_is_total_and_keeps_what_is_visible(words):
    page = str(tag("p", words, title=words))
    assert {n for n, _ in Elements(page).found} <= {"p", "span"}
    assert "<script" not in page


def test_what_cannot_be_seen_is_shown():
    assert "\\u202e" in text("a\u202eb")
    assert "\\u200b" in text("a\u200bb")
    assert text("ünï 日本 \n") == "ünï 日本 \n"


def test_a_surrogate_does_not_break_the_file(tmp_path):
    path = write_page(render_page("t", "a\ud800b", []), tmp_path / "x" / "p.html")
    assert "\\ud800" in path.read_text()


def test_trace_is_found_in_its_run(trace):
    assert find_trace(trace) == find_trace(trace.parent) == trace
    with pytest.raises(TraceError, match=r"episodes\.jsonl"):
        find_trace(trace.parent / "elsewhere")


def test_limit_is_told(trace):
    page = page_of_trace(trace, limit=1)
    assert "the trace holds more, the first 1 are shown" in page
    assert page.count("<details") == 1


def test_table_is_plain():
    assert "&lt;b&gt;" in table(("a", "b"), [("<b>", "1")])


def test_lost_episode_has_no_answer():
    view = view_record(TraceRecord(lost_episode(zoom_task())))
    assert (view.answer, view.calls, view.stop) == (None, 0, "max_turns")


@pytest.mark.system("chromium")
def test_the_page_lays_out_in_a_browser(trace, tmp_path, chromium):
    """The pixels reach the screen: the green of the first crop, the red of a box."""
    page = write_page(page_of_trace(trace), tmp_path / "page.html")
    shot = tmp_path / "page.png"
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    command = [chromium, *flags, "--window-size=1100,1200", f"--screenshot={shot}", page.as_uri()]
    subprocess.run(command, capture_output=True, timeout=120, check=True)
    pixels = np.asarray(PILImage.open(shot).convert("RGB")).astype(int)
    task = zoom_task()
    colour = (
        task.prompt[0]
        .pixels[  # type: ignore[union-attr]
            int(384 * task.evidence[-1].shape.center.y) + 14,
            int(384 * task.evidence[-1].shape.center.x),
        ]
        .astype(int)
    )
    near = (np.abs(pixels - colour).sum(axis=2) < 24).sum()
    assert near > 4000, near
