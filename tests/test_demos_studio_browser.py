"""The studio in a real browser: what a person does, nothing asked of the net, a clean console.

They need Debian's chromium (or another on the path); without it they fail and say how to get it.
"""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from faults_s import CORPUS, EVIL
from gradio_client import handle_file
from playwright.sync_api import expect, sync_playwright
from sample_episode import sample_records
from studio_visits import client, studio, until
from vtool.demos.studio.examples import FOREIGN, picture_examples

from vtool.media import Image
from vtool.trace import write_trace

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = ["--no-sandbox", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist"]
KNOWN = ("WebGPU", "Method not implemented.", "violates the following Content Security Policy")
"""What Gradio's own page says, before it takes WebGL and at the end of every upload; and what the
browser says of a request that the policy held back."""
SECONDS = 15_000


@pytest.fixture(scope="module")
def browser():
    found = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if found is None:
        pytest.fail("chromium is not installed: run `make system-deps`", pytrace=False)
    with sync_playwright() as play:
        opened = play.chromium.launch(executable_path=found, args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    runs = tmp_path_factory.mktemp("runs")
    write_trace(runs / "small" / "trace" / "step-000001", sample_records())
    lines = [{"step": n, "accuracy": n / 4, "reward/total": n / 2} for n in range(4)]
    (runs / "small" / "metrics.jsonl").write_text("\n".join(map(json.dumps, lines)))
    total = {"accuracy": 0.5, "low": 0.2, "high": 0.8, "n": 10, "tool_rate": 1, "calls": 1.0}
    (runs / "report").mkdir()
    told = json.dumps({"name": EVIL, "total": total, "k": 1})
    (runs / "report" / "report.json").write_text(told)
    with studio(runs, max_upload_mb=1) as opened:
        yield opened


@pytest.fixture
def page(browser, here):
    """A fresh visitor; afterwards: nothing was asked of anybody else, and nothing complained."""
    one = browser.new_page(viewport={"width": 1360, "height": 900})
    one.set_default_timeout(SECONDS)
    said, asked, held = [], [], set()
    one.on("console", lambda m: said.append(m.text) if m.type in ("error", "warning") else None)
    one.on("pageerror", lambda e: said.append(str(e)))
    one.on("request", lambda r: asked.append(r.url))
    # What the page's policy held back is announced, but was never sent.
    one.on("requestfailed", lambda r: held.add(r.url) if r.failure == "csp" else None)
    one.goto(here[0])
    one.wait_for_selector("#vs-ask-image")
    yield one
    outside = [u for u in asked if u not in held and not u.startswith((here[0], "data:", "blob:"))]
    pwned = one.evaluate("window.__evil")
    one.close()
    assert outside == []
    assert pwned is None
    assert [s for s in said if not any(k in s for k in KNOWN)] == []


@pytest.fixture(scope="module")
def examples(tmp_path_factory):
    return picture_examples(tmp_path_factory.mktemp("examples"))


def tab(page, name):
    page.get_by_role("tab", name=name, exact=True).click()


def bring(page, name, path):
    """Give a picture, and see it large."""
    page.locator(f"#vs-media-{name} input[type=file]").set_input_files(str(path))


def ask(page, example, model=None):
    if model:
        choose_policy(page, model)
    bring(page, "image", example.path)
    page.wait_for_selector("#vs-board-image .vs-canvas img")
    page.locator("#vs-question-image textarea").fill(example.question)
    page.locator("#vs-ask-image").click()


def choose_policy(page, model):
    page.get_by_role("button", name="Policy, tools and sampling").locator("visible=true").click()
    page.locator("#vs-model-image input").click()
    page.locator("ul[role=listbox] li").filter(has_text=model).first.click()


def ended(page, name="image"):
    page.wait_for_selector(f"#vs-chat-{name} .vs-end")
    return page.locator(f"#vs-chat-{name}")


def test_a_picture_is_asked_about(page, examples):
    ask(page, examples[0])
    chat = ended(page)
    expect(chat.locator(".vs-end")).to_contain_text("answered")
    expect(chat.locator(".vs-tag").first).to_contain_text("tiny/clean · hf on cpu")
    marks = page.locator("#vs-board-image .vs-mark text")
    assert marks.all_text_contents() == ["1"]
    assert page.locator("#vs-film-image .vs-frame").count() == 2
    expect(page.locator("#vs-film-image .vs-frame").first).to_contain_text("tokens")
    # By keyboard: the call is a button, and leads to its box.
    chat.locator(".vs-call").first.focus()
    page.keyboard.press("Enter")
    expect(chat.locator(".vs-call.picked")).to_have_count(1)
    page.locator("#vs-film-image .vs-frame").nth(1).click()
    expect(page.locator("#vs-board-image figcaption")).to_contain_text("cut from image_1")
    assert page.locator("img:not([alt])").count() == 0


def test_a_question_of_another_world_is_not_answered(page, examples):
    ask(page, examples[0])
    ended(page)
    page.locator("#vs-question-image textarea").fill(FOREIGN)
    page.locator("#vs-ask-image").click()
    expect(page.locator("#vs-chat-image")).to_contain_text("does not know this world")
    assert page.locator("#vs-chat-image .vs-answer").count() == 0


def test_a_video_is_asked_about(page):
    tab(page, "Video")
    page.locator(".vs-example:visible").first.click()
    page.wait_for_selector("#vs-board-video .vs-axis")
    page.locator("#vs-ask-video").click()
    ended(page, "video")
    page.locator("#vs-chat-video .vs-call").first.click()
    expect(page.locator("#vs-board-video .window.picked")).to_have_count(1)
    expect(page.locator("#vs-board-video")).to_contain_text("call 1: ")
    assert page.locator("#vs-film-video .vs-frame").count() >= 2


def test_stop_ends_what_goes_on(page, here, examples):
    ask(page, examples[0], "slow")
    page.wait_for_selector("#vs-chat-image .vs-live")
    page.locator("#vs-stop-image").click()
    expect(ended(page).locator(".vs-end")).to_contain_text("stopped by you")
    places = [s.places.get("image") for s in here[1].sessions._all.values()]
    assert not any(p and p.attempt and p.attempt.going for p in places)


def test_a_box_is_drawn_and_the_policy_goes_on_from_there(page, examples):
    ask(page, examples[0])
    ended(page)
    canvas = page.locator("#vs-board-image .vs-canvas")
    area = canvas.bounding_box()
    page.mouse.move(area["x"] + area["width"] * 0.6, area["y"] + area["height"] * 0.6)
    page.mouse.down()
    page.mouse.move(area["x"] + area["width"] * 0.9, area["y"] + area["height"] * 0.9, steps=4)
    page.mouse.up()
    expect(page.locator("#vs-board-image .vs-mark.drawn")).to_have_count(1)
    page.locator("#vs-pen-image button").first.click()
    calls = page.locator("#vs-calls-image textarea")
    until(lambda: "[600, 600, 900, 900]" in calls.input_value())
    area = page.locator("#vs-pen-image").bounding_box()
    assert area["x"] + area["width"] <= page.viewport_size["width"]
    page.locator("#vs-go-image").click()
    chat = page.locator("#vs-chat-image")
    expect(chat.locator(".vs-tag.pen")).to_contain_text("edited by hand")
    expect(chat.locator(".vs-call").first).to_contain_text("[600, 600, 900, 900]")
    ended(page)
    page.get_by_role("button", name="Prefer path over first").locator("visible=true").click()
    expect(page.locator("#vs-pen-image")).to_contain_text("a recipe of kind prefer")


def test_two_are_compared(page, examples):
    tab(page, "Compare")
    page.locator(".vs-example:visible").first.click()
    until(lambda: page.locator("#vs-question-compare textarea").input_value())
    page.get_by_role("button", name="Ask both").click()
    for side in ("left", "right"):
        page.wait_for_selector(f"#vs-compare-{side} .vs-end")
    expect(page.locator("#vs-compare-left")).to_contain_text("tiny/clean, with zoom")
    expect(page.locator("#vs-compare-right")).to_contain_text("tiny/weak, with zoom")


def test_a_tool_is_called_by_hand(page, examples):
    tab(page, "Tools")
    page.wait_for_selector("#vs-run-tool")
    page.locator("#vs-files-tools input[type=file]").set_input_files(str(examples[0].path))
    page.wait_for_selector("#vs-film-tools .vs-frame")
    # The form is drawn anew when the picture is there: what is typed before that is lost.
    expect(page.get_by_label("image:").locator("visible=true").first).to_have_value("image_1")
    box = page.get_by_label("box").locator("visible=true").first
    box.fill("100, 100, 500")
    page.locator("#vs-run-tool").click()
    expect(page.locator("#vs-tool-answer")).to_contain_text("bad_args")
    page.get_by_label("box").locator("visible=true").first.fill("100, 100, 500, 600")
    page.locator("#vs-run-tool").click()
    expect(page.locator("#vs-tool-answer")).to_contain_text("made image_2")
    assert page.locator("#vs-film-tools .vs-frame").count() == 2


def test_a_trace_is_replayed_step_by_step(page):
    tab(page, "Replay")
    page.get_by_label("Trace", exact=True).click()
    page.locator("ul[role=listbox] li").first.click()
    expect(page.locator("#vs-chat-replay .vs-step").first).to_contain_text("question")
    whole = page.locator("#vs-chat-replay .vs-step").count()
    slider = page.locator("#vs-step input[type=range]")
    slider.focus()
    page.keyboard.press("Home")
    expect(page.locator("#vs-chat-replay .vs-step")).to_have_count(1)
    assert whole > 1


def test_a_run_and_its_reports_are_shown(page):
    tab(page, "Learning")
    page.get_by_label("Run", exact=True).click()
    page.locator("ul[role=listbox] li").first.click()
    expect(page.locator("#vs-curves .vs-plot")).to_have_count(2)
    tab(page, "Leaderboard")
    expect(page.locator("#vs-leaders")).to_contain_text("0.500 (0.200 to 0.800)")


def test_points_in_space_are_seen(page):
    tab(page, "3D")
    page.locator(".vs-example:visible").first.click()
    page.wait_for_timeout(800)
    page.locator("#vs-run-space").click()
    expect(page.locator("#vs-space-said")).to_contain_text("points are shown")
    page.wait_for_selector("#vs-space-model canvas")


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("bad.png", b"GIF89a nothing of the kind"),
        ("<img src=x onerror=window.__evil=1>.png", b"<script>window.__evil=1</script>"),
    ],
)
def test_an_upload_that_is_no_picture_is_refused(page, tmp_path, name, data):
    (tmp_path / name).write_bytes(data)
    bring(page, "image", tmp_path / name)
    expect(page.locator("#vs-chat-image .vs-notice.bad")).to_be_visible()


def test_an_upload_that_is_too_large_is_refused(browser, here, tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (900, 900, 3), dtype=np.uint8)
    (tmp_path / "large.png").write_bytes(Image(noise).encode("PNG"))
    page = browser.new_page()
    page.goto(here[0])
    page.wait_for_selector("#vs-ask-image")
    bring(page, "image", tmp_path / "large.png")
    # The page refuses it itself; whoever asks without the page is answered 413 (fault S6).
    expect(page.locator("body")).to_contain_text("maximum allowed size", timeout=SECONDS)
    assert page.locator("#vs-board-image .vs-canvas").count() == 0
    page.close()


def test_what_models_write_stays_words(page, examples):
    ask(page, examples[0], "evil")
    chat = ended(page)
    expect(chat).to_contain_text("onerror=")
    for tag in ("script", "iframe", "link", "style", "video", "a"):
        assert chat.locator(tag).count() == 0, tag
    tab(page, "Leaderboard")
    expect(page.locator("#vs-leaders")).to_contain_text(CORPUS[0])


@pytest.mark.parametrize("size", [(1600, 900), (384, 384), (300, 1200)])
@pytest.mark.parametrize("width", [1280, 420])
def test_a_picture_keeps_its_shape(page, tmp_path, size, width):
    page.set_viewport_size({"width": width, "height": 900})
    path = tmp_path / "wide.png"
    path.write_bytes(Image(np.full((size[1], size[0], 3), 90, np.uint8)).encode("PNG"))
    bring(page, "image", path)
    shown = page.wait_for_selector("#vs-board-image .vs-canvas img").bounding_box()
    assert shown["width"] / shown["height"] == pytest.approx(size[0] / size[1], rel=0.03)


def test_a_box_is_given_without_a_mouse(page, examples):
    ask(page, examples[0])
    ended(page)
    page.get_by_role("button", name="Take the pen").locator("visible=true").click()
    calls = page.locator("#vs-calls-image textarea")
    expect(calls).not_to_have_value("")  # the end of an answer fills the pen, a moment later
    mine = '{"name": "zoom", "arguments": {"image": 1, "box": [0, 0, 9, 9]}}\n' * 2
    for _ in range(10):  # on a busy machine more than once, and then over what was typed
        calls.fill(mine)
        page.wait_for_timeout(400)
        if calls.input_value() == mine:
            break
    put = page.get_by_role("button", name="Put box into call").locator("visible=true")
    for label, value in zip(("x1", "y1", "x2", "y2"), (96, 96, 192, 192), strict=True):
        page.get_by_label(label, exact=True).locator("visible=true").fill(str(value))
    put.click()
    expect(calls).to_have_value(re.compile(r"\[250, 250, 500, 500\].*\n.*\[0, 0, 9, 9\]"))


def test_a_file_name_fetches_nothing(page, tmp_path):
    # Gradio shows the name of a file of a wrong kind as markup; "/" is written so that it may
    # stand in a name. What the page asks for is checked at its end.
    bad = tmp_path / '<img src="http:&#47;&#47;203.0.113.9&#47;x" onerror=window.__evil=1>.txt'
    bad.write_text("no video")
    page.evaluate("document.addEventListener('securitypolicyviolation', () => window.__held = 1)")
    tab(page, "Video")
    bring(page, "video", bad)
    page.wait_for_function("window.__held === 1")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_can_be_read_in_either_scheme(browser, here, scheme):
    one = browser.new_page(color_scheme=scheme)
    one.goto(here[0])
    one.wait_for_selector("#vs-ask-image", timeout=SECONDS)
    colours = one.evaluate(
        """() => { const style = (s, k) => getComputedStyle(document.querySelector(s))[k];
        return [style('.vs-top p', 'color'), style('body', 'backgroundColor')]; }"""
    )
    one.close()
    light, dark = sorted((luminance(c) for c in colours), reverse=True)
    assert (light + 0.05) / (dark + 0.05) >= 4.5, colours


def luminance(colour):
    """Relative luminance of `rgb(...)` (WCAG 2)."""
    numbers = colour[colour.index("(") + 1 : -1].split(",")[:3]
    shares = [float(n) / 255 for n in numbers]
    linear = [s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4 for s in shares]
    return sum(w * v for w, v in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_every_tab_has_its_pictures():
    """The ones in the documentation, light and dark, made by scripts/studio_pictures.py."""
    folder = Path(__file__).parents[1] / "docs" / "demo" / "images"
    names = ("image", "pen", "video", "compare", "space", "tools", "replay", "learning")
    names += ("leaderboard",)
    for name in names:
        for scheme in ("light", "dark"):
            assert (folder / f"{name}-{scheme}.png").stat().st_size <= 150_000
    assert (folder / "zoom.gif").stat().st_size <= 1_000_000


def test_a_full_queue_is_told_and_looking_around_goes_on(browser, examples, tmp_path):
    def ask_long(one):
        # Nobody waits for the answer: the studio is closed before it comes.
        file, words = handle_file(str(examples[0].path)), examples[0].question
        one.submit(file, words, "slow", ["zoom"], 0, 0, api_name="/ask")

    with studio(tmp_path, at_once=1, max_waiting=1) as (address, household):
        many = [client(address) for _ in range(2)]
        ask_long(many[0])
        until(lambda: any(s.places for s in household.sessions._all.values()))
        ask_long(many[1])
        page = browser.new_page()
        page.set_default_timeout(SECONDS)
        page.goto(address)
        page.locator(".vs-example:visible").first.click()
        page.wait_for_selector("#vs-board-image .vs-canvas img")
        page.locator("#vs-ask-image").click()
        expect(page.locator("#vs-chat-image")).to_contain_text("too many ask at once")
        page.close()
        for one in many:
            one._kill_heartbeat.set()
