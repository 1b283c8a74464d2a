"""The store: append-only, forked by path, typed; pictures decoded strictly."""

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image as PILImage

from vtool.errors import MediaError, StoreError
from vtool.geometry import Box, Mask
from vtool.media import Clip, Image
from vtool.record import Episode, Fork
from vtool.store import DepthMap, Origin, Store, Table


def picture(seed=0, size=(32, 24)):
    rng = np.random.default_rng(seed)
    return Image(rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))


def test_handles_are_stable_and_typed():
    store = Store()
    store.add(picture())
    store.add(Mask(np.ones((2, 2), bool)))
    store.add(picture(1))
    store.add(DepthMap(np.ones((2, 2), np.float32)))
    store.add(Table(({"a": 1},)))
    assert [e.handle for e in store] == ["image_1", "mask_1", "image_2", "depth_1", "table_1"]
    with pytest.raises(StoreError, match="no picture"):
        store.image("mask_1")
    with pytest.raises(StoreError, match="image_2"):
        store["image_3"]


def test_branches_see_only_their_own_path():
    store = Store()
    store.add(picture())
    a, b = store.fork(), store.fork()
    a.add(picture(1))
    b.add(picture(2))
    assert a["image_2"].digest != b["image_2"].digest
    assert len(store) == 1
    serials = [e.serial for e in (store["image_1"], a["image_2"], b["image_2"])]
    assert serials == [0, 1, 2]


def test_no_restored_entry_is_written_over():
    store = Store()
    for seed in range(3):
        store.add(picture(seed))
    one, two, three = store
    found = Store.restore([one, three])
    assert found.add(picture(4)).handle == "image_4"
    assert [e.digest for e in found][:2] == [one.digest, three.digest]
    with pytest.raises(StoreError, match="image_2 more than once"):
        Store.restore([one, two, replace(three, handle="image_2")])


def test_a_parent_must_be_visible():
    with pytest.raises(StoreError):
        Store().add(picture(), Origin(parent="image_9"))


def test_crops_of_crops_keep_their_path_by_lineage():
    store = Store()
    store.add(picture())
    first = store.add(store.image("image_1").crop(Box(0.25, 0.25, 1, 1)))
    second = store.add(store.image("image_2").crop(Box(0.5, 0.5, 1, 1)))
    assert (first.origin.parent, second.origin.parent) == ("image_1", "image_2")
    assert store.source("image_3") == "image_1"


def test_pixels_cannot_be_changed():
    image = picture()
    with pytest.raises(ValueError, match="read-only"):
        image.pixels[0, 0] = 0
    base = np.zeros((4, 4, 3), np.uint8)
    kept = Image(base[1:])
    base[:] = 9
    assert kept.pixels.max() == 0


def encoded(img, kind="PNG", **options):
    out = io.BytesIO()
    img.save(out, kind, **options)
    return out.getvalue()


def test_damaged_and_foreign_files_are_refused(tmp_path):
    whole = encoded(PILImage.new("RGB", (64, 64), "red"), "JPEG")
    for data in (whole[:-40], b"", b"<html>", whole[:1], b"%!PS-Adobe-3.0 EPSF"):
        with pytest.raises(MediaError):
            Image.decode(data)
    with pytest.raises(MediaError, match="picture file"):
        Image.open(tmp_path)
    with pytest.raises(MediaError, match="cannot read"):
        Image.open(tmp_path / "none.png")


def test_bombs_are_refused_from_the_header():
    data = encoded(PILImage.new("1", (9000, 9000)))
    with pytest.raises(MediaError, match="9000x9000"):
        Image.decode(data)


def test_defined_conversions():
    grey = np.array([[0, 65535], [32768, 256]], np.uint16)
    deep = Image.decode(encoded(PILImage.fromarray(grey)))
    assert deep.pixels[:, :, 0].tolist() == [[0, 255], [128, 1]]
    clear = PILImage.new("RGBA", (2, 2), (255, 0, 0, 0))
    assert Image.decode(encoded(clear)).pixels.min() == 255
    assert Image.decode(encoded(PILImage.new("CMYK", (2, 2)), "JPEG")).pixels.shape == (2, 2, 3)


def test_exif_orientation_is_applied():
    img = PILImage.new("RGB", (4, 2), "white")
    exif = PILImage.Exif()
    exif[0x0112] = 6
    assert Image.decode(encoded(img, "JPEG", exif=exif)).size == (2, 4)


def test_replay_makes_the_same_pixels():
    image = picture(size=(64, 48))
    view = image.crop(Box(0.1, 0.2, 0.9, 0.8)).rotate(30).resize((20, 20))
    assert image.replay(view.lineage.ops).digest == view.digest


def test_clips_need_rising_times_and_one_size():
    frames = (picture(1), picture(2))
    assert Clip(frames, (0.0, 0.5)).size == (32, 24)
    with pytest.raises(MediaError, match="rising"):
        Clip(frames, (0.5, 0.5))
    with pytest.raises(MediaError, match="one size"):
        Clip((picture(1), picture(2, (8, 8))), (0.0, 1.0))
    with pytest.raises(MediaError, match="a time for each"):
        Clip(frames, (0.0,))


def test_a_context_keeps_the_store_it_is_given_even_an_empty_one():
    episode = Episode(task_id="t")
    episode.store.add(picture())
    empty = Store()
    assert episode.open("helper", store=empty).store is empty
    assert episode.open("policy", edge=Fork(0, 0), store=Store()).store is not episode.store
    assert episode.open("policy").store is episode.store
