"""Retrieval from a user's folder, and search by a backend that the user supplies."""

import io
import json

import numpy as np
import pytest
import skimage.data
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as PILImage
from vtool.vision_tools.backends.bm25 import BM25, words
from vtool.vision_tools.backends.embedders import ColourGradient, embedders, normalised
from vtool.vision_tools.backends.hits import Hit
from vtool.vision_tools.backends.index import Index, joined
from vtool.vision_tools.backends.library import passages, read_folder
from vtool.vision_tools.backends.search import search_backends
from vtool.vision_tools.retrieve import RetrieveSettings, retrieve
from vtool.vision_tools.search import search

from vtool.check import check_tool
from vtool.dialects.hermes import Hermes
from vtool.errors import ModelFault
from vtool.geometry import Box, Region, Unmappable
from vtool.media import Image
from vtool.message import ToolCall
from vtool.store import Store
from vtool.toolbox import Toolbox, ToolUnavailable

TEXTS = (
    "the quick brown fox jumps",
    "the lazy dog sleeps in the sun",
    "a quick red fox and a brown fox",
    "nothing here",
)
PHOTOS = ("astronaut", "coffee", "chelsea", "rocket", "hubble_deep_field", "page", "coins")


def photo(name):
    array = getattr(skimage.data, name)()
    return Image(np.repeat(array[:, :, None], 3, 2) if array.ndim == 2 else array[:, :, :3])


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    """Photographs with captions in every form, and two texts."""
    root = tmp_path_factory.mktemp("shelf")
    (root / "more").mkdir()
    for i, name in enumerate(PHOTOS):
        where = root / "more" if i > 3 else root
        (where / f"{name}.png").write_bytes(photo(name).encode())
    (root / "astronaut.txt").write_text("Eileen Collins, commander of a space shuttle.")
    (root / "coffee.json").write_text(json.dumps({"caption": "A cup of espresso with a spoon."}))
    (root / "captions.json").write_text(json.dumps({"chelsea.png": "A cat called Chelsea."}))
    rows = [{"file_name": "coins.png", "text": "Greek coins from Pompeii."}]
    (root / "more" / "rows.json").write_text(json.dumps(rows))
    coco = {
        "images": [{"id": 3, "file_name": "more/page.png"}],
        "annotations": [{"image_id": 3, "caption": "A page of a book about segmentation."}],
    }
    (root / "coco.json").write_text(json.dumps(coco))
    (root / "notes.md").write_text("# Rockets\n\nThe Falcon rocket stands on its pad.\n\n" * 2)
    (root / "broken.png").write_bytes(b"no picture")
    (root / "broken.json").write_text("[[[")
    return root


def numbers(tool, **call):
    return tool(**call).text.split("\n")


def test_bm25_gives_the_numbers_of_an_independent_implementation():
    """Numbers of bm25s 0.3.16 (method lucene, k1 1.2, b 0.75), which leaves out k1 + 1."""
    index = BM25([t.split() for t in TEXTS])
    wanted = {
        "quick fox": [0.654474, 0.0, 0.649778, 0.0],
        "the": [0.327237, 0.402355, 0.0, 0.0],
        "lazy dog sun": [0.0, 1.476993, 0.0, 0.0],
        "fox nothing": [0.327237, 0.0, 0.384112, 0.739872],
    }
    for query, scores in wanted.items():
        got = index.scores(query.split())
        assert got == pytest.approx(np.array(scores) * 2.2, abs=3e-6)


def test_bm25_worked_by_hand():
    """Two texts of two and four words, one word in one of them: idf = ln(1 + 1.5 / 1.5)."""
    index = BM25([["a", "b"], ["a", "c", "c", "d"]])
    hold = 1.2 * (0.25 + 0.75 * 4 / 3)
    assert index.scores(["c"]) == pytest.approx([0.0, np.log(2) * 2 * 2.2 / (2 + hold)])
    assert index.scores(["c", "c"])[1] == pytest.approx(2 * index.scores(["c"])[1])
    assert index.scores(["z"]).tolist() == [0.0, 0.0]
    assert BM25([]).scores(["z"]).tolist() == []
    assert BM25([[], []]).scores(["z"]).tolist() == [0.0, 0.0]


@given(st.lists(st.lists(st.sampled_from("abcde"), max_size=6), min_size=1, max_size=8))
def test_scores_are_never_negative_and_more_of_a_word_never_hurts(texts):
    index = BM25(texts)
    scores = index.scores(["a"])
    assert (scores >= 0).all()
    assert all((s > 0) == ("a" in t) for s, t in zip(scores, texts, strict=True))


def test_words_are_folded_and_scripts_without_spaces_are_split():
    assert words("Café-Straße, ＦＵＬＬ 3.5") == ["café", "strasse", "full", "3", "5"]
    assert words("猫が好き") == ["猫", "が", "好", "き"]


@given(st.text(max_size=3000))
def test_passages_hold_every_word_and_none_is_too_long(text):
    got = list(passages(text, 200))
    assert all(0 < len(p) <= 200 for p in got)
    assert "".join("".join(got).split()) == "".join(text.split())


def test_a_folder_is_read_with_its_captions(shelf):
    said = {d.name: d for d in read_folder(shelf).documents}
    assert said["astronaut.png"].text.startswith("Eileen Collins")
    assert said["coffee.png"].text.startswith("A cup")
    assert said["chelsea.png"].text == "A cat called Chelsea."
    assert said["more/coins.png"].text == "Greek coins from Pompeii."
    assert said["more/page.png"].text.startswith("A page")
    assert said["rocket.png"].text == ""
    assert "Falcon" in said["notes.md"].text
    assert not {"astronaut.txt", "captions.json", "coffee.json"} & set(said)


def test_words_find_texts_and_captioned_pictures(shelf):
    ready = retrieve.set(folder=str(shelf))
    seen = ready(query="cat Chelsea")
    assert seen.text.startswith("1. chelsea.png [picture 1]: A cat called Chelsea.")
    assert [v.digest for v in seen.values] == [photo("chelsea").digest]
    assert ready(query="falcon pad").text.startswith("1. notes.md: # Rockets The Falcon")
    assert ready(query="zebra").text == "nothing found"


@pytest.mark.parametrize("name", PHOTOS)
@pytest.mark.parametrize("change", ["smaller", "jpeg", "cropped", "darker"])
def test_a_changed_copy_finds_its_original(shelf, name, change):
    whole = photo(name)
    width, height = whole.size
    if change == "smaller":
        asked = whole.resize((width // 3, height // 3))
    elif change == "jpeg":
        out = io.BytesIO()
        PILImage.fromarray(whole.pixels).save(out, "JPEG", quality=25)
        asked = Image.decode(out.getvalue())
    elif change == "cropped":
        asked = whole.crop(Box(0.02, 0.02, 0.98, 0.98))
    else:
        asked = Image((whole.pixels * 0.8).astype(np.uint8))
    seen = retrieve.set(folder=str(shelf))(image=asked)
    assert f"{name}.png [picture 1]" in seen.text.split("\n")[0]


def test_another_picture_finds_nothing(shelf):
    other = Image(skimage.data.retina()[:, :, :3])
    noise = Image(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    flat = Image(np.full((40, 40, 3), 128, np.uint8))
    for image in (other, noise, flat):
        assert retrieve.set(folder=str(shelf), min_likeness=0.7)(image=image).text == (
            "nothing found"
        )


def test_words_and_a_picture_are_joined(shelf):
    both = retrieve.set(folder=str(shelf))(query="espresso", image=photo("rocket"))
    assert {line.split()[1] for line in both.text.split("\n")[:2]} == {"coffee.png", "rocket.png"}
    assert joined([[(4, 9.0), (2, 1.0)], [(2, 5.0)]]) == [
        (2, pytest.approx(1 / 62 + 1 / 61)),
        (4, pytest.approx(1 / 61)),
    ]


def test_what_a_model_is_told_is_bounded(shelf):
    tool = retrieve.set(folder=str(shelf), k=4, chars=20, pictures=2, side=100, min_likeness=-1.0)
    seen = tool(image=photo("astronaut"))
    assert len(seen.text.split("\n")) == 4
    assert [max(v.size) for v in seen.values] == [100, 100]
    assert seen.text.count("[picture") == 2
    assert "Eileen Collins, com…" in seen.text


@pytest.mark.parametrize(
    ("call", "code"),
    [({}, "bad_args"), ({"query": " ?! "}, "bad_args"), ({"query": "a" * 1001}, "too_large")],
)
def test_empty_and_endless_queries(shelf, call, code):
    with pytest.raises(ModelFault) as caught:
        retrieve.set(folder=str(shelf))(**call)
    assert caught.value.code == code


def test_results_are_pictures_of_the_episode_without_a_way_back(shelf):
    import asyncio

    store = Store()
    store.add(photo("coffee").resize((200, 133)).rooted())
    toolbox = Toolbox([retrieve.set(folder=str(shelf))])
    call = ToolCall("retrieve", {"image": 1})
    (message,) = asyncio.run(toolbox.run([call], store, Hermes(), lambda h: store.size(h)))
    (handle, *_) = message.outcomes[0].handles
    assert store.image(handle) == photo("coffee")
    assert isinstance(store.to_source(Region(handle, Box(0, 0, 0.5, 0.5))), Unmappable)


class Counting(ColourGradient):
    seen = 0

    def embed_image(self, images):
        Counting.seen += len(images)
        return super().embed_image(images)


def test_vectors_are_kept_by_content_and_torn_files_made_anew(shelf, tmp_path, monkeypatch):
    monkeypatch.setattr(embedders, "_things", {**embedders._things, "counting": Counting})
    keep = tmp_path / "kept"

    def ask():
        Counting.seen = 0
        found = Index(shelf, "counting", keep).find("", photo("coffee"), 1)
        return found[0].document.name, Counting.seen

    pictures = len(PHOTOS)
    assert ask() == ("coffee.png", pictures + 1)
    assert ask() == ("coffee.png", 1)
    (file,) = keep.iterdir()
    file.write_bytes(file.read_bytes()[:50])
    assert ask() == ("coffee.png", pictures + 1)
    monkeypatch.setattr(Counting, "version", "other")
    assert ask() == ("coffee.png", pictures + 1)


class Worded(ColourGradient):
    """Words and pictures in one space: the word `red` lies with red pictures."""

    def embed_image(self, images):
        return np.stack([i.pixels.mean(axis=(0, 1)) for i in images]).astype(np.float32)

    def embed_text(self, texts):
        return np.array([[255, 0, 0] if "red" in t else [0, 0, 255] for t in texts], np.float32)


def test_an_embedder_that_knows_words_finds_pictures_without_captions(tmp_path, monkeypatch):
    monkeypatch.setattr(embedders, "_things", {**embedders._things, "worded": Worded})
    for name, colour in (("a", (200, 10, 10)), ("b", (10, 10, 200))):
        PILImage.new("RGB", (32, 32), colour).save(tmp_path / f"{name}.png")
    tool = retrieve.set(folder=str(tmp_path), embedder="worded")
    assert tool(query="something red").text.startswith("1. a.png")
    assert tool(query="the sea").text.startswith("1. b.png")


def test_vectors_have_length_one():
    got = normalised(np.array([[3, 4], [0, 0]], np.float32))
    assert got == pytest.approx(np.array([[0.6, 0.8], [0, 0]]))


def test_files_outside_the_folder_are_never_read(tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "secret.txt").write_text("the password is swordfish")
    (tmp_path / "secret.png").write_bytes(photo("coffee").encode())
    (root / "link.txt").symlink_to(tmp_path / "secret.txt")
    (root / "link.png").symlink_to(tmp_path / "secret.png")
    (root / "folder").symlink_to(tmp_path)
    (root / "list.json").write_text(json.dumps({"../secret.png": "swordfish", "/etc/x": "y"}))
    (root / "fine.txt").write_text("nothing special")
    reading = read_folder(root)
    assert [d.name for d in reading.documents] == ["fine.txt"]
    assert sorted(reading.left_out) == ["link.png", "link.txt"]
    tool = retrieve.set(folder=str(root), min_likeness=-1.0)
    assert tool(query="swordfish").text == "nothing found"
    assert tool(image=photo("coffee")).text == "nothing found"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "folder is not set"),
        ({"folder": "./no/such"}, "no folder"),
        ({"folder": ".", "embedder": "colour_gradiant"}, "did you mean 'colour_gradient'"),
    ],
)
def test_what_retrieval_lacks_is_said_at_the_start(settings, said):
    with pytest.raises(ToolUnavailable, match=said):
        Toolbox([retrieve.set(**settings)])


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "backend is not set"),
        ({"backend": "foldr"}, "did you mean 'folder'"),
        ({"backend": "folder"}, "folder is not set"),
    ],
)
def test_nobody_is_asked_unless_people_say_whom(settings, said):
    with pytest.raises(ToolUnavailable, match=said):
        Toolbox([search.set(**settings)])
    assert list(search_backends) == ["folder"]


def test_the_folder_backend_and_one_of_the_user_s(shelf, monkeypatch):
    seen = search.set(backend="folder", folder=str(shelf))(query="espresso cup")
    assert seen.text.startswith("1. coffee.png [picture 1]: A cup of espresso")

    class Endless:
        def __init__(self, settings):
            self.name = settings.options

        def search(self, query, k):
            return [
                Hit(f"{self.name} {query} {i}", "long " * 900, photo("coins")) for i in range(99)
            ]

    monkeypatch.setattr(search_backends, "_things", {**search_backends._things, "mine": Endless})
    tool = search.set(backend="mine", options="Mine", k=3, chars=30, pictures=1, side=64)
    seen = tool(query="x")
    assert [line[:10] for line in seen.text.split("\n")] == [
        "1. Mine x ",
        "2. Mine x ",
        "3. Mine x ",
    ]
    assert len(seen.text) < 200
    assert [max(v.size) for v in seen.values] == [64]


def test_both_tools_conform(shelf):
    check_tool(retrieve, {"query": "cat", "settings": RetrieveSettings(folder=str(shelf))})
    ready = search.set(backend="folder", folder=str(shelf))
    check_tool(search, {"query": "cat", "settings": ready.settings})
