"""Pixels that nobody else can write to, and files that decode to what they say."""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as PILImage
from PIL import ImageFile

from vtool import picture_file
from vtool.errors import MediaError
from vtool.media import Image
from vtool.picture_file import decode_picture


def pixels(side=8):
    return np.arange(side * side * 3, dtype=np.uint8).reshape(side, side, 3)


def encoded(img, kind="PNG", **options):
    out = io.BytesIO()
    img.save(out, kind, **options)
    return out.getvalue()


def test_the_caller_s_array_is_copied_and_stays_writable():
    mine = pixels()
    image = Image(mine)
    mine[0, 0] = 99
    assert image.pixels[0, 0, 1] == 1
    assert not np.shares_memory(image.pixels, mine)


def test_arrays_that_nobody_can_write_are_shared():
    image = Image(pixels())
    assert Image(image.pixels).pixels is image.pixels
    assert Image(image.pixels[2:]).pixels.base is not None
    given_up = np.ones((4, 4, 3), np.uint8)
    assert Image.adopt(given_up).pixels is given_up
    assert not given_up.flags.writeable
    part = np.ones((4, 4, 3), np.uint8)
    assert not np.shares_memory(Image.adopt(part[1:]).pixels, part)


def test_views_are_made_without_a_second_copy():
    image = Image(pixels())
    cut = image.crop_pixels(0, 0, 4, 4)
    assert cut.pixels.base is None
    assert not cut.pixels.flags.writeable


@given(st.binary(max_size=300), st.integers(0, 400), st.sampled_from(["PNG", "JPEG", "GIF"]))
def test_damaged_files_decode_or_are_refused_in_one_way(junk, at, kind):
    whole = bytearray(encoded(PILImage.fromarray(pixels(16)), kind))
    whole[at : at + len(junk)] = junk
    said = ""
    try:
        Image.decode(bytes(whole))
    except MediaError as err:
        said = str(err)
    assert "0x" not in said


def test_notes_tell_of_frames_and_of_nothing_else():
    frames = [PILImage.fromarray(pixels() + i).quantize() for i in range(2)]
    moving = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert decode_picture(moving).notes == ("animated: the first of 2 frames is used",)
    assert decode_picture(encoded(frames[0])).notes == ()


@pytest.mark.parametrize("switch", [True, False])
def test_pillow_s_switch_is_left_as_it_was_found(switch, monkeypatch):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", switch)
    with pytest.raises(MediaError):
        Image.decode(encoded(PILImage.fromarray(pixels(64)), "JPEG")[:500])
    assert ImageFile.LOAD_TRUNCATED_IMAGES is switch


def test_turns_and_sizes_are_bounded():
    wide = Image(np.zeros((4, 12_000, 3), np.uint8))
    with pytest.raises(MediaError, match="at most"):
        wide.rotate(45)
    assert wide.rotate(90).size == (4, 12_000)
    with pytest.raises(MediaError, match="at most"):
        wide.resize((9000, 9000))


@pytest.mark.parametrize("degrees", [0, 1, 30, 45, 90, 179.5, 270, -33.3])
@pytest.mark.parametrize("size", [(1, 1), (7, 5), (64, 48), (301, 3)])
def test_the_foreseen_canvas_is_no_smaller_than_the_real_one_by_more_than_a_rim(size, degrees):
    from vtool.media import _turned_size

    real = Image(np.zeros((size[1], size[0], 3), np.uint8)).rotate(degrees).size
    told = _turned_size(size, degrees)
    assert abs(real[0] - told[0]) <= 2
    assert abs(real[1] - told[1]) <= 2


@pytest.mark.parametrize("size", [(64, 48), (101, 67), (17, 300)])
@pytest.mark.parametrize(
    "options",
    [
        {"quality": 90},
        {"quality": 75, "subsampling": 0},
        {"quality": 60, "subsampling": 1},
        {"quality": 85, "progressive": True},
        {"quality": 100, "keep_rgb": True},
        {"quality": 80, "restart_marker_blocks": 3},
    ],
    ids=str,
)
def test_the_fast_decoder_gives_pillow_s_pixels(monkeypatch, size, options):
    pixels = np.random.default_rng(size[0]).integers(0, 256, (size[1], size[0], 3), np.uint8)
    out = io.BytesIO()
    PILImage.fromarray(pixels).resize(size).save(out, "JPEG", **options)
    data = out.getvalue()
    with PILImage.open(io.BytesIO(data)) as img:
        fast = picture_file.fast_jpeg(data, img)
    assert fast is not None
    monkeypatch.setattr(picture_file, "_jpeg_decoder", lambda: None)
    assert np.array_equal(fast, decode_picture(data).pixels)


def test_the_fast_decoder_leaves_the_rest_to_pillow():
    grey, turned, torn = io.BytesIO(), io.BytesIO(), io.BytesIO()
    exif = PILImage.Exif()
    exif[0x0112] = 6
    picture = PILImage.fromarray(np.arange(48 * 64 * 3, dtype=np.uint8).reshape(48, 64, 3))
    picture.convert("L").save(grey, "JPEG")
    picture.save(turned, "JPEG", exif=exif)
    picture.save(torn, "JPEG")
    assert decode_picture(grey.getvalue()).pixels.shape == (48, 64, 3)
    assert decode_picture(turned.getvalue()).pixels.shape == (64, 48, 3)
    with pytest.raises(MediaError, match="truncated"):
        decode_picture(torn.getvalue()[:-300])
