"""M-RoPE positions against the library's own, and in pieces."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import Qwen2_5_VLModel, Qwen3VLModel

from vtool.errors import RecordError
from vtool.families import Block, family
from vtool.families.positions import mm_token_type_ids, mrope

IMAGE, VIDEO, TEXT = 90, 91, 5
MODELS = {"qwen25_vl": Qwen2_5_VLModel, "qwen3_vl": Qwen3VLModel}


def conversation(name, parts):
    """Ids and blocks of a sequence, and the library's arguments for it.

    A part is a count of text tokens, or ("image" | "video", (t, h, w) in patches, seconds).
    """
    fam = family(name)
    ids, blocks, images, videos, seconds = [], [], [], [], []
    for part in parts:
        if isinstance(part, int):
            ids += [TEXT] * part
            continue
        kind, grid, pace = part
        token = IMAGE if kind == "image" else VIDEO
        (images if kind == "image" else videos).append(grid)
        if kind == "video":
            seconds.append(pace)
        frames = [(1, *grid[1:])] * grid[0] if fam.frames_apart else [grid]
        for number, frame in enumerate(frames):
            if number:
                ids += [TEXT] * 3
            blocks.append(fam.block(len(ids), frame, seconds=pace if kind == "video" else 0.0))
            ids += [token] * (frame[0] * frame[1] * frame[2] // 4)
    return np.array(ids), blocks, images, videos, seconds


def library(name, ids, images, videos, seconds, mask=None):
    vision = SimpleNamespace(spatial_merge_size=2, tokens_per_second=2)
    fake = SimpleNamespace(config=SimpleNamespace(vision_config=vision))
    fake.get_vision_position_ids = lambda *a, **k: MODELS[name].get_vision_position_ids(
        fake, *a, **k
    )
    extra = {"second_per_grid_ts": seconds} if name == "qwen25_vl" and seconds else {}
    return (
        MODELS[name]
        .get_rope_index(
            fake,
            torch.tensor(ids),
            mm_token_type_ids=torch.tensor(mm_token_type_ids(ids, IMAGE, VIDEO)),
            image_grid_thw=torch.tensor(images) if images else None,
            video_grid_thw=torch.tensor(videos) if videos else None,
            attention_mask=mask,
            **extra,
        )[0]
        .numpy()
    )


THREE_TURNS = [
    [7, ("image", (1, 8, 6), 0), 4, ("image", (1, 4, 10), 0), 9, ("image", (1, 2, 2), 0), 3],
    [("image", (1, 6, 6), 0), 17, ("image", (1, 6, 4), 0), 1, ("image", (1, 4, 4), 0), 6],
    [3, ("video", (4, 4, 6), 1.0), 8, ("image", (1, 4, 4), 0), 2, ("video", (3, 6, 4), 0.5), 5],
    [3, ("video", (3, 4, 4), 0.7), 4, ("video", (2, 4, 4), 1.9), 1],
    [11],
]


@pytest.mark.parametrize("parts", THREE_TURNS)
@pytest.mark.parametrize("name", ["qwen25_vl", "qwen3_vl"])
def test_equal_the_librarys(name, parts):
    ids, blocks, images, videos, seconds = conversation(name, parts)
    want = library(name, ids[None], images, videos, seconds)[:, 0]
    got = family(name).positions(len(ids), blocks)
    assert (got == want).all()


@pytest.mark.parametrize("name", ["qwen25_vl", "qwen3_vl"])
def test_equal_the_librarys_in_a_padded_batch(name):
    rows = [conversation(name, parts) for parts in THREE_TURNS[:2]]
    width = max(len(row[0]) for row in rows)
    ids = np.full((2, width), TEXT)
    mask = torch.zeros(2, width, dtype=torch.long)
    for i, row in enumerate(rows):
        ids[i, width - len(row[0]) :] = row[0]
        mask[i, width - len(row[0]) :] = 1
    want = library(name, ids, rows[0][2] + rows[1][2], [], [], mask)
    for i, row in enumerate(rows):
        got = family(name).positions(len(row[0]), row[1])
        assert (got == want[:, i, width - len(row[0]) :]).all()


PARTS = st.one_of(
    st.integers(0, 9),
    st.tuples(
        st.just("image"),
        st.tuples(st.just(1), *[st.sampled_from([2, 4, 6, 10])] * 2),
        st.just(0),
    ),
    st.tuples(
        st.just("video"),
        st.tuples(st.integers(1, 4), *[st.sampled_from([2, 4])] * 2),
        st.floats(0.1, 3),
    ),
)


@given(st.sampled_from(["qwen25_vl", "qwen3_vl"]), st.lists(PARTS, max_size=8), st.data())
def test_pieces_give_the_whole(name, parts, data):
    fam = family(name)
    ids, blocks, *_ = conversation(name, parts)
    whole = fam.positions(len(ids), blocks)
    ends = {b.start + int(np.prod(b.grid)) for b in blocks} | {b.start for b in blocks} | {0}
    cuts = [*sorted(data.draw(st.sets(st.sampled_from(sorted(ends))))), len(ids)]
    pieces, start, at = [], 0, 0
    for end in cuts:
        inside = [
            Block(b.start - at, b.grid, b.step)
            for b in blocks
            if at <= b.start and b.start + int(np.prod(b.grid)) <= end
        ]
        piece, start = fam.extend_positions(end - at, inside, start)
        pieces.append(piece)
        at = end
    assert (np.concatenate(pieces, axis=1) == whole).all()


def test_text_goes_on_after_the_larger_side():
    positions, after = mrope(6 + 12 + 1, [Block(6, (1, 2, 6))])
    assert positions[:, 18].tolist() == [12, 12, 12]
    assert after == 13


@pytest.mark.parametrize(
    "blocks",
    [
        [Block(8, (1, 2, 2))],
        [Block(-1, (1, 1, 1))],
        [Block(0, (1, 2, 2)), Block(3, (1, 1, 1))],
        [Block(5, (1, 1, 1)), Block(0, (1, 1, 1))],
        [Block(0, (1, 0, 2))],
    ],
)
def test_blocks_that_do_not_fit_are_refused(blocks):
    with pytest.raises(RecordError):
        mrope(10, blocks)


def test_a_clip_of_one_block_is_refused_where_frames_stand_apart():
    with pytest.raises(RecordError, match="frame by frame"):
        family("qwen3_vl").positions(8, [Block(0, (2, 2, 2))])


def test_token_types_follow_the_ids_through_any_shape():
    ids = np.array([[TEXT, IMAGE, VIDEO], [VIDEO, TEXT, TEXT]])
    assert mm_token_type_ids(ids, IMAGE, VIDEO).tolist() == [[0, 1, 2], [2, 0, 0]]
