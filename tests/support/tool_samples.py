"""A sample call of every registered tool, for the properties in `test_tools_all.py`.

`SAMPLES` maps a tool's name to a function that makes `(store, arguments)`: an episode's store,
and the arguments as a model writes them in the Hermes dialect (pictures by number from 1, boxes
and points in thousandths, other values by handle). A new tool needs one row here; keep it small,
it is run some hundred times. `SETTINGS` holds what people must choose before a tool can run. A
tool whose pictures do not show single pixels of its sources (a model's, a matcher's) is named in
`WHOLE`, with the reason.

To add rows of a room without touching this file, write `tests/support/tool_samples_<room>.py`
with its own `SAMPLES` (and `SETTINGS`, `WHOLE`): every file of that name is read.
"""

import importlib
from pathlib import Path

import numpy as np
import raycast
from pictures import textured
from PIL import Image as PILImage
from PIL import ImageDraw, ImageFont

from vtool.geometry import Mask
from vtool.media import Image
from vtool.store import Cloud, Origin, Store
from vtool.transform import Affine


def smooth(width=160, height=120, seed=0):
    """A picture of soft middle tones, so that a black or white mark stands out anywhere."""
    y, x = np.mgrid[0:height, 0:width].astype(float)
    planes = [
        128 + 24 * np.sin(x / (9 + 2 * c + seed) + c) * np.cos(y / (11 + c) + seed)
        for c in range(3)
    ]
    return Image(np.stack(planes, axis=-1).round().astype(np.uint8))


def filled(*values):
    store = Store()
    for value in values:
        store.add(value)
    return store


def ellipse(width=160, height=120):
    y, x = np.mgrid[0:height, 0:width]
    return Mask(((x - width * 0.4) / (width / 4)) ** 2 + ((y - height / 2) / (height / 3)) ** 2 < 1)


def one_picture(**arguments):
    return lambda: (filled(smooth()), {"image": 1, **arguments})


def picture_and_mask(**arguments):
    return lambda: (filled(smooth(), ellipse()), {"image": 1, "mask": "$mask_1", **arguments})


def three_pictures():
    store = filled(smooth(), smooth(90, 130, 1), smooth(130, 90, 2))
    return store, {"images": [2, 1, 3], "side": 120}


def lettered():
    """Dark words on a light ground."""
    paper = PILImage.new("RGB", (320, 90), (250, 250, 245))
    face = ImageFont.load_default(36)
    ImageDraw.Draw(paper).text((20, 20), "Platform 9 to Kyoto", (10, 10, 10), face)
    return Image(np.asarray(paper))


def chart():
    """A frame with ticks, and numbers at them."""
    paper = PILImage.new("RGB", (320, 240), (255, 255, 255))
    draw, face = ImageDraw.Draw(paper), ImageFont.load_default(14)
    draw.rectangle((50, 20, 300, 200), outline=(0, 0, 0))
    for i in range(6):
        x, y = 50 + 50 * i, 200 - 36 * i
        draw.line((x, 200, x, 206), (0, 0, 0))
        draw.text((x, 210), str(2 * i), (0, 0, 0), face, anchor="mt")
        draw.line((44, y, 50, y), (0, 0, 0))
        draw.text((40, y), str(20 * i), (0, 0, 0), face, anchor="rm")
    return Image(np.asarray(paper))


def two_masks():
    half = Mask(np.arange(160)[None, :].repeat(120, 0) < 80)
    return filled(smooth(), ellipse(), half), {"first": "$mask_1", "second": "$mask_2"}


def pair(left, right):
    wide = textured(168, 120)
    pictures = [Image(np.ascontiguousarray(wide[:, at : at + 160])) for at in (0, 8)]
    return lambda: (filled(*pictures), {left: 1, right: 2})


def depth_of_a_scene(*, masks=(), **arguments):
    """A picture, its depth map in metres, and masks of it."""

    def make():
        depth = raycast.scene()
        store = filled(smooth(depth.values.shape[1], depth.values.shape[0]))
        for value in (depth, raycast.ball()):
            store.add(value, Origin("image_1", transform=Affine.identity()))
        return store, {"depth": "$depth_1", **dict.fromkeys(masks, "$mask_1"), **arguments}

    return make


def clouds(*names):
    rng = np.random.default_rng(0)
    blocks = [rng.uniform(-1, 1, (200, 3)).astype(np.float32) * (1, 0.5, 0.02) for _ in names]
    apart = np.array([3, 0, 0])
    values = [Cloud((b + apart * i + 4).astype(np.float32)) for i, b in enumerate(blocks)]
    return lambda: (filled(*values), {n: f"$cloud_{i}" for i, n in enumerate(names, 1)})


def one_picture_for_code():
    return filled(smooth()), {"code": "show(images['image_1']); print(6 * 7)"}


BOX = [200, 250, 800, 750]

SAMPLES = {
    "cloud_distance": clouds("first", "second"),
    "combine_masks": two_masks,
    "contact_sheet": three_pictures,
    "depth": one_picture(),
    "depth_at": depth_of_a_scene(points=[[500, 500], [250, 800]]),
    "detect": one_picture(),
    "distance": depth_of_a_scene(first=[250, 800], second=[500, 500]),
    "draw_box": one_picture(boxes=[BOX], labels=["thing"]),
    "draw_line": one_picture(points=[[100, 100], [900, 800]]),
    "draw_point": one_picture(points=[[300, 300]], labels=["here"]),
    "edges": one_picture(),
    "find_axes": lambda: (filled(chart()), {"image": 1}),
    "find_subplots": lambda: (filled(chart()), {"image": 1}),
    "fit_plane": clouds("cloud"),
    "flip": one_picture(),
    "grid": one_picture(columns=4),
    "ground": one_picture(phrases=["a red mug"]),
    "highlight": picture_and_mask(dim=0.4),
    "magnify": one_picture(box=BOX, factor=2.5),
    "mask_out": picture_and_mask(hide="outside"),
    "measure_mask": lambda: (filled(ellipse()), {"mask": "$mask_1"}),
    "object_size": depth_of_a_scene(masks=("mask",)),
    "oriented_box": clouds("cloud"),
    "parallax": pair("first", "second"),
    "point": one_picture(phrase="dog"),
    "point_cloud": depth_of_a_scene(),
    "python": one_picture_for_code,
    "read_text": lambda: (filled(lettered()), {"image": 1}),
    "retrieve": lambda: (filled(smooth()), {"query": "picture"}),
    "rotate": one_picture(degrees=30),
    "search": lambda: (filled(smooth()), {"query": "picture"}),
    "segment": one_picture(box=BOX, show=True),
    "segment_everything": one_picture(),
    "show_depth": lambda: (filled(raycast.scene()), {"depth": "$depth_1"}),
    "show_mask": picture_and_mask(),
    "stereo_depth": pair("left", "right"),
    "zoom": one_picture(box=BOX),
    "zoom_many": one_picture(boxes=[BOX, [0, 0, 400, 500]]),
}

ROOT = Path(__file__).parent.parent.parent

SETTINGS: dict[str, dict[str, object]] = {
    "retrieve": {"folder": str(ROOT / "docs" / "tools")},
    "search": {"backend": "folder", "folder": str(ROOT / "docs" / "tools")},
}

WHOLE = {
    "segment": "where the mask's edge runs depends on the whole picture",
    "segment_everything": "where the masks' edges run depends on the whole picture",
}


def _rooms():
    return sorted(Path(__file__).parent.glob("tool_samples_*.py"))


for _room in _rooms():
    _module = importlib.import_module(_room.stem)
    SAMPLES |= _module.SAMPLES
    SETTINGS |= getattr(_module, "SETTINGS", {})
    WHOLE |= getattr(_module, "WHOLE", {})
