"""Clicks on screens: ScreenSpot, its second version, and Pro."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

from vtool.benchmark import Layout
from vtool.geometry import Units
from vtool.task import Boxes, Task

from ..formats.media import file_picture, picture
from ..formats.records import Record
from .base import Ask, Source, Spec
from .choices import LOADED, READ
from .finding import parquet, table
from .places import box_of, corners_text, in_pixels
from .summaries import crossed
from .words import row_id

CLICK = (
    "Identify the UI element for the instruction and output exactly one click point as [x, y] in "
    "normalized coordinates within [0, 1]. Do not output a bounding box.\nInstruction: "
)


def middle_text(task: Task) -> list[str]:
    """The middle of the wanted box as an answer in unit coordinates."""
    assert isinstance(task.reference, Boxes)
    return [f"[{b.center.x}, {b.center.y}]" for b in task.reference.boxes]


_SCREEN_BOX = (
    "Bounding box coordinates are specified in the format (top-left x, top-left y, bottom-right x, "
    "bottom-right y). All values are floating point numbers bounded between 0 and 1 with two "
    "decimal places of precision (e.g., 0.15). Please provide the bounding box coordinates of the "
    "region that corresponds to the command: "
)


def platform(source: str) -> str:
    """Mobile, desktop or web, by the operating system named."""
    low = source.lower()
    if any(s in low for s in ("ios", "android", "mobile")):
        return "mobile"
    return "desktop" if any(s in low for s in ("macos", "windows", "linux", "desktop")) else "web"


def _screenspot(record: Record, root: Path) -> Iterator[Ask]:
    box = box_of(record.where, record.numbers("bbox", 4))
    yield Ask(
        id=row_id(record),
        words=_SCREEN_BOX + record.text("instruction"),
        media=(picture(record, "image"),),
        reference=Boxes((box,)),
        tags={
            "units": Units.UNIT.value,
            "platform": platform(record.text("data_source")),
            "type": record.text("data_type"),
        },
    )


def _screenspot_v2(record: Record, root: Path) -> Iterator[Ask]:
    yield Ask(
        id=row_id(record),
        words=CLICK + record.text("instruction"),
        media=(picture(record, "image"),),
        reference=Boxes((box_of(record.where, record.numbers("bbox", 4)),)),
        tags={
            "units": Units.UNIT.value,
            "platform": platform(record.text("data_source") if "data_source" in record else ""),
            "type": record.text("data_type"),
        },
        sized=True,
    )


def _from_json(record: Record, root: Path, folder: str) -> Iterator[Ask]:
    """A row of `screenspot_<platform>.json`: pixels, x y width height."""
    x, y, w, h = record.numbers("bbox", 4)
    yield Ask(
        id=row_id(record),
        words=CLICK + record.text("instruction"),
        media=(file_picture(record, root, f"{folder}/{record.text('img_filename')}"),),
        reference=in_pixels(record, (x, y, x + w, y + h)),
        tags={
            "units": Units.UNIT.value,
            "platform": platform(re.split(r"[_.]", record.where)[1]),
            "type": record.text("data_type"),
        },
        sized=True,
    )


def _screenspot_pro(record: Record, root: Path) -> Iterator[Ask]:
    yield Ask(
        id=record.text("id") if "id" in record else row_id(record),
        words=CLICK + record.text("instruction"),
        media=(file_picture(record, root, f"images/{record.text('img_filename')}"),),
        reference=in_pixels(record, record.numbers("bbox", 4)),
        tags={
            "units": Units.UNIT.value,
            "platform": record.text("platform") if "platform" in record else "",
            "type": record.text("ui_type"),
            "group": record.text("group") if "group" in record else "",
        },
        sized=True,
    )


def _screenspot_pro_hub(record: Record, root: Path) -> Iterator[Ask]:
    box = json.loads(record.text("bbox")) if isinstance(record["bbox"], str) else record["bbox"]
    named = Record(record.where, {**{k: record[k] for k in ("instruction",)}, "bbox": box})
    yield Ask(
        id=record.text("id") if "id" in record else row_id(record),
        words=CLICK + record.text("instruction"),
        media=(picture(record, "image"),),
        reference=in_pixels(named, named.numbers("bbox", 4)),
        tags={"units": Units.UNIT.value, "type": record.text("ui_type")},
        sized=True,
    )


SCREENSPOT = Spec(
    name="screenspot",
    about="Clicks on elements of screens (SeeClick, Cheng et al. 2024); 1272.",
    sources=(
        Source(
            layout=Layout(
                "HF parquet", "data/test-*.parquet of rootsautomation/ScreenSpot", LOADED
            ),
            rows=parquet("data/test-*.parquet", "test-*.parquet"),
            asks=_screenspot,
        ),
        Source(
            layout=Layout(
                "json with pictures",
                "screenspot_{mobile,desktop,web}.json, screenspot_imgs/",
                READ,
            ),
            rows=table("screenspot_[mdw]*.json"),
            asks=lambda r, root: _from_json(r, root, "screenspot_imgs"),
        ),
    ),
    metric="click",
    summary=crossed("platform", "type"),
    says=corners_text,
).benchmark()

SCREENSPOT_V2 = Spec(
    name="screenspot_v2",
    about="ScreenSpot with its annotations mended (OS-Atlas, Wu et al. 2025); 1272.",
    sources=(
        Source(
            layout=Layout("HF parquet", "test-*.parquet of HongxinLi/ScreenSpot_v2", LOADED),
            rows=parquet("data/test-*.parquet", "test-*.parquet"),
            asks=_screenspot_v2,
        ),
        Source(
            layout=Layout("json with pictures", "screenspot_*_v2.json, screenspotv2_image/", READ),
            rows=table("screenspot_*_v2.json"),
            asks=lambda r, root: _from_json(r, root, "screenspotv2_image"),
        ),
    ),
    metric="click",
    published="click_published",
    summary=crossed("platform", "type"),
    says=middle_text,
).benchmark()

SCREENSPOT_PRO = Spec(
    name="screenspot_pro",
    about="Clicks on professional screens of high resolution (Li et al. 2025); 1581.",
    sources=(
        Source(
            layout=Layout("HF parquet", "test-*.parquet with bbox and img_size as text", LOADED),
            rows=parquet("data/test-*.parquet", "test-*.parquet"),
            asks=_screenspot_pro_hub,
        ),
        Source(
            layout=Layout("json with pictures", "annotations/*.json, images/", READ),
            rows=table("annotations/*.json"),
            asks=_screenspot_pro,
        ),
    ),
    metric="click",
    published="click_published",
    summary=crossed("group", "type"),
    says=middle_text,
).benchmark()
