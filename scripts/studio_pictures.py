"""Pictures of every tab of the studio, light and dark, and a short film of an agent that zooms.

    python scripts/studio_pictures.py --runs runs

Opens the studio, drives it with a real browser as a person would, and writes docs/demo/images.
The folder of runs should hold a training run and evaluation reports (`make quickstart`).
"""

from __future__ import annotations

import argparse
import asyncio
import io
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import Page, sync_playwright
from vtool.demos.studio.app import build, launch, make_studio
from vtool.demos.studio.examples import picture_examples
from vtool.demos.studio.options import Options

OUT = Path(__file__).parents[1] / "docs" / "demo" / "images"
SIZE = {"width": 1360, "height": 900}
TALL = {"width": 1360, "height": 1600}
LARGEST = 150_000
GIF_BYTES = 1_000_000


def tab(page: Page, name: str) -> None:
    """Turn to a tab."""
    page.get_by_role("tab", name=name, exact=True).click()
    page.wait_for_timeout(400)


def example(page: Page, number: int) -> None:
    """Take an example of the tab that is open."""
    page.locator(".vs-example:visible").nth(number).click()
    page.wait_for_timeout(2500)


def choose(page: Page, label: str, number: int = 0) -> None:
    """Choose from a list."""
    page.get_by_label(label, exact=True).locator("visible=true").first.click()
    page.locator("ul[role=listbox] li").nth(number).click()
    page.wait_for_timeout(2500)


def ended(page: Page, name: str) -> None:
    """Wait until the steps of a tab are all there."""
    page.wait_for_selector(f"#vs-chat-{name} .vs-end", timeout=60_000)
    page.wait_for_timeout(500)


def image(page: Page) -> None:
    """A question that takes two looks."""
    example(page, 1)
    page.locator("#vs-ask-image").click()
    ended(page, "image")


def pen(page: Page) -> None:
    """A box that a person draws, and the turn that it goes into."""
    canvas = page.locator("#vs-board-image .vs-canvas").bounding_box()
    assert canvas is not None
    x, y, w, h = (canvas[k] for k in ("x", "y", "width", "height"))
    page.mouse.move(x + 0.55 * w, y + 0.55 * h)
    page.mouse.down()
    page.mouse.move(x + 0.8 * w, y + 0.8 * h, steps=6)
    page.mouse.up()
    page.wait_for_timeout(1200)
    page.locator("#vs-pen-image button").first.click()
    page.wait_for_timeout(500)
    page.evaluate("window.scrollTo(0, 100)")
    page.wait_for_timeout(500)


def video(page: Page) -> None:
    """A question about a video, and the look that was chosen."""
    tab(page, "Video")
    example(page, 0)
    page.locator("#vs-ask-video").click()
    ended(page, "video")
    page.locator("#vs-chat-video .vs-call").first.click()
    page.wait_for_timeout(1000)
    page.evaluate("window.scrollTo(0, 330)")
    page.wait_for_timeout(300)


def compare(page: Page) -> None:
    """Two policies, one question."""
    tab(page, "Compare")
    example(page, 0)
    page.get_by_role("button", name="Ask both").click()
    for side in ("left", "right"):
        page.wait_for_selector(f"#vs-compare-{side} .vs-end", timeout=60_000)
    page.evaluate("window.scrollTo(0, 420)")
    page.wait_for_timeout(500)


def space(page: Page) -> None:
    """A cloud from a pair of pictures."""
    tab(page, "3D")
    example(page, 0)
    page.locator("#vs-run-space").click()
    page.get_by_text("points are shown").wait_for(timeout=30_000)
    page.wait_for_timeout(6000)


def tools(page: Page) -> None:
    """A tool by hand."""
    tab(page, "Tools")
    page.locator("#vs-files-tools input[type=file]").set_input_files(str(SAMPLES[0]))
    page.wait_for_selector("#vs-film-tools .vs-frame")
    page.wait_for_timeout(1200)
    page.get_by_label("box").locator("visible=true").first.fill("60, 200, 340, 480")
    page.locator("#vs-run-tool").click()
    page.get_by_text("made image_2").wait_for(timeout=20_000)
    page.wait_for_timeout(1000)


def replay(page: Page) -> None:
    """A recorded episode."""
    tab(page, "Replay")
    choose(page, "Trace")


def learning(page: Page) -> None:
    """The curves of a run."""
    tab(page, "Learning")
    choose(page, "Run")


def leaderboard(page: Page) -> None:
    """Reports of evaluations."""
    tab(page, "Leaderboard")
    page.wait_for_timeout(1500)


STATIONS: tuple[Callable[[Page], None], ...] = (
    image,
    pen,
    video,
    compare,
    space,
    tools,
    replay,
    learning,
    leaderboard,
)
SAMPLES: list[Path] = []
"""What is laid on the bench."""


def shoot(page: Page, name: str) -> None:
    """Keep what is seen, with as many colours as fit."""
    shot = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    path = OUT / f"{name}.png"
    for colors in (256, 128, 64, 32):
        shot.quantize(colors, dither=Image.Dither.NONE).save(path, optimize=True)
        if path.stat().st_size <= LARGEST:
            return
    raise SystemExit(f"{path} has {path.stat().st_size} bytes, more than {LARGEST}")


def film(page: Page, address: str) -> None:
    """An agent that zooms, from the question to the answer."""
    page.goto(address)
    page.wait_for_selector("#vs-ask-image")
    frames: list[tuple[Image.Image, int]] = []

    def keep(milliseconds: int) -> None:
        shot = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
        frames.append((shot.resize((960, 636), Image.Resampling.LANCZOS), milliseconds))

    keep(900)
    example(page, 1)
    keep(1100)
    page.locator("#vs-ask-image").click()
    for _ in range(10):
        keep(250)
        if page.locator("#vs-chat-image .vs-end").count():
            break
    ended(page, "image")
    keep(1500)
    calls = page.locator("#vs-chat-image .vs-call")
    for n in range(calls.count()):
        calls.nth(n).click()
        page.wait_for_timeout(500)
        keep(1100)
    shown = page.locator("#vs-film-image .vs-frame")
    for n in range(1, shown.count()):
        shown.nth(n).click()
        page.wait_for_timeout(500)
        keep(1400)
    save_film(frames)


def save_film(frames: list[tuple[Image.Image, int]]) -> None:
    """Write the frames, one palette for all."""
    kept = [frames[0]]
    for frame, time in frames[1:]:
        last, before = kept[-1]
        if frame.tobytes() == last.tobytes():
            kept[-1] = (last, before + time)
        else:
            kept.append((frame, time))
    path = OUT / "zoom.gif"
    for colors in (128, 64, 32):
        palette = kept[-1][0].quantize(colors)
        images = [f.quantize(palette=palette, dither=Image.Dither.NONE) for f, _ in kept]
        images[0].save(
            path,
            save_all=True,
            append_images=images[1:],
            duration=[t for _, t in kept],
            loop=0,
            optimize=True,
        )
        if path.stat().st_size <= GIF_BYTES:
            return
    raise SystemExit(f"{path} has {path.stat().st_size} bytes, more than {GIF_BYTES}")


def tour(browser: Any, address: str, scheme: str, only: str) -> None:
    """Every tab under one scheme of colours."""
    for station in STATIONS:
        if only and only != station.__name__:
            continue
        size = TALL if station is pen else SIZE
        page = browser.new_page(viewport=size, color_scheme=scheme)
        page.goto(address)
        page.wait_for_selector("#vs-ask-image", timeout=60_000)
        if station is pen:
            image(page)
        station(page)
        shoot(page, f"{station.__name__}-{scheme}")
        print(f"{station.__name__}-{scheme}")
        page.close()


def main() -> None:
    """Open, drive, keep."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--only", default="", help="one picture, such as video; or film")
    args = parser.parse_args()
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
    if program is None:
        sys.exit("chromium is not installed: run `make system-deps`")
    OUT.mkdir(parents=True, exist_ok=True)
    options = Options(port=0, runs=args.runs)
    studio = make_studio(options)
    SAMPLES.append(picture_examples(studio.sessions.root)[1].path)
    page = build(studio)
    address = launch(page, options, wait=False)
    flags = ["--no-sandbox", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist"]
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=program, args=flags)
        for scheme in ("light", "dark"):
            tour(browser, address, scheme, args.only)
        if args.only in ("", "film"):
            film(browser.new_page(viewport=SIZE, color_scheme="light"), address)
        browser.close()
    page.close(verbose=False)
    asyncio.run(studio.close())


if __name__ == "__main__":
    main()
