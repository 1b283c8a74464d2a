"""What renderers rest on: the shipped check, tested pairs, checkpoint settings, plain parts."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripts import begin, picture, plain_renderer, question

from vtool.check import ConformanceError
from vtool.check_renderer import check_renderer
from vtool.codec import Codec
from vtool.errors import CheckpointError, UnknownName
from vtool.message import Show
from vtool.pairs import FILE, PAIRS, RenderSettings, render_pair
from vtool.patch_cache import PatchCache
from vtool.plain_codec import PlainCodec, PlainFamily
from vtool.record import Placement, Run
from vtool.store import Store
from vtool.token_render import TokenRenderer

SIZES = st.tuples(st.integers(1, 150), st.integers(1, 150))


def one_picture(width=48, height=32):
    store = Store()
    store.add(picture(width, height))
    return store


@pytest.mark.parametrize("pair", [p for p in PAIRS if p[0] == "plain"], ids="/".join)
def test_the_shipped_check_passes(pair):
    check_renderer(render_pair(*pair))


class _Forgetful(TokenRenderer):
    """Cuts long prompts at the left."""

    def prompt(self, context):
        whole = TokenRenderer.prompt(self, context)
        return whole if len(whole.ids) < 200 else dataclasses.replace(whole, ids=whole.ids[50:])


class _Retokenising(TokenRenderer):
    """Keeps the text of a completion instead of its ids."""

    def next(self, context, said, sampling):
        act = TokenRenderer.next(self, context, said, sampling)
        ids = np.array(self.codec.encode(self.codec.decode(act.segment.ids)), np.int32)
        old = act.segment
        told = dataclasses.replace(old, ids=ids, logprobs=np.zeros(len(ids), np.float32))
        return dataclasses.replace(act, segment=dataclasses.replace(told, call_spans=()))


class _Leaky(PlainCodec):
    """Lets words become control tokens."""

    def encode(self, text):
        before, found, after = text.partition("<|im_end|>")
        if not found:
            return PlainCodec.encode(self, text)
        return [*before.encode(), self.token_id(found), *self.encode(after)]


class _Short(PlainFamily):
    """Cuts other pictures than it counts."""

    def patches(self, pixels):
        whole = PlainFamily.patches(self, pixels)
        return dataclasses.replace(whole, data=whole.data[:-1])


@pytest.mark.parametrize(
    ("kind", "family", "codec", "told"),
    [
        (_Forgetful, PlainFamily(), PlainCodec(), "does not begin with its own past"),
        (_Retokenising, PlainFamily(), PlainCodec(), "gives other tokens"),
        (TokenRenderer, PlainFamily(), _Leaky(), "adds 4 control tokens"),
        (TokenRenderer, _Short(), PlainCodec(), "placeholder tokens for grid"),
    ],
)
def test_the_shipped_check_finds_harm(kind, family, codec, told):
    renderer = kind(family, codec, plain_renderer().dialect, announce=False)
    with pytest.raises(ConformanceError, match=told):
        check_renderer(renderer)


def test_untested_pairs_are_refused_with_those_that_are():
    with pytest.raises(UnknownName, match="qwen3_vl/hermes"):
        render_pair("qwen9_vl", "hermes")
    with pytest.raises(CheckpointError, match=r"tokenizer\.json"):
        render_pair("qwen3_vl", "hermes")


def test_settings_of_a_checkpoint(tmp_path):
    assert RenderSettings.read(tmp_path) == RenderSettings(clips="video")
    told = RenderSettings(options={"base": 0}, announce=False, opening="<think>\n")
    told.write(tmp_path)
    assert RenderSettings.read(tmp_path) == told
    (tmp_path / FILE).write_text('{"dialetc": "hermes"}')
    with pytest.raises(CheckpointError, match="did you mean 'dialect'"):
        RenderSettings.read(tmp_path)
    for broken in ("{", "[1]"):
        (tmp_path / FILE).write_text(broken)
        with pytest.raises(CheckpointError):
            RenderSettings.read(tmp_path)


def test_the_plain_codec_is_a_codec():
    codec: Codec = PlainCodec()
    text = "é<|im_end|>"
    assert codec.decode(codec.encode(text)) == text
    assert not set(codec.encode(text)) & codec.control_ids
    assert codec.vocab_size == 256 + len(codec.control_ids)


@given(SIZES)
def test_the_plain_family_cuts_what_it_says(size):
    family = PlainFamily()
    patches = family.patches(picture(*size).pixels)
    assert patches.shown == family.shown_size(size)
    width, height = patches.shown
    assert family.spec.min_pixels <= width * height <= family.spec.max_pixels
    assert len(patches.data) == np.prod(patches.grid) == width * height // 256
    first = patches.data[0].reshape(3, 16, 16)
    assert first.shape == (3, 16, 16)
    assert family.positions(3, ()).tolist() == [[0, 1, 2]] * 3


def test_placements_name_their_handle():
    (segment,) = plain_renderer().begin([question(Show("image_1"))], (), one_picture())
    start = len("user\n") + 2
    assert segment.placements == (
        Placement("image_1", "image", (Run(start, 6, (1, 2, 3)),), (48, 32)),
    )


def test_equal_pictures_are_cut_once_and_memory_is_bounded():
    cache, cuts = PatchCache(max_bytes=3 * 768 * 6), []

    class Counting(PlainFamily):
        def patches(self, pixels):
            cuts.append(1)
            return PlainFamily.patches(self, pixels)

    renderer = TokenRenderer(
        Counting(), PlainCodec(), plain_renderer().dialect, announce=False, patch_cache=cache
    )
    for _ in range(3):
        begin(renderer, [question(Show("image_1"))], one_picture())
    assert len(cuts) == 1
    for seed in range(9):
        store = Store()
        store.add(picture(48, 32, seed + 5))
        renderer.prompt(begin(renderer, [question(Show("image_1"))], store))
    assert cache.held_bytes <= cache.max_bytes
    assert len(cache) == 3
