"""What Gradio does and this studio does not: fetch addresses for visitors, log what they wrote."""

from __future__ import annotations

import sys
import traceback
from typing import Any

from gradio import Error, processing_utils, queueing, route_utils, routes, utils


def close_doors() -> None:
    """Take both away, for the whole process."""
    processing_utils.async_ssrf_protected_download = refuse_address
    processing_utils.ssrf_protected_download = refuse_address  # type: ignore[assignment]
    for module in (queueing, routes, route_utils, utils):
        module.traceback = _Brief()  # type: ignore[attr-defined]


async def refuse_address(url: str, cache_dir: str) -> str:
    """Nobody makes this machine ask another one.

    Raises:
        Error: Always.
    """
    said = "expected an uploaded file, got an address: nothing is fetched here"
    raise Error(said, print_exception=False)


class _Brief:
    """The module `traceback`, with errors told in one line."""

    def __getattr__(self, name: str) -> Any:
        return getattr(traceback, name)

    @staticmethod
    def print_exc(*_: Any, **__: Any) -> None:
        """Say what went wrong."""
        print(brief(sys.exception()), file=sys.stderr)


def brief(error: BaseException | None) -> str:
    """Kind and place of an error; its words may hold what a visitor wrote."""
    frames = traceback.extract_tb(error.__traceback__) if error else []
    where = f" at {frames[-1].filename}:{frames[-1].lineno}" if frames else ""
    return f"studio: {type(error).__name__}{where}"
