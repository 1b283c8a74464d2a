"""The torch half against the plain library, both families."""

import numpy as np
import pytest
import torch
from tiny_vlm import NAMES, batch, build, conversation, library_logits, pad, pictures, shared
from transformers import DynamicCache

from vtool.errors import EngineError, RecordError

torch.set_num_threads(1)
SIZES = [(64, 64), (96, 32), (48, 80)]


@pytest.fixture(params=NAMES)
def vlm(request):
    return shared(request.param)


def logits(vlm, conversations, patches, rows=None, left=False):
    ids, positions, mask = batch(vlm, conversations, left)
    vision = vlm.encode(patches)
    hidden = vlm.hidden(ids, positions, attention_mask=mask, vision=vision, rows=rows)
    return vlm.head(hidden), ids, mask


@pytest.mark.parametrize("left", [False, True])
def test_logits_equal_the_plain_librarys(vlm, left):
    a, b, c = pictures(vlm, SIZES)
    rows = [
        conversation(vlm, [(5, [a, b], 4), (3, [], 2), (1, [c], 6)], seed=1),
        conversation(vlm, [(2, [b], 3)], seed=2),
        conversation(vlm, [(7, [], 5)], seed=3),
    ]
    patches = [a, b, c, b]
    ours, ids, mask = logits(vlm, rows, patches, left=left)
    theirs = library_logits(vlm, ids, mask, patches)
    keep = mask.bool()
    assert theirs[keep].std() > 0.05
    assert (ours - theirs)[keep].abs().max() <= 1e-5


def test_a_picture_shown_thrice_is_encoded_once(vlm):
    a, b = pictures(vlm, SIZES[:2])
    rows = [
        conversation(vlm, [(2, [a], 3), (1, [b, a], 2)], seed=1),
        conversation(vlm, [(4, [a], 3)], seed=2),
    ]
    ids, positions, mask = batch(vlm, rows)
    vision = vlm.encode([a, b])
    order = vision.rows([0, 1, 0, 0])
    hidden = vlm.hidden(ids, positions, attention_mask=mask, vision=vision, rows=order)
    theirs = library_logits(vlm, ids, mask, [a, b, a, a])
    assert (vlm.head(hidden) - theirs)[mask.bool()].abs().max() <= 1e-5


def test_chunks_on_a_cache_equal_one_forward(vlm):
    """Left pads, holes between turns, and a new picture in the second and third chunk."""
    a, b, c = pictures(vlm, SIZES)
    first = [conversation(vlm, [(5, [a], 4)], 1), conversation(vlm, [(9, [], 2)], 2)]
    second = [conversation(vlm, [(3, [b], 2)], 3), conversation(vlm, [(2, [c, b], 1)], 4)]
    third = [conversation(vlm, [(4, [], 1)], 5), conversation(vlm, [(1, [a], 2)], 6)]
    shown = [[a], [b, c, b], [a]]
    cache, after, masks, found = DynamicCache(), [0, 0], [], [[], []]
    for turn, pieces in enumerate([first, second, third]):
        ids, mask = pad([p[0] for p in pieces], left=turn == 0)
        positions = torch.zeros(3, *ids.shape, dtype=torch.long)
        for i, (row, blocks) in enumerate(pieces):
            piece, after[i] = vlm.family.extend_positions(len(row), blocks, after[i])
            positions[:, i, mask[i].bool()] = torch.from_numpy(piece)
        masks.append(mask)
        hidden = vlm.hidden(
            ids,
            positions,
            attention_mask=torch.cat(masks, dim=1),
            vision=vlm.encode(shown[turn]),
            cache=cache,
        )
        for i in range(2):
            found[i].append(hidden[i, mask[i].bool()])
    for i, patches in enumerate([[a, b], [c, b, a]]):
        row, blocks = joined([first[i], second[i], third[i]])
        whole, _, mask = logits(vlm, [(row, blocks)], patches)
        got = vlm.head(torch.cat(found[i]))
        assert got.shape == whole[0].shape
        assert (got.log_softmax(-1) - whole[0].log_softmax(-1)).abs().max() <= 1e-4


def joined(pieces):
    ids, blocks, at = [], [], 0
    for row, own in pieces:
        blocks += [type(b)(b.start + at, b.grid, b.step) for b in own]
        ids.append(row)
        at += len(row)
    return np.concatenate(ids), blocks


def test_packing_under_a_block_mask_changes_nothing(vlm):
    a, b, c = pictures(vlm, SIZES)
    rows = [
        conversation(vlm, [(5, [a, b], 4)], seed=1),
        conversation(vlm, [(2, [c], 3)], seed=2),
        conversation(vlm, [(6, [], 0)], seed=3),
    ]
    apart, _, mask = logits(vlm, rows, [a, b, c])
    ids = torch.from_numpy(np.concatenate([r[0] for r in rows]))[None]
    positions = np.concatenate([vlm.family.positions(len(r), k) for r, k in rows], axis=1)
    number = torch.repeat_interleave(torch.arange(3), torch.tensor([len(r[0]) for r in rows]))
    causal = torch.ones(len(number), len(number)).tril().bool()
    block = (number[:, None] == number) & causal
    hidden = vlm.hidden(
        ids,
        torch.from_numpy(positions)[:, None],
        attention_mask=block[None, None],
        vision=vlm.encode([a, b, c]),
    )
    assert (vlm.head(hidden)[0] - apart[mask.bool()]).abs().max() <= 1e-5


def test_a_block_mask_works_with_eager_attention_too():
    sdpa, eager = shared("qwen3_vl"), build("qwen3_vl").requires_grad_(False)
    eager.model.set_attn_implementation("eager")
    row = conversation(sdpa, [(6, [], 4)])
    ids, positions, _ = batch(sdpa, [row])
    mask = torch.ones(10, 10).tril().bool()
    mask[5:, :3] = False
    mask = mask[None, None]
    want = sdpa.hidden(ids, positions, attention_mask=mask)
    assert (want - sdpa.hidden(ids, positions)).abs().max() > 1e-3
    assert (eager.hidden(ids, positions, attention_mask=mask) - want).abs().max() <= 1e-5
    eager.model.config._attn_implementation = "flash_attention_2"
    with pytest.raises(EngineError, match="4-D"):
        eager.hidden(ids, positions, attention_mask=mask)


def test_rows_that_see_nothing_stay_finite(vlm):
    ids, positions, _ = batch(vlm, [conversation(vlm, [(4, [], 2)])])
    mask = torch.ones(6, 6).tril().bool()
    mask[4:] = False
    hidden = vlm.hidden(ids, positions, attention_mask=mask[None, None])
    assert hidden.isfinite().all()


@pytest.mark.parametrize("spoil", ["zeroed", "permuted"])
def test_pixels_move_the_log_probs(vlm, spoil):
    (picture,) = pictures(vlm, SIZES[:1])
    data = picture.data.copy()
    if spoil == "zeroed":
        data[:] = 0
    else:
        data = data[np.random.default_rng(0).permutation(len(data))]
    other = type(picture)(data, picture.grid, picture.shown)
    row = conversation(vlm, [(3, [picture], 5)])
    before = logits(vlm, [row], [picture])[0].log_softmax(-1)
    after = logits(vlm, [row], [other])[0].log_softmax(-1)
    start = row[1][0].start
    assert torch.equal(before[:, :start], after[:, :start])
    assert (before - after)[:, -1].abs().max() > 1e-3


@pytest.mark.parametrize("name", NAMES)
def test_every_part_of_the_vision_tower_gets_the_librarys_gradient(name):
    vlm = build(name)
    patches = pictures(vlm, [*SIZES, SIZES[0]])
    rows = [conversation(vlm, [(3, patches[:2], 5)]), conversation(vlm, [(3, patches[2:], 2)])]
    ours, ids, mask = logits(vlm, rows, patches)
    weight = torch.randn(ours.shape, generator=torch.Generator().manual_seed(1))
    weight = weight * mask[..., None]
    grads = []
    for values in (ours, library_logits(vlm, ids, mask, patches)):
        vlm.zero_grad()
        (values * weight).sum().backward()
        grads.append({n: p.grad.clone() for n, p in vlm.named_parameters()})
    for key, mine in grads[0].items():
        scale = grads[1][key].abs().max()
        if "visual" in key:
            assert scale > 0, key
        assert (mine - grads[1][key]).abs().max() <= 1e-4 * max(float(scale), 1.0), key


def test_forward_is_encode_and_hidden(vlm):
    a, b = pictures(vlm, SIZES[:2])
    row = conversation(vlm, [(3, [a, b, a], 5)])
    ids, positions, _ = batch(vlm, [row])
    vision = vlm.encode([a, b])
    rows = vision.rows([0, 1, 0])
    got = vlm(ids, positions, patches=[a, b], rows=rows)
    assert torch.equal(got, vlm.hidden(ids, positions, vision=vision, rows=rows))


def test_text_alone_needs_no_pictures(vlm):
    row = conversation(vlm, [(6, [], 2)])
    ids, positions, mask = batch(vlm, [row])
    want = vlm.model(input_ids=ids, attention_mask=mask).logits
    for vision in (None, vlm.encode([])):
        assert (vlm.head(vlm.hidden(ids, positions, vision=vision)) - want).abs().max() <= 1e-5


def test_counts_that_do_not_match_are_refused(vlm):
    a, b = pictures(vlm, SIZES[:2])
    ids, positions, _ = batch(vlm, [conversation(vlm, [(3, [a], 5)])])
    with pytest.raises(RecordError, match="16 placeholder tokens but 0 feature rows"):
        vlm.hidden(ids, positions)
    with pytest.raises(RecordError, match="but 28 feature rows"):
        vlm.hidden(ids, positions, vision=vlm.encode([a, b]))
    for bad in (torch.arange(16) + 1, torch.arange(16) - 1):
        with pytest.raises(RecordError, match="run from 0 to 15"):
            vlm.hidden(ids, positions, vision=vlm.encode([a]), rows=bad)


@pytest.mark.parametrize(("rows", "grid"), [(60, (1, 8, 8)), (64, (1, 4, 8)), (9, (1, 3, 3))])
def test_patches_that_do_not_match_their_grid_are_refused(vlm, rows, grid):
    (a,) = pictures(vlm, SIZES[:1])
    with pytest.raises(RecordError, match="picture 1"):
        vlm.encode([a, type(a)(a.data[:rows], grid, a.shown)])


def test_what_an_engine_must_know(vlm):
    assert vlm.kv_shape == (2, 2, 32)
    cache = DynamicCache()
    ids, positions, _ = batch(vlm, [conversation(vlm, [(6, [], 2)])])
    vlm.hidden(ids, positions, cache=cache)
    assert cache.layers[1].keys.shape == (1, vlm.kv_shape[1], 8, vlm.kv_shape[2])
    assert vlm.vocab_size == vlm.head(torch.zeros(64)).shape[0]
    config = vlm.model.config
    assert set(vlm.placeholder_ids) >= {config.image_token_id, config.video_token_id}
    assert (vlm.dtype, vlm.device.type) == (torch.float32, "cpu")
