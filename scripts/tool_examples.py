"""One example call a tool, for its page: photographs, steps before it, and its arguments.

A new tool needs a row in `EXAMPLES`. Photographs are those inside scikit-image.
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from example_pictures import ellipse, photo
from example_video import film
from PIL import Image as PILImage
from vtool.vision_tools.draw_point import around
from vtool.vision_tools.drawing import COLORS, Canvas, line_width, text_size

from vtool.dialects.hermes import Hermes
from vtool.dialects.wording import said
from vtool.geometry import Box, Mask, Point
from vtool.media import Clip, Image
from vtool.message import Found, Json, Message, Show, Text, ToolCall
from vtool.store import DepthMap, Store
from vtool.tool import choose
from vtool.toolbox import Toolbox
from vtool.video.source import Video

HEIGHT = 260
"""Pixels of a picture on a page."""
WIDEST = 1000
MOST_BYTES = 60_000
MOST_LINES = 12
"""Lines of what a model is told that a page shows."""
LONGEST = 24
"""Characters of a label that is drawn; lines of text would hide what they stand on."""
FRAMES = 4
"""Of a clip that a page shows."""
_GAP = 12


@dataclass(frozen=True, slots=True)
class Example:
    """A call that shows what a tool does.

    Args:
        arguments: As a model writes them in the Hermes dialect.
        photos: Names of photographs or drawings (or `film`), the pictures 1, 2 ... of the episode.
        before: Calls that make what this one needs: (tool, arguments).
        settings: By tool, where other than the defaults are wanted.
        masks: Ellipses to be put into the store first, as `$mask_1` ...: each its box in shares.
        pictured: Whether there is something to show; a page without picture says the words alone.
    """

    arguments: Mapping[str, Json]
    photos: Sequence[str] = ()
    before: Sequence[tuple[str, Mapping[str, Json]]] = ()
    settings: Mapping[str, Mapping[str, Json]] = field(default_factory=dict)
    masks: Sequence[tuple[float, float, float, float]] = ()
    pictured: bool = True


@dataclass(frozen=True, slots=True)
class Shown:
    """What came of an example."""

    told: str
    picture: bytes | None


FILM = ("motorcycle_left", "chelsea")
"""What the film shows."""
_CUP = [240, 20, 720, 680]
_MOTOR = ("motorcycle_left", "motorcycle_right")
_PAIR = ("stereo_depth", {"left": 1, "right": 2})
_CAMERA = {
    "stereo_depth": {
        "baseline_m": 0.193001,
        "focal_px": 994.978,
        "cx_px": 311.193,
        "cy_px": 254.877,
        "doffs_px": 31.086,
        "width_px": 741,
        "height_px": 500,
    }
}
"""Calibration of the Middlebury pair at the size in which scikit-image holds it."""


def _in_space(arguments: Mapping[str, Json], **more: object) -> Example:
    """An example on the depth map of the stereo pair."""
    return Example(arguments, _MOTOR, (_PAIR,), _CAMERA, **more)  # type: ignore[arg-type]


_WHEELS = ((0.03, 0.52, 0.3, 0.98), (0.66, 0.5, 0.9, 0.95))
_FLOOR = (0.35, 0.85, 0.6, 1.0)


def _on_clouds(arguments: Mapping[str, Json], *masks: tuple[float, float, float, float]) -> Example:
    """An example on clouds of parts of the stereo pair."""
    cuts = [
        ("point_cloud", {"depth": "$depth_1", "mask": f"$mask_{i}"})
        for i in range(1, 1 + len(masks))
    ]
    return Example(arguments, _MOTOR, (_PAIR, *cuts), _CAMERA, masks, pictured=False)


def _of_film(arguments: Mapping[str, Json], *, pictured: bool = True) -> Example:
    """An example on the film."""
    return Example({"video": "$video_1", **arguments}, ("film",), pictured=pictured)


EXAMPLES: Mapping[str, Example] = {
    "cloud_distance": _on_clouds({"first": "$cloud_1", "second": "$cloud_2"}, *_WHEELS),
    "combine_masks": Example(
        {"first": "$mask_1", "second": "$mask_2", "how": "difference"},
        ("coffee",),
        masks=[(0.12, 0.15, 0.8, 0.97), (0.28, 0.02, 0.68, 0.7)],
    ),
    "find_axes": Example({"image": 1}, ("chart",)),
    "find_subplots": Example({"image": 1}, ("panels",)),
    "measure_mask": Example({"mask": "$mask_1"}, ("coffee",), masks=[(0.12, 0.15, 0.8, 0.97)]),
    "python": Example(
        {
            "code": "import numpy as np\nred = np.asarray(images['image_1'])[:, :, 0]\nshow(red)\n"
            "print('mean red', red.mean().round(1))"
        },
        ("coffee",),
    ),
    "retrieve": Example(
        {"query": "mirror writing"},
        settings={"retrieve": {"folder": "docs/tools", "k": 2, "chars": 160}},
        pictured=False,
    ),
    "search": Example(
        {"query": "mirror writing"},
        settings={"search": {"backend": "folder", "folder": "docs/tools", "k": 2, "chars": 160}},
        pictured=False,
    ),
    "segment": Example({"image": 1, "box": [80, 60, 830, 950], "show": True}, ("coffee",)),
    "segment_everything": Example({"image": 1, "most": 8}, ("coffee",), pictured=False),
    "show_mask": Example(
        {"image": 1, "mask": "$mask_1"}, ("astronaut",), masks=[(0.27, 0.0, 0.6, 0.36)]
    ),
    "crop_video": _of_film({"span": [0.5, 1.5], "box": [300, 200, 800, 900], "count": 4}),
    "find_changes": _of_film({}, pictured=False),
    "glance": _of_film({}),
    "read_subtitles": _of_film({"span": [0, 3]}, pictured=False),
    "resample": _of_film({"span": [1.5, 2.5], "count": 4}),
    "select_frames": _of_film({"times": [0.5, 1.5, 3.5]}),
    "contact_sheet": Example(
        {"images": [1, 2, 3], "columns": 3}, ("coffee", "astronaut", "chelsea")
    ),
    "depth": Example({"image": 1}, ("coffee",), pictured=False),
    "depth_at": _in_space({"depth": "$depth_1", "points": [[450, 500], [900, 300]]}),
    "detect": Example({"image": 1}, ("motorcycle_left",)),
    "distance": _in_space({"depth": "$depth_1", "first": [200, 700], "second": [880, 780]}),
    "draw_box": Example(
        {"image": 1, "boxes": [_CUP, [540, 560, 700, 830]], "labels": ["cup", "spoon"]},
        ("coffee",),
    ),
    "draw_line": Example(
        {"image": 1, "points": [[0, 380], [1000, 380]], "color": "yellow"}, ("coffee",)
    ),
    "draw_point": Example(
        {
            "image": 1,
            "points": [[383, 365], [720, 455]],
            "labels": ["left eye", "right eye"],
            "color": "cyan",
        },
        ("chelsea",),
    ),
    "edges": Example({"image": 1}, ("coffee",)),
    "fit_plane": _on_clouds({"cloud": "$cloud_1"}, _FLOOR),
    "flip": Example({"image": 1, "direction": "horizontal"}, ("astronaut",)),
    "grid": Example({"image": 1, "columns": 6}, ("chelsea",)),
    "ground": Example({"image": 1, "phrases": ["the spoon"]}, ("coffee",), pictured=False),
    "highlight": Example(
        {"image": 1, "mask": "$mask_1"}, ("astronaut",), masks=[(0.27, 0.0, 0.6, 0.36)]
    ),
    "magnify": Example({"image": 1, "box": [250, 660, 430, 830], "factor": 4}, ("astronaut",)),
    "mask_out": Example(
        {"image": 1, "boxes": [[330, 60, 550, 340]], "fill": "blur"}, ("astronaut",)
    ),
    "object_size": _in_space(
        {"depth": "$depth_1", "mask": "$mask_1"}, masks=[(0.13, 0.53, 0.32, 0.88)]
    ),
    "oriented_box": _on_clouds({"cloud": "$cloud_1"}, _WHEELS[0]),
    "parallax": Example({"first": 1, "second": 2}, _MOTOR),
    "point": Example({"image": 1, "phrase": "cat"}, ("chelsea",)),
    "point_cloud": _in_space({"depth": "$depth_1"}, pictured=False),
    "read_text": Example({"image": 1}, ("notice",)),
    "rotate": Example({"image": 1, "degrees": 25}, ("astronaut",)),
    "show_depth": _in_space({"depth": "$depth_1"}),
    "stereo_depth": Example({"left": 1, "right": 2}, _MOTOR, settings=_CAMERA),
    "zoom": Example({"image": 1, "box": [540, 560, 700, 830]}, ("coffee",)),
    "zoom_many": Example(
        {"image": 1, "boxes": [[320, 60, 560, 340], [690, 130, 850, 560], [400, 700, 600, 900]]},
        ("astronaut",),
    ),
}


def play(name: str, example: Example) -> Shown:
    """Carry the example out.

    Raises:
        RuntimeError: The tool refused it.
    """
    store = Store()
    for one in example.photos:
        store.add(film(*map(photo, FILM)) if one == "film" else photo(one))
    for box in example.masks:
        store.add(ellipse(Box(*box), store.image("image_1")))
    for tool, arguments in (*example.before, (name, example.arguments)):
        message = _call(tool, arguments, example, store)
    picture = compose(message, store) if example.pictured else None
    return Shown(_words(message, store), picture)


def _call(name: str, arguments: Mapping[str, Json], example: Example, store: Store) -> Message:
    box = Toolbox([choose({name: example.settings.get(name, {})})])
    calls = [ToolCall(name, dict(arguments))]
    (message,) = asyncio.run(box.run(calls, store, Hermes(), store.size))
    if (fault := message.outcomes[0].fault) is not None:
        raise RuntimeError(f"the example of {name} was refused: {fault.code}: {fault.message}")
    return message


def _words(message: Message, store: Store) -> str:
    """What the model is told, with a line for each picture."""
    dialect, lines = Hermes(), []
    for piece in said(message, dialect, store, store.size):
        if isinstance(piece, Show):
            size = "{}x{} pixels".format(*(store.size(piece.handle) or (0, 0)))
            lines.append(f"[picture {dialect.picture_name(piece.handle, store)}, {size}]")
        elif isinstance(piece, Text):
            lines += [line for line in piece.text.splitlines() if line.strip()]
    more = len(lines) - MOST_LINES
    return "\n".join([*lines[:MOST_LINES], *([f"... and {more} lines more"] if more > 0 else [])])


def compose(message: Message, store: Store) -> bytes:
    """What the call was given beside what came of it, as a JPEG file."""
    outcome = message.outcomes[0]
    given = list(dict.fromkeys(outcome.bound.media.values())) if outcome.bound else []
    given = given or [e.handle for e in store.images() if e.handle not in outcome.handles]
    right = [p for p in (_pictured(h, store) for h in outcome.handles) if p is not None]
    # A depth map beside itself in colours would show nothing: then the photograph is better.
    given = [_photo_of(h, store) if right else h for h in given]
    left = [p for p in (_pictured(h, store) for h in given) if p is not None]
    if outcome.found and not right:
        right = [_drawn(outcome.found, store)]
    return _jpeg(_beside([*left, None, *right]))


def _pictured(handle: str, store: Store) -> Image | None:
    """A value as a picture, where it has a look."""
    value = store[handle].value
    if isinstance(value, Image):
        return value
    if isinstance(value, Video):
        value = choose("glance")(value).values[0]
        assert isinstance(value, Clip)
        return value.frames[0]
    if isinstance(value, Clip):
        return _strip(value)
    if isinstance(value, Mask):
        return Image(np.repeat(value.cells[:, :, None].astype(np.uint8) * 255, 3, axis=2))
    if isinstance(value, DepthMap):
        seen = choose("show_depth")(value).values[0]
        assert isinstance(seen, Image)
        return seen
    return None


def _strip(clip: Clip) -> Image:
    """Some frames side by side."""
    count = min(len(clip.frames), FRAMES)
    chosen = [round(i * (len(clip.frames) - 1) / max(1, count - 1)) for i in range(count)]
    white = np.full((clip.size[1], 4, 3), 255, np.uint8)
    parts = [part for i in chosen for part in (clip.frames[i].pixels, white)]
    return Image(np.concatenate(parts[:-1], axis=1))


def _photo_of(handle: str, store: Store) -> str:
    """The picture on which a depth map lies; other handles stay."""
    while isinstance(store[handle].value, DepthMap) and store[handle].origin.parent:
        handle = str(store[handle].origin.parent)
    return handle


def _drawn(found: Sequence[Found], store: Store) -> Image:
    """Findings drawn on the picture in which most of them lie."""
    handle = found[0].region.media
    while not isinstance(store[handle].value, Image):
        handle = store[handle].origin.parent or "image_1"
    image = store.image(handle)
    canvas, ink = Canvas(image), COLORS["red"]
    legible = len(found) <= MOST_LINES and all(len(thing.label) <= LONGEST for thing in found)
    for thing in found:
        shape = thing.region.shape
        box = shape.box() if isinstance(shape, Mask) else shape
        if isinstance(box, Point):
            canvas.dot(box, ink, 2 * line_width(image.size))
            box = around(box, 2 * line_width(image.size), image)
        elif isinstance(box, Box):
            canvas.frame(box, ink, line_width(image.size))
        if isinstance(box, Box) and legible:
            canvas.label(thing.label, box, ink, text_size(image.size))
    return canvas.done()


def _beside(pictures: Sequence[Image | None]) -> PILImage.Image:
    """Pictures of one height side by side; None stands for the arrow between them."""
    count = max(1, sum(p is not None for p in pictures))
    share = sum(p.size[0] / p.size[1] for p in pictures if p is not None)
    room = WIDEST - _GAP * (count + 4)
    height = round(min(HEIGHT, room / share))
    parts = [_arrow(height) if p is None else _scaled(p, height) for p in pictures]
    paper = PILImage.new(
        "RGB", (sum(p.width for p in parts) + _GAP * (len(parts) - 1), height), (255, 255, 255)
    )
    x = 0
    for part in parts:
        paper.paste(part, (x, (height - part.height) // 2))
        x += part.width + _GAP
    return paper


def _scaled(picture: Image, height: int) -> PILImage.Image:
    width = max(1, round(picture.size[0] * height / picture.size[1]))
    return PILImage.fromarray(picture.pixels).resize((width, height), PILImage.Resampling.LANCZOS)


def _arrow(height: int) -> PILImage.Image:
    canvas = Canvas(Image(np.full((height, 36, 3), 255, np.uint8)))
    for path in (((0.1, 0.5), (0.9, 0.5)), ((0.6, 0.46), (0.9, 0.5), (0.6, 0.54))):
        canvas.path([Point(x, y) for x, y in path], (90, 90, 90), 3)
    return PILImage.fromarray(canvas.done().pixels)


def _jpeg(picture: PILImage.Image) -> bytes:
    """The best quality that stays small."""
    for quality in range(88, 40, -6):
        out = io.BytesIO()
        picture.save(
            out, "JPEG", quality=quality, optimize=True, subsampling=0 if quality > 80 else 2
        )
        if out.tell() <= MOST_BYTES:
            break
    return out.getvalue()
