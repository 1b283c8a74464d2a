"""Places on maps: told and named on the picture that the model sees."""

import asyncio

import numpy as np
import pytest
from raycast import ball, metres_in, place_of, scene
from vtool.vision_tools.distance import distance
from vtool.vision_tools.object_size import object_size

from vtool.dialects.hermes import Hermes
from vtool.dialects.wording import said
from vtool.geometry import Convention, Region, Units
from vtool.media import Image
from vtool.message import Text, ToolCall
from vtool.store import Origin, Store
from vtool.toolbox import Toolbox
from vtool.transform import Affine

SEEN = (320, 240)


def filled(over_picture):
    store = Store()
    store.add(Image(np.zeros((120, 160, 3), np.uint8)))
    origin = Origin("image_1", "some_tool", Affine.identity()) if over_picture else Origin()
    store.add(scene(), origin)
    store.add(ball(), origin)
    return store


def ask(store, units, name, **arguments):
    dialect = Hermes(coordinates=Convention(units))

    def shown(handle):
        return SEEN if handle == "image_1" else None

    call = ToolCall(name, {"depth": "depth_1", **arguments})
    toolbox = Toolbox([distance, object_size])
    (message,) = asyncio.run(toolbox.run([call], store, dialect, shown))
    pieces = said(message, dialect, store, shown)
    return message, "\n".join(p.text for p in pieces if isinstance(p, Text))


@pytest.mark.parametrize("units", [Units.SHOWN, Units.THOUSAND, Units.ORIGINAL])
def test_places_on_a_depth_map_are_written_and_told_as_on_its_picture(units):
    store = filled(over_picture=True)
    a, b = place_of((0.1, 0.0, 2.0)), place_of((0.0, 0.5, 2.45))
    scale = {Units.SHOWN: SEEN, Units.THOUSAND: (1000, 1000), Units.ORIGINAL: (160, 120)}[units]
    raw = [[p.x * scale[0], p.y * scale[1]] for p in (a, b)]
    message, words = ask(store, units, "distance", first=raw[0], second=raw[1])
    assert message.outcomes[0].fault is None
    assert [f.region.media for f in message.outcomes[0].found] == ["image_1", "image_1"]
    plain = distance(store["depth_1"].value, a, b)
    assert metres_in(message.text) == metres_in(plain.text)
    assert '"image": 1' in words
    message, words = ask(store, units, "object_size", mask="mask_1")
    assert message.outcomes[0].found[0].region == Region("image_1", ball())
    assert '"across_m"' in words


def test_maps_without_a_picture_are_named_by_their_handle():
    store = filled(over_picture=False)
    _, words = ask(store, Units.THOUSAND, "object_size", mask="mask_1")
    assert '"depth": "$depth_1"' in words
