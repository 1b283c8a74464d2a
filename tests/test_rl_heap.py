"""The garbage collector in a long loop."""

import gc

import pytest
from vtool.rl.heap import settled_heap


@pytest.fixture(autouse=True)
def nothing_frozen():
    """Whatever was left out before, nothing is at the start of a test, nor after it."""
    gc.unfreeze()
    yield
    gc.unfreeze()


def test_what_lives_is_left_out_until_the_end():
    with settled_heap():
        assert gc.get_freeze_count() > 1000
    assert gc.get_freeze_count() == 0


def test_it_ends_where_a_loop_breaks():
    with pytest.raises(ValueError, match="over"), settled_heap():
        raise ValueError("over")
    assert gc.get_freeze_count() == 0


def test_a_loop_in_a_loop_does_not_end_the_outer_one():
    with settled_heap():
        with settled_heap():
            pass
        assert gc.get_freeze_count() > 1000
    assert gc.get_freeze_count() == 0


def test_what_others_have_frozen_stays_so():
    gc.freeze()
    with settled_heap():
        pass
    assert gc.get_freeze_count() > 1000
