"""Depth and points in space: two pictures in, a cloud that can be turned out."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np

from vtool.cloud_file import write_glb
from vtool.dialects.hermes import Hermes
from vtool.errors import DataError, VToolError
from vtool.media import Image
from vtool.message import Json, Message, ToolCall
from vtool.store import Cloud, DepthMap, Store
from vtool.tool import Tool, tools
from vtool.toolbox import Toolbox

from ..figure import data_address
from ..markup import Html, join, tag
from .board import plain_board
from .guard import asked_at
from .image_tab import open_picture
from .panels import notice
from .picture_input import picture_input
from .studio import Studio
from .viewer import make_panel, script
from .workbench import missing

METHODS = {
    "stereo pair": ("stereo_depth", "A rectified pair: left and right picture."),
    "two frames": ("parallax", "Two frames of a camera that moved sideways: order, no metres."),
    "one picture": ("depth", "A learned model: needs weights of yours."),
}
LARGEST = 60_000
"""Points that are sent to the page."""
FIRST = "Bring a pair of pictures, or choose the example."
Update = tuple[Any, ...]


class SpaceTab:
    """The tab.

    Args:
        studio: The household.
    """

    def __init__(self, studio: Studio) -> None:
        self.studio = studio

    def build(self) -> None:
        """Lay it out and wire it up."""
        with gr.Row(equal_height=False):
            with gr.Column(scale=5, min_width=340):
                self._inputs()
                self.said = make_panel(FIRST, "vs-said", elem_id="vs-space-said")
            with gr.Column(scale=6, min_width=360, elem_classes=["vs-stick"]):
                self.model = gr.Model3D(
                    label="Points in space: drag to turn, wheel to come closer",
                    height=460,
                    clear_color=(0.5, 0.5, 0.5, 0.0),
                    elem_id="vs-space-model",
                    interactive=False,
                )
                self.map = make_panel(
                    "The depth map appears here, with its scale.",
                    "vs-large",
                    elem_id="vs-space-map",
                )
        self._wire()

    def _inputs(self) -> None:
        with gr.Row(equal_height=True):
            self.pictures = [
                picture_input(name, f"vs-space-{name.split()[0].lower()}", height=170)
                for name in ("First (left)", "Second (right)")
            ]
        pair = example_pair(self.studio.sessions.root)
        self.pair = [str(p) for p in pair]
        strip = tag(
            "button",
            tag("img", src=data_address(Image.open(pair[0])), alt="", width=52, height=52),
            tag("span", "A stereo pair of two plates that only matching shows"),
            type="button",
            class_="vs-example",
            data_pick="example:0",
        )
        self.shelf = gr.HTML(strip, js_on_load=script(), elem_classes=["vs-panel"])
        with gr.Row():
            self.method = gr.Dropdown(
                list(METHODS), value="stereo pair", label="Depth from", min_width=140
            )
            self.baseline = gr.Number(0.1, label="Baseline in m", minimum=0, min_width=100)
            self.focal = gr.Number(400, label="Focal length in px", minimum=0, min_width=100)
        with gr.Row():
            self.run = gr.Button("Measure", variant="primary", elem_id="vs-run-space")
            self.halt = gr.Button("Stop", variant="stop", min_width=80)

    def _wire(self) -> None:
        self.run.click(
            self.measure,
            [*self.pictures, self.method, self.baseline, self.focal],
            [self.model, self.map, self.said],
            api_name="measure",
            show_progress="hidden",
            trigger_mode="once",
            concurrency_limit=self.studio.options.at_once,
            concurrency_id="play",
        )
        self.halt.click(self.stop, None, None, api_visibility="private", queue=False)
        self.shelf.select(
            lambda: tuple(self.pair),
            None,
            self.pictures,
            api_visibility="private",
            show_progress="hidden",
        )

    async def stop(self, request: gr.Request) -> None:
        """Stop measuring."""
        await self.studio.sessions.of(request.session_hash).stop()

    async def measure(
        self,
        first: str | None,
        second: str | None,
        method: str,
        baseline: float,
        focal: float,
        request: gr.Request,
    ) -> Update:
        """Depth, then points, then a file for the page."""
        try:
            images = [await asyncio.to_thread(open_picture, first)]
            if method != "one picture":
                images.append(await asyncio.to_thread(open_picture, second))
            tool = depth_tool(method, baseline, focal)
            session = self.studio.sessions.of(request.session_hash)
            store, told = await session.run(lift(tool, images), asked_at(request))
        except VToolError as err:
            return gr.skip(), gr.skip(), notice(str(err), "bad")
        path = session.file("cloud.glb")
        clouds = [e.value for e in store if isinstance(e.value, Cloud)]
        shown: Any = gr.update(value=None)
        if clouds:
            points = await asyncio.to_thread(save, clouds[0], store, path)
            told.append(f"{points} points are shown.")
            shown = str(path)
        pictures = store.images()
        board = plain_board(pictures[-1].value)  # type: ignore[arg-type]
        return shown, board, said(told)


def depth_tool(method: str, baseline: float, focal: float) -> Tool:
    """The tool behind a method, under what is known of the camera.

    Raises:
        DataError: No such method, or it lacks something here.
    """
    if method not in METHODS:
        raise DataError(f"expected one of {', '.join(METHODS)}, got {method[:40]!r}")
    tool = tools.get(METHODS[method][0])
    if method == "stereo pair" and baseline and focal:
        tool = tool.set(baseline_m=float(baseline), focal_px=float(focal))
    lacks = missing(tool)
    if lacks:
        raise DataError(lacks)
    return tool


async def lift(tool: Tool, images: Sequence[Image]) -> tuple[Store, list[str]]:
    """Depth of pictures, a picture of it, and its points where it is in metres.

    Returns:
        Everything that was made, and what the tools said.

    Raises:
        DataError: A tool refused.
    """
    store, box = Store(), Toolbox([tool, "show_depth", "point_cloud"])
    for image in images:
        store.add(image)
    names = [p.name for p in tool.spec.params if p.kind == "image"]
    told = []
    try:
        given: dict[str, Json] = {n: i for i, n in enumerate(names, 1)}
        told.append(await _call(box, store, tool.spec.name, given))
        depth = next(e for e in store if isinstance(e.value, DepthMap))
        told.append(await _call(box, store, "show_depth", {"depth": f"${depth.handle}"}))
        if depth.value.metric:  # type: ignore[union-attr]
            told.append(await _call(box, store, "point_cloud", {"depth": f"${depth.handle}"}))
        else:
            told.append("Without metres there are no points in space.")
    finally:
        await box.close()
    return store, told


async def _call(box: Toolbox, store: Store, name: str, given: dict[str, Json]) -> str:
    message: Message
    (message,) = await box.run([ToolCall(name, given)], store, Hermes(), store.size)
    fault = message.outcomes[0].fault
    if fault is not None:
        raise DataError(f"{name}: {fault.message}" + (f" ({fault.hint})" if fault.hint else ""))
    return message.text


def save(cloud: Cloud, store: Store, path: Path) -> int:
    """Write points for the page, in the colours of the first picture; how many."""
    depth = next(e.value for e in store if isinstance(e.value, DepthMap))
    source = store.images()[0].value
    assert isinstance(depth, DepthMap)
    assert isinstance(source, Image)
    height, width = depth.values.shape
    colors = source.resize((width, height)).pixels[depth.valid]
    chosen = np.arange(len(cloud.points))
    if len(chosen) > LARGEST:
        chosen = np.random.default_rng(0).choice(chosen, LARGEST, replace=False)
    whole = len(colors) == len(cloud.points)
    write_glb(Cloud(cloud.points[chosen]), path, colors[chosen] if whole else None)
    return len(chosen)


def said(told: Sequence[str]) -> Html:
    """What the tools said."""
    return join([tag("p", words, class_="vs-words") for words in told if words])


def example_pair(root: Path) -> tuple[Path, Path]:
    """A stereo pair with true geometry, drawn when the studio opens."""
    from vtool.worlds.depth import draw
    from vtool.worlds.zoom import Split

    folder = root / "examples"
    folder.mkdir(parents=True, exist_ok=True)
    sample = draw(np.random.default_rng(5), Split.HELD_OUT)
    paths = (folder / "left.png", folder / "right.png")
    for path, pixels in zip(paths, sample.pictures, strict=True):
        path.write_bytes(Image(pixels).encode("PNG"))
    return paths
