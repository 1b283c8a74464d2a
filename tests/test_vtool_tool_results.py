"""Results of tools: how they lie on what they were made from, settings, needs, several pictures."""

import asyncio
import json
from dataclasses import dataclass

import numpy as np
import pytest

from vtool.dialects.hermes import Hermes
from vtool.dialects.wording import said
from vtool.errors import RecipeError, UnknownName
from vtool.geometry import Box, Mask, Point, Region, Unmappable
from vtool.media import Image
from vtool.message import Author, Text, ToolCall
from vtool.needs import LackKind, Package, Program, Weights
from vtool.record import Episode, Segment
from vtool.store import Store
from vtool.tool import Finding, Observation, Settings, Way, choose, tool, tools
from vtool.toolbox import Toolbox, ToolUnavailable
from vtool.toolspec import Kind
from vtool.trace import TraceWriter, read_trace
from vtool.transform import Affine


@pytest.fixture(autouse=True)
def _own_names(monkeypatch):
    monkeypatch.setattr(tools, "_things", dict(tools._things))


def noise(width, height, seed=0):
    rng = np.random.default_rng(seed)
    return Image(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))


def filled(*pictures):
    store = Store()
    for picture in pictures:
        store.add(picture)
    return store


def run(store, *chosen, **call):
    box = Toolbox(chosen)
    return asyncio.run(
        box.run([ToolCall(call.pop("name"), call)], store, Hermes(), lambda h: store.size(h))
    )[0]


def side_by_side():
    @tool
    def pair(images: list[Image]) -> Observation:
        """Lay two pictures beside each other.

        Args:
            images: The two.
        """
        joined = Image(np.concatenate([i.pixels for i in images], axis=1))
        cells = [Box(0, 0, 0.5, 1), Box(0.5, 0, 1, 1)]
        ways = tuple(Way(i, Affine.identity(), c) for i, c in zip(images, cells, strict=True))
        return Observation((joined,), ways=(ways,))

    return pair


def test_places_on_a_sheet_lead_to_the_picture_in_that_cell(tmp_path):
    pair = side_by_side()
    assert pair.spec.params[0].kind is Kind.IMAGES
    store = filled(noise(20, 10), noise(20, 10, 1))
    message = run(store, pair, name="pair", images=[1, 2])
    (handle,) = message.outcomes[0].handles
    left = store.to_source(Region(handle, Box(0.1, 0.2, 0.4, 0.6)))
    assert left.media == "image_1"
    assert left.shape.x1 == pytest.approx(0.2)
    right = store.to_source(Region(handle, Point(0.75, 0.5)))
    assert (right.media, right.shape) == ("image_2", Point(0.5, 0.5))
    assert isinstance(store.to_source(Region(handle, Box(0.4, 0, 0.6, 1))), Unmappable)
    cells = np.zeros((10, 40), bool)
    cells[2:5, 15:25] = True
    assert isinstance(store.to_source(Region(handle, Mask(cells))), Unmappable)
    with TraceWriter(tmp_path) as writer:
        writer.write(Episode(task_id="a", store=store))
    (back,) = read_trace(tmp_path)
    assert back.episode.store[handle].origin == store[handle].origin


def test_results_without_a_way_are_unmappable_and_with_one_they_map():
    @tool
    def invert(image: Image, told: bool = True) -> Observation:
        """Invert a picture.

        Args:
            image: Which.
            told: Whether the way back is told.
        """
        return Observation((Image(255 - image.pixels),), ways=((Way(image),),) if told else ())

    store = filled(noise(8, 8))
    known = run(store, invert, name="invert", image=1).outcomes[0].handles[0]
    lost = run(store, invert, name="invert", image=1, told=False).outcomes[0].handles[0]
    box = Box(0.25, 0.25, 0.5, 0.5)
    assert store.to_source(Region(known, box)) == Region("image_1", box)
    assert isinstance(store.to_source(Region(lost, box)), Unmappable)


@dataclass(frozen=True)
class _Level(Settings):
    level: int = 3
    model: str | None = None


def test_settings_are_people_s_not_models():
    @tool(needs=(Weights("model", "some/model", "grade"),))
    def grade(image: Image, settings: _Level = _Level()) -> str:
        """Say the level.

        Args:
            image: Of what.
        """
        return str(settings.level)

    assert [p.name for p in grade.spec.params] == ["image"]
    (lack,) = grade.lacks()
    assert (lack.kind, "grade.model=some/model" in lack.fix) == (LackKind.WEIGHTS, True)
    with pytest.raises(ToolUnavailable, match=r"grade.*model is not set"):
        Toolbox([grade])
    ready = choose({"grade": {"level": 7, "model": "some/model"}})
    message = run(filled(noise(4, 4)), ready, name="grade", image=1)
    assert message.text == "7"
    assert grade(noise(4, 4)) == "3"
    with pytest.raises(RecipeError, match="level"):
        choose({"grade": {"levle": 7}})
    with pytest.raises(RecipeError):
        choose({"grade": {"level": "high"}})
    assert ready.set(model="./not/there").lacks()[0].what.endswith("is not there")


def test_what_is_missing_is_named_with_its_fix():
    assert Package("numpy", "train").lack(None) is None
    lack = Package("no_such_library", "train").lack(None)
    assert lack.fix.startswith("pip install")
    assert Program("no-such-program", "apt-get install it").lack(None).kind is LackKind.PROGRAM


@pytest.mark.parametrize("raw", [[], 1, [1, 9], [True], ["x"], [1.5]])
def test_lists_of_pictures_are_read_strictly(raw):
    message = run(filled(noise(4, 4)), side_by_side(), name="pair", images=raw)
    assert message.outcomes[0].fault.code in ("bad_args", "unknown_image")


def test_findings_are_told_in_the_model_s_coordinates_and_kept_in_the_trace(tmp_path):
    @tool
    def spot(image: Image) -> Observation:
        """Find the one thing.

        Args:
            image: Where.
        """
        part = image.crop(Box(0.5, 0.5, 1, 1))
        return Observation(
            (part,),
            found=(
                Finding(Box(0.25, 0.5, 0.5, 1), "cat", 0.876),
                Finding(Point(0.5, 0.25), of=part, facts={"metres": 1.5}),
            ),
        )

    store = filled(noise(20, 10))
    message = run(store, spot, name="spot", image=1)
    told = "".join(
        p.text for p in said(message, Hermes(), store, store.size) if isinstance(p, Text)
    )
    first, second = (json.loads(line) for line in told.strip().splitlines())
    assert (first["label"], first["box"], first["score"]) == ("cat", [250, 500, 500, 1000], 0.88)
    assert (second["point"], second["metres"]) == ([500, 250], 1.5)
    assert second["image"] != first["image"]
    assert message.outcomes[0].found[1].region.media == "image_2"
    episode = Episode(task_id="a", store=store)
    episode.open("policy").append(Segment(author=Author.TOOL, turn=0, messages=(message,)))
    with TraceWriter(tmp_path) as writer:
        writer.write(episode)
    (back,) = read_trace(tmp_path)
    assert back.episode.path_messages()[0].outcomes[0].found == message.outcomes[0].found


def test_descriptions_can_be_reworded_and_names_do_not_move_for_it():
    box = Toolbox([side_by_side()])
    own = box.specs[0].description
    other = {"pair": ["Join two views.", "Put pictures next to each other."]}
    drawn = {box.view(seed, other).specs[0].description for seed in range(20)}
    assert drawn == {own, *other["pair"]}
    assert box.view(3).specs[0].description == own
    assert box.view(3, other).specs[0].name == box.view(3).specs[0].name
    with pytest.raises(UnknownName, match="pair"):
        box.view(0, {"pear": ["x"]})


def test_places_lead_to_the_right_one_of_two_pictures_with_equal_pixels():
    store, pair = Store(), side_by_side()
    for _ in range(2):
        store.add(Image(np.full((10, 20, 3), 255, np.uint8)))
    (handle,) = run(store, pair, name="pair", images=[1, 2]).outcomes[0].handles
    for place, wanted in ((Point(0.2, 0.5), "image_1"), (Point(0.8, 0.5), "image_2")):
        assert store.to_source(Region(handle, place)).media == wanted
