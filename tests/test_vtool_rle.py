"""Run-length encoding of masks: COCO's own form, both ways."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from vtool.errors import GeometryError
from vtool.geometry import Mask
from vtool.rle import decode_mask, encode_mask, pack_counts, run_lengths, unpack_counts

COUNTS = (
    "[61o0:I4L4M2N2N2O0O2O0O@N01O10OO30M030M030L140LO40M030M030M110O1O02`0101N101N2N2N3L4L7F\\5"
)

GRIDS = hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, max_side=12))


@given(GRIDS, st.booleans())
def test_round_trip(cells, compressed):
    body = encode_mask(Mask(cells), compressed=compressed)
    assert body["size"] == list(cells.shape)
    assert decode_mask(body) == Mask(cells)


@given(st.lists(st.integers(0, 10**9), max_size=30))
def test_counts_round_trip_through_text(counts):
    assert unpack_counts(pack_counts(counts)) == counts


def test_runs_go_column_by_column_and_begin_with_background():
    cells = np.array([[0, 1, 1], [1, 1, 0]], bool)
    assert run_lengths(Mask(cells)) == [1, 4, 1]
    assert run_lengths(Mask(~cells)) == [0, 1, 4, 1]


@pytest.mark.parametrize(
    ("counts", "text"),
    # By hand: five bits a character from 48 up, bit 6 for more, differences from the third on.
    [([0], "0"), ([15], "?"), ([16], "`0"), ([6, 1, 40, 4, 5], "61X13mN"), ([1, 2, 3, 2], "1230")],
)
def test_worked_strings(counts, text):
    assert pack_counts(counts) == text
    assert unpack_counts(text) == counts


def test_a_mask_as_the_reference_writes_it():
    """Output of pycocotools 2.0.11 for a disc with a hole, 37 rows and 41 columns."""
    y, x = np.mgrid[:37, :41]
    distance = (y - 18) ** 2 + (x - 20) ** 2
    cells = (distance <= 225) & (distance >= 36)
    body = {"size": [37, 41], "counts": COUNTS}
    assert encode_mask(Mask(cells)) == body
    assert decode_mask(body) == Mask(cells)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"size": [2, 2], "counts": [3]},
        {"size": [2, 2], "counts": [5, -1]},
        {"size": [2], "counts": [4]},
        {"size": [2, True], "counts": [2]},
        {"size": [2, 2], "counts": "\x00"},
        {"size": [2, 2], "counts": "`"},
        {"size": [2, 2], "counts": "o" * 40},
        {"size": [2, 2], "counts": 4},
        {"size": [2, 2], "counts": ["4"]},
        {"size": [0, 2], "counts": []},
        {"size": [10**6, 10**6], "counts": [10**12]},
        {"size": [10**5, 10**5], "counts": pack_counts([0, 10**10])},
    ],
)
def test_what_is_no_mask_is_refused(body):
    with pytest.raises(GeometryError):
        decode_mask(body)
