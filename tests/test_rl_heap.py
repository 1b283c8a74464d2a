"""The garbage collector in a long loop."""

import gc

import pytest
from vtool.rl.heap import settled_heap


def test_what_lives_is_left_out_until_the_end():
    before = gc.get_freeze_count()
    with settled_heap():
        assert gc.get_freeze_count() > before + 1000
    assert gc.get_freeze_count() == 0


def test_it_ends_where_a_loop_breaks():
    with pytest.raises(ValueError, match="over"), settled_heap():
        raise ValueError("over")
    assert gc.get_freeze_count() == 0
