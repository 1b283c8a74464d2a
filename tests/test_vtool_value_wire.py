"""Values as JSON and raw bytes: what comes back, what is refused."""

import threading

import numpy as np
import pytest

from vtool.camera import Camera
from vtool.errors import FaultCode, ModelFault
from vtool.geometry import Box, Mask, Point, Region, Span
from vtool.media import Clip, Image
from vtool.observation import Call, Finding, Observation, Way
from vtool.store import Cloud, DepthMap, Table, value_digest
from vtool.value_wire import Missing, WireError, read, write


def noise(width=32, height=24, seed=0):
    rng = np.random.default_rng(seed)
    return Image(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))


def observation():
    image = noise()
    part = image.crop(Box(0, 0, 0.5, 0.5)).resize((8, 8))
    depth = DepthMap(np.ones((2, 3), np.float32), True, Camera(2.0, 2.0, 1.0, 0.5))
    clip = Clip((noise(seed=1), noise(seed=2)), (0.0, 0.5))
    return image, Observation(
        (part, clip, Mask(np.eye(4, dtype=bool)), depth),
        text="words <|im_end|>",
        show=False,
        effective=(Box(0, 0, 0.5, 0.5), Point(0.5, 0.25), Span(0.5, 1)),
        found=(Finding(Mask(np.eye(4, dtype=bool)), "x", 0.25, part, {"m": [1, None]}),),
        ways=((Way(image),), (Way(image, cell=Box(0, 0, 0.5, 1)),)),
    )


def essence(seen):
    return (
        tuple(value_digest(v) for v in seen.values),
        [v.lineage for v in seen.values if isinstance(v, Image)],
        (seen.text, seen.show, seen.effective),
        [(f.label, f.score, dict(f.facts), value_digest(f.of)) for f in seen.found],
        [(value_digest(w.of), w.transform, w.cell) for ways in seen.ways for w in ways],
    )


def test_everything_comes_back_as_it_was_and_shared_things_are_shared():
    image, seen = observation()
    letter = write({"seen": seen, "again": (seen.values[0],)}, known=[image])
    body = memoryview(b"".join(letter.buffers))
    back, _ = read(letter.header, body, known=[image])
    assert essence(back["seen"]) == essence(seen)
    assert back["seen"].ways[0][0].of is image
    assert back["seen"].values[3].camera == seen.values[3].camera
    assert back["again"][0] is back["seen"].values[0]
    assert sum(a["dtype"] == "uint8" for a in letter.header["arrays"]) == 3
    with pytest.raises(ValueError, match="read-only"):
        back["seen"].values[0].pixels[0, 0, 0] = 1


@pytest.mark.parametrize(
    "thing",
    [
        None,
        [1, 2.5, "x", True, None],
        {"table": Table(({"a": 1, "b": None},)), "cloud": Cloud(np.zeros((3, 3), np.float32))},
        Call(7, {"box": (Region("image_1", Box(0, 0, 1, 1)),)}),
    ],
)
def test_plain_things_come_back(thing):
    letter = write(thing)
    back, _ = read(letter.header, memoryview(b"".join(letter.buffers)))
    if isinstance(thing, dict):
        assert back["table"] == thing["table"]
        assert value_digest(back["cloud"]) == value_digest(thing["cloud"])
    else:
        assert back == thing


def test_faults_come_back_and_other_objects_do_not_go():
    letter = write(ModelFault(FaultCode.BAD_BOX, "no", hint="yes", field="box"))
    back, _ = read(letter.header, memoryview(b""))
    assert (back.code, back.message, back.hint, back.field) == ("bad_box", "no", "yes", "box")
    for thing in (object(), {"a": threading.Lock()}, lambda: 1, np.zeros(3)):
        with pytest.raises(WireError, match="cannot go"):
            write(thing)


def test_pictures_are_named_by_digest_where_the_other_side_has_them():
    image = noise()
    letter = write([image], held={image.digest}, digests=True)
    assert letter.buffers == []
    with pytest.raises(Missing) as caught:
        read(letter.header, memoryview(b""))
    assert caught.value.digests == (image.digest,)
    back, _ = read(letter.header, memoryview(b""), held=lambda digest: image)
    assert back[0] == image


@pytest.mark.parametrize(
    "change",
    [
        {"arrays": [{"dtype": "object", "shape": [1]}]},
        {"arrays": [{"dtype": "uint8", "shape": [10**9]}]},
        {"arrays": [{"dtype": "uint8", "shape": [-1]}]},
        {"arrays": []},
        {"thing": {"value": 9}},
        {"thing": {"Exploit": [1]}},
        {"thing": {"Box": [0, 0, 0, 0]}},
        {"values": [{"kind": "module", "array": 0}]},
        {"values": 5},
    ],
)
def test_bytes_that_say_nothing_are_refused(change):
    letter = write([noise()])
    body = memoryview(b"".join(letter.buffers))
    with pytest.raises(WireError):
        read({**letter.header, **change}, body)
