"""The order of tasks: each once an epoch, a function of seed and cursor alone."""

import pytest
from vtool.rl.sampler import Sampler

from vtool.errors import DataError


def test_each_task_comes_once_an_epoch_and_epochs_differ():
    drawn = Sampler(7, seed=3).draw(21)
    epochs = [drawn[i : i + 7] for i in (0, 7, 14)]
    assert [sorted(e) for e in epochs] == [list(range(7))] * 3
    assert epochs[0] != epochs[1] != epochs[2]


def test_a_cursor_and_the_size_of_draws_change_nothing():
    whole = Sampler(5, seed=1).draw(17)
    sampler = Sampler(5, seed=1)
    assert [i for n in (3, 1, 9, 4) for i in sampler.draw(n)] == whole
    assert Sampler(5, seed=1, cursor=6).draw(11) == whole[6:]
    sampler.cursor = 2  # as a resume sets it
    assert sampler.draw(5) == whole[2:7]


def test_no_tasks_is_an_error():
    with pytest.raises(DataError):
        Sampler(0, seed=0)
