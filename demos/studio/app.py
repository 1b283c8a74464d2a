"""The page: tabs, look and server. Everything that it shows comes from this machine."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from importlib.resources import files
from typing import Any

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

import gradio as gr
from starlette.middleware import Middleware

from vtool.errors import DataError

from .closed import close_doors
from .compare_tab import CompareTab
from .examples import picture_examples, video_examples
from .guard import EVERYWHERE, HostGuard, check_password, known_hosts
from .image_tab import ImageTab
from .leaderboard_tab import LeaderboardTab
from .learning_tab import LearningTab
from .options import Options
from .policies import Policies
from .replay_tab import ReplayTab
from .space_tab import SpaceTab
from .studio import Studio
from .tools_tab import ToolsTab
from .video_tab import VideoTab

TITLE = "vtool studio"
_FONT = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "Helvetica Neue", "sans-serif"]
_MONO = ["ui-monospace", "SF Mono", "Menlo", "Consolas", "monospace"]
_HEAD = """
<header class="vs-top"><h1>vtool studio</h1>
<p>Watch an agent think with images, and take the pen.</p></header>
"""


def build(studio: Studio) -> gr.Blocks:
    """The page."""
    close_doors()
    with gr.Blocks(
        title=TITLE,
        analytics_enabled=False,
        delete_cache=(600, studio.options.keep_seconds),
        fill_width=True,
    ) as page:
        gr.HTML(_HEAD, elem_classes=["vs-panel"])
        with gr.Tabs():
            for name, tab in _tabs(studio):
                with gr.Tab(name, id=name.lower()) as page_of:
                    tab.build()
                if hasattr(tab, "opened"):  # what lies in the folder of runs changes meanwhile
                    page_of.select(*tab.opened(), api_visibility="private", show_progress="hidden")
        page.unload(_leaver(studio))
    o = studio.options
    # Nobody past the queue: requests of their own would know no bound and no session.
    return page.queue(max_size=o.max_waiting, default_concurrency_limit=o.at_once, api_open=False)


def _tabs(studio: Studio) -> list[tuple[str, Any]]:
    root = studio.sessions.root
    pictures = picture_examples(root)
    return [
        ("Image", ImageTab(studio, pictures)),
        ("Video", VideoTab(studio, video_examples(root))),
        ("Compare", CompareTab(studio, pictures[:4])),
        ("3D", SpaceTab(studio)),
        ("Tools", ToolsTab(studio)),
        ("Replay", ReplayTab(studio)),
        ("Learning", LearningTab(studio)),
        ("Leaderboard", LeaderboardTab(studio)),
    ]


def _leaver(studio: Studio) -> Any:
    async def leave(request: gr.Request) -> None:
        await studio.sessions.leave(request.session_hash)

    return leave


def theme() -> gr.themes.Base:
    """Fonts of the system only: the page asks nobody for one."""
    return gr.themes.Base(
        primary_hue=gr.themes.colors.indigo,
        neutral_hue=gr.themes.colors.stone,
        radius_size=gr.themes.sizes.radius_md,
        font=_FONT,
        font_mono=_MONO,
    )


def look() -> str:
    """The style sheet."""
    return files(__package__).joinpath("theme.css").read_text(encoding="utf-8")


def upload_bound(options: Options) -> str:
    """The largest upload, as Gradio reads it."""
    return f"{options.max_upload_mb}mb"


def launch(page: gr.Blocks, options: Options, *, wait: bool = True) -> str:
    """Serve a page.

    Args:
        page: As `build` makes it.
        options: Where, and for whom.
        wait: Whether this call ends only when the server does.

    Returns:
        Its address.
    """
    password = options.password

    def admit(name: str, given: str) -> bool:
        return password is not None and check_password(name, given, password)

    _, address, _ = page.launch(
        server_name=options.host,
        server_port=options.port or None,
        auth=admit if password is not None else None,
        max_file_size=upload_bound(options),
        allowed_paths=[],
        share=False,
        quiet=True,
        show_error=True,
        prevent_thread_lock=not wait,
        strict_cors=True,
        ssr_mode=False,
        pwa=False,
        mcp_server=False,
        enable_monitoring=False,
        run_history=False,
        footer_links=[],
        theme=theme(),
        css=look(),
        app_kwargs={
            "middleware": [Middleware(HostGuard, hosts=known_hosts(options))],
            "docs_url": None,
            "redoc_url": None,
            "openapi_url": None,
        },
    )
    return str(address)


def make_studio(options: Options, policies: Policies | None = None) -> Studio:
    """The household behind a page."""
    return Studio(options, policies or Policies(options.models))


def serve(options: Options, tell: Any) -> None:
    """Open the studio and stay until it is interrupted.

    Args:
        options: Where, and for whom.
        tell: Takes lines for whoever started it.

    Raises:
        DataError: The port cannot be had.
    """
    if options.open_to_others:
        guarded = "with a password" if options.password else "WITHOUT a password (--password)"
        tell(f"vtool: {options.host} can be reached by other machines, {guarded}")
        if options.host in EVERYWHERE and not options.hosts:
            tell(
                "vtool: but only as localhost: say under which name or address others ask for it "
                "with --name"
            )
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # by the same way out as ctrl-C
    studio = make_studio(options)
    try:
        page = build(studio)
        try:
            address = launch(page, options, wait=False)
        except OSError as err:
            raise DataError(
                f"cannot listen on {options.host}, port {options.port}, which is taken or not "
                "allowed: choose another one with --port, 0 takes a free one"
            ) from err
        tell(f"the studio is open at {address}  (ctrl-C closes it)")
        page.block_thread()
    finally:
        asyncio.run(studio.close())
