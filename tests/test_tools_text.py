"""Reading text: exact lines of documents, where they stand, and none where there are none."""

import asyncio
import logging
import os
import socket

import matplotlib
import numpy as np
import pytest
import skimage.data
from PIL import Image as PILImage
from PIL import ImageDraw, ImageFont
from vtool.vision_tools.backends.ocr import Line, read_lines, read_one, reading_order, widened
from vtool.vision_tools.read_text import bounded, read_text

from vtool.check import check_tool
from vtool.dialects.hermes import Hermes
from vtool.errors import ModelFault
from vtool.geometry import Box
from vtool.media import Image
from vtool.message import ToolCall
from vtool.store import Store
from vtool.toolbox import Toolbox

INVOICE = (
    "Invoice No. 2026-0417",
    "Widget A: 12 x $34.50",
    "Subtotal: $1,070.40",
    "VAT (20%): $214.08",
    "Total due: $1,284.48",
)
FONT = os.path.join(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")


def document(lines=INVOICE, size=(640, 320), at=(40, 30), step=52, points=22):
    """Rendered lines, and the box of ink of each in pixels."""
    font = ImageFont.truetype(FONT, points)
    sheet = PILImage.new("RGB", size, "white")
    draw, boxes = ImageDraw.Draw(sheet), []
    for i, line in enumerate(lines):
        place = (at[0], at[1] + i * step)
        draw.text(place, line, font=font, fill="black")
        boxes.append(draw.textbbox(place, line, font=font))
    return Image(np.asarray(sheet)), boxes


def grey(array):
    return Image(np.repeat(array[:, :, None], 3, 2) if array.ndim == 2 else array)


def overlap(a, b):
    shared = max(0, min(a[2], b[2]) - max(a[0], b[0])) * max(0, min(a[3], b[3]) - max(a[1], b[1]))
    area = [(c[2] - c[0]) * (c[3] - c[1]) for c in (a, b)]
    return shared / (sum(area) - shared)


def pixels(box, size):
    return (box.x1 * size[0], box.y1 * size[1], box.x2 * size[0], box.y2 * size[1])


def test_an_invoice_is_read_exactly_and_each_line_where_it_stands():
    image, boxes = document()
    found = read_text(image).found
    assert tuple(f.label for f in found) == INVOICE
    assert all(f.score > 0.95 for f in found)
    for finding, box in zip(found, boxes, strict=True):
        assert overlap(pixels(finding.shape, image.size), box) > 0.55


def test_reading_one_line_changes_nothing_for_the_next_document():
    before = [f.label for f in read_text(document()[0]).found]
    word = np.asarray(document(lines=("2026",), size=(120, 50), at=(10, 8))[0].pixels)
    assert read_one(word)[0] == "2026"
    assert [f.label for f in read_text(document()[0]).found] == before


def test_a_part_is_read_in_the_coordinates_of_the_whole():
    image, boxes = document()
    part = Box(0.02, boxes[3][1] / 320 - 0.02, 0.6, boxes[3][3] / 320 + 0.02)
    (only,) = read_text(image, part).found
    assert only.label == INVOICE[3]
    assert overlap(pixels(only.shape, image.size), boxes[3]) > 0.55


def test_a_book_page_is_mostly_read():
    lines = [f.label for f in read_text(grey(skimage.data.page())).found]
    assert "Region-based segmentation" in lines
    assert "Let us first determine markers of the coins and the" in lines
    assert len(lines) == 7


def test_a_photograph_without_text_holds_none():
    seen = read_text(grey(skimage.data.astronaut()))
    assert (seen.found, seen.text) == ((), "no text found")


@pytest.mark.parametrize("size", [(1, 1), (4, 900), (900, 5), (30, 30)])
def test_odd_shapes_hold_no_text_and_break_nothing(size):
    assert read_text(Image(np.full((size[1], size[0], 3), 255, np.uint8))).found == ()


def test_a_sliver_is_the_model_s_fault():
    with pytest.raises(ModelFault, match="too small"):
        read_text(document()[0], Box(0.5, 0.5, 0.501, 0.6))


def test_reading_touches_neither_the_network_nor_the_log(monkeypatch, capfd):
    def no_network(*args):
        raise AssertionError("dialled")

    monkeypatch.setattr(socket.socket, "connect", no_network)
    root = logging.getLogger()
    before = (list(root.handlers), root.level)
    assert read_text(document()[0]).found
    assert (list(root.handlers), root.level) == before
    assert capfd.readouterr() == ("", "")


def lines_at(*places):
    return [
        Line(f"{x},{y}", 1.0, np.array([[x, y], [x + 9, y], [x + 9, y + 10], [x, y + 10]], float))
        for x, y in places
    ]


def test_reading_order_is_by_rows():
    told = reading_order(lines_at((50, 2), (0, 20), (0, 0), (30, 22), (100, -2)))
    assert [n.text for n in told] == ["0,0", "50,2", "100,-2", "0,20", "30,22"]


def test_long_texts_are_cut_and_both_ends_say_so():
    lines = lines_at(*((0, 20 * i) for i in range(10)))
    kept, note = bounded(lines, sum(len(n.text) for n in lines[:4]) + 2)
    assert len(kept) == 4
    assert "4 of 10 lines" in note
    assert bounded(lines, 10_000) == (lines, "")
    (first,), note = bounded(lines, 2)
    assert (first.text, "2 of" in note) == ("0,", True)
    seen = read_text.set(max_chars=45)(document()[0])
    assert seen.text.startswith("text is cut: 2 of 5 lines")
    assert seen.found[-1].facts == {"cut": seen.text}


def test_a_model_is_told_lines_in_its_own_coordinates():
    store = Store()
    image, boxes = document()
    store.add(image)
    call = ToolCall("read_text", {"image": 1})
    (message,) = asyncio.run(
        Toolbox([read_text]).run([call], store, Hermes(), lambda h: store.size(h))
    )
    words = "".join(getattr(p, "text", "") for p in Hermes().observe([message], store))
    assert '"label": "VAT (20%): $214.08"' in words
    first = message.outcomes[0].found[0].region.shape
    assert overlap(pixels(first, image.size), boxes[0]) > 0.55


def test_read_text_conforms():
    check_tool(read_text, {"image": document()[0]})


def test_a_tall_strip_is_read_in_bounded_time_and_places_do_not_move():
    strip = np.full((300, 9, 3), 255, np.uint8)
    wide = widened(strip)
    assert wide.shape == (300, 75, 3)
    assert np.array_equal(wide[:, :9], strip)
    assert read_lines(strip) == []
