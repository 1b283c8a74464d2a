"""Resume: the lock, another recipe, optimiser and random state, and all of it together."""

import json
import os
import random
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch
from checkpoints import in_child, kill_at, killed
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from vtool.rl import lock, rng
from vtool.rl.checkpoint import Checkpoints, TrainState
from vtool.rl.lock import RunLock
from vtool.rl.optimizer_state import optimizer_tensors, restore_optimizer
from vtool.rl.resume import check_resume, differences

from vtool.errors import CheckpointError

# --- the lock -----------------------------------------------------------------------------------


def test_a_lock_is_given_back(tmp_path):
    with RunLock(tmp_path):
        assert (tmp_path / "run.lock").exists()
    assert not (tmp_path / "run.lock").exists()
    with RunLock(tmp_path):
        pass


def test_another_process_is_refused_and_told_who(tmp_path):
    def work():
        with pytest.raises(CheckpointError, match=f"in use by process {os.getppid()} on"):
            RunLock(tmp_path).acquire()

    with RunLock(tmp_path):
        assert in_child(work) == 0
        assert (tmp_path / "run.lock").exists()


def test_the_lock_of_a_killed_process_is_taken_over_with_a_word(tmp_path):
    def work():
        RunLock(tmp_path).acquire()
        os.kill(os.getpid(), signal.SIGKILL)

    assert killed(in_child(work))
    with pytest.warns(UserWarning, match="took over the lock of process"), RunLock(tmp_path):
        assert json.loads((tmp_path / "run.lock").read_text())["pid"] == os.getpid()


@pytest.mark.parametrize(
    ("change", "held"),
    [({}, True), ({"born": 1}, False), ({"pid": 2**22 + 1}, False), ({"host": "other"}, True)],
    ids=["ours", "number used again", "no such process", "another machine"],
)
def test_who_holds_a_lock(change, held):
    mine = lock.this_process()
    fields = {"host": mine.host, "pid": mine.pid, "born": mine.born, "since": mine.since}
    assert lock.is_held(lock.Owner(**{**fields, **change})) is held


def test_a_lock_that_cannot_be_read_is_not_taken(tmp_path):
    (tmp_path / "run.lock").write_text("")
    with pytest.raises(CheckpointError, match="delete it"):
        RunLock(tmp_path).acquire()
    assert (tmp_path / "run.lock").exists()


def test_release_leaves_the_lock_of_somebody_else(tmp_path):
    mine = RunLock(tmp_path).acquire()
    other = '{"host": "other", "pid": 1, "born": 0, "since": ""}'
    (tmp_path / "run.lock").write_text(other)
    mine.release()
    assert (tmp_path / "run.lock").read_text() == other


# --- another recipe -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "keys"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 3, "c": 2}}, ["a.b"]),
        ({"a": 1}, {"a": 1, "b": None}, ["b"]),
        ({"a": 1}, {"a": 1.0}, []),
        ({"a": 1}, {"a": True}, ["a"]),
        ({"a": (1, 2)}, {"a": [1, 2]}, []),
        ({"a": [1, 2]}, {"a": [1, 3]}, ["a"]),
        ({"s": [{"n": 1}]}, {"s": [{"n": 2}]}, ["s.0.n"]),
        ({"a": {}}, {"a": {"b": 1}}, ["a", "a.b"]),
        ({"a": float("nan")}, {"a": float("nan")}, []),
    ],
)
def test_differences_by_key(old, new, keys):
    assert [d.key for d in differences(old, new)] == keys


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({"steps": 2, "learner": {"schedule": "cosine"}}, {"steps": 4}),
        ({"estimator_options": {"steps": 1}}, {"estimator_options": {"steps": 9}}),
        ({"reward": {"options": {"keep": 1}}}, {"reward": {"options": {"keep": 9}}}),
    ],
)
def test_what_changes_the_learning_is_not_harmless_under_any_name(old, new):
    with pytest.raises(CheckpointError, match="--force"):
        check_resume(old, old | new)


def test_how_much_is_kept_and_told_is_harmless():
    old = {"trace_every": 20, "keep": 2, "checkpoint_every": 10, "tensorboard": True}
    new = {"trace_every": 1, "keep": 9, "checkpoint_every": 3, "tensorboard": False}
    assert len(check_resume(old, new)) == 4


@pytest.mark.parametrize(
    ("new", "force", "allowed"),
    [
        ({"steps": 99, "learner": {"lr": 1, "clip": 2}}, [], True),
        ({"steps": 60, "learner": {"lr": 5, "clip": 2}}, [], False),
        ({"steps": 60, "learner": {"lr": 5, "clip": 2}}, ["learner.lr"], True),
        ({"steps": 60, "learner": {"lr": 5, "clip": 9}}, ["learner.lr"], False),
        ({"steps": 60, "learner": {"lr": 5, "clip": 9}}, ["learner"], True),
        ({"steps": 60, "learner": {"lr": 5, "clip": 2}}, ["learn", "lr"], False),
    ],
)
def test_only_harmless_or_forced_keys_may_differ(new, force, allowed):
    old = {"steps": 60, "learner": {"lr": 1, "clip": 2}}
    if allowed:
        assert check_resume(old, new, force) == differences(old, new)
    else:
        with pytest.raises(CheckpointError, match="--force learner"):
            check_resume(old, new, force)


# --- the optimiser ------------------------------------------------------------------------------


def network(dtype=torch.float32):
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Linear(8, 2)).to(dtype)


def train(model, optimizer, steps, seed):
    source = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        dtype = next(model.parameters()).dtype
        loss = model(torch.randn(16, 4, generator=source).to(dtype)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def named(model):
    return {p: n for n, p in model.named_parameters()}


def two_groups(model):
    first, second = model
    return torch.optim.AdamW(
        [{"params": first.parameters(), "lr": 1e-2}, {"params": second.parameters()}], lr=1e-3
    )


OPTIMIZERS = {
    "adamw": lambda m: torch.optim.AdamW(m.parameters(), lr=1e-2),
    "adamw, amsgrad, lr tensor": lambda m: torch.optim.AdamW(
        m.parameters(), lr=torch.tensor(1e-2), amsgrad=True, foreach=False
    ),
    "two groups": two_groups,
    "sgd": lambda m: torch.optim.SGD(m.parameters(), lr=1e-2),
    "momentum": lambda m: torch.optim.SGD(m.parameters(), lr=1e-2, momentum=0.9),
    "adafactor": lambda m: torch.optim.Adafactor(m.parameters(), lr=1e-2),
    "rmsprop": lambda m: torch.optim.RMSprop(m.parameters(), lr=1e-3, centered=True),
    "radam": lambda m: torch.optim.RAdam(m.parameters(), lr=1e-3),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_a_restored_optimizer_goes_on_bit_for_bit(tmp_path, kind, dtype):
    model = network(dtype)
    optimizer = OPTIMIZERS[kind](model)
    train(model, optimizer, 3, seed=1)
    tensors, layout = optimizer_tensors(optimizer, named(model))
    save_file(tensors, tmp_path / "o.safetensors")
    layout = json.loads(json.dumps(layout))
    weights = {n: p.detach().clone() for n, p in model.named_parameters()}
    train(model, optimizer, 3, seed=2)

    other = network(dtype)
    other.load_state_dict(weights)
    again = OPTIMIZERS[kind](other)
    train_other = load_file(tmp_path / "o.safetensors")
    restore_optimizer(again, named(other), train_other, layout)
    train(other, again, 3, seed=2)
    for one, two in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(one, two)


def test_nothing_is_cast_on_the_way_back():
    """torch's own load_state_dict would round fp32 moments to the parameter's bf16."""
    model = network(torch.bfloat16)
    optimizer = torch.optim.AdamW(model.parameters())
    for param in model.parameters():
        optimizer.state[param] = {
            "step": torch.tensor(3.0),
            "exp_avg": torch.rand(param.shape, dtype=torch.float32),
            "exp_avg_sq": torch.rand(param.shape, dtype=torch.float32),
        }
    tensors, layout = optimizer_tensors(optimizer, named(model))
    again = torch.optim.AdamW(model.parameters())
    restore_optimizer(again, named(model), tensors, layout)
    for param in model.parameters():
        for key, value in optimizer.state[param].items():
            assert again.state[param][key].dtype == torch.float32
            assert torch.equal(again.state[param][key], value)


def test_what_was_restored_does_not_alias_what_was_saved():
    model = network()
    optimizer = torch.optim.AdamW(model.parameters())
    train(model, optimizer, 1, seed=0)
    tensors, layout = optimizer_tensors(optimizer, named(model))
    tensors = {k: v.clone() for k, v in tensors.items()}
    kept = {k: v.clone() for k, v in tensors.items()}
    restore_optimizer(optimizer, named(model), tensors, layout)
    train(model, optimizer, 1, seed=1)
    assert all(torch.equal(kept[k], tensors[k]) for k in kept)


def bad_class(layout, tensors):
    layout["class"] = "SGD"


def bad_shape(layout, tensors):
    layout["state"]["0.weight"]["shape"] = [9, 9]


def bad_tensor(layout, tensors):
    del tensors["state/0.bias/exp_avg"]


def bad_name(layout, tensors):
    layout["state"]["0.lora_A"] = layout["state"].pop("0.weight")


def bad_order(layout, tensors):
    layout["groups"][0]["params"].reverse()


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (bad_class, "saved from SGD, this is AdamW"),
        (bad_shape, r"0.weight \[9, 9\] -> \[8, 4\]"),
        (bad_tensor, "state/0.bias/exp_avg"),
        (bad_name, r"without saved state: 0.weight.*not here: 0.lora_A"),
        (bad_order, "ordered differently"),
    ],
)
def test_an_optimizer_that_does_not_fit_is_refused_and_untouched(spoil, said):
    model = network()
    optimizer = torch.optim.AdamW(model.parameters())
    train(model, optimizer, 1, seed=0)
    tensors, layout = optimizer_tensors(optimizer, named(model))
    tensors, layout = dict(tensors), json.loads(json.dumps(layout))
    spoil(layout, tensors)
    again = torch.optim.AdamW(model.parameters())
    with pytest.raises(CheckpointError, match=said):
        restore_optimizer(again, named(model), tensors, layout)
    assert not again.state


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (lambda m: dict(list(named(m).items())[1:]), "1 of 4 parameters of the optimiser have no"),
        (lambda m: dict.fromkeys(m.parameters(), "w"), "more than one parameter: w"),
    ],
)
def test_parameters_need_names_of_their_own(names, said):
    model = network()
    with pytest.raises(CheckpointError, match=said):
        optimizer_tensors(torch.optim.AdamW(model.parameters()), names(model))


def test_state_that_would_need_a_pickle_is_refused():
    model = network()
    optimizer = torch.optim.AdamW(model.parameters())
    optimizer.state[next(model.parameters())] = {"extra": object()}
    with pytest.raises(CheckpointError, match=r"0.weight/extra is a object"):
        optimizer_tensors(optimizer, named(model))


# --- random state -------------------------------------------------------------------------------


def draws():
    return (
        [random.random() for _ in range(3)] + [random.gauss(0, 1)],
        np.random.normal(size=3).tolist(),
        torch.rand(3).tolist() + torch.randn(3).tolist(),
    )


@given(seed=st.integers(0, 2**32 - 1), count=st.integers(0, 700))
@settings(max_examples=30)
def test_random_state_round_trips_bit_for_bit(seed, count):
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    # An odd number of normal draws leaves half of a pair behind, which is state too.
    [random.gauss(0, 1) for _ in range(count)]
    np.random.normal(size=count)
    torch.randn(count)
    saved = json.dumps(rng.capture(), allow_nan=False)
    first = draws()
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    rng.restore(json.loads(saved))
    assert draws() == first
    rng.restore(json.loads(saved))
    assert json.dumps(rng.capture()) == saved


def test_random_state_comes_back_in_another_process(tmp_path):
    body = json.dumps(rng.capture())
    want = json.dumps(draws())
    program = (
        "import json, random, sys, numpy as np, torch\nfrom vtool.rl import rng\n"
        "rng.restore(json.load(sys.stdin))\n"
        "print(json.dumps(([random.random() for _ in range(3)] + [random.gauss(0, 1)],"
        "np.random.normal(size=3).tolist(), torch.rand(3).tolist() + torch.randn(3).tolist())))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], input=body, capture_output=True, text=True
    )
    assert done.stdout.strip() == want, done.stderr


@pytest.mark.parametrize(
    "spoil",
    [
        lambda b: b.pop("numpy"),
        lambda b: b.update(torch="AAAA"),
        lambda b: b["python"].update(words="!"),
        lambda b: b["python"].update(version=1),
    ],
)
def test_a_foreign_random_state_is_refused(spoil):
    body = json.loads(json.dumps(rng.capture()))
    spoil(body)
    with pytest.raises(CheckpointError, match="not one of ours"):
        rng.restore(body)


def test_another_number_of_devices_is_told(monkeypatch):
    body = {**rng.capture(), "cuda": ["AAAA"]}
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.warns(UserWarning, match="1 CUDA devices and there are 0"):
        rng.restore(body)


# --- all of it ----------------------------------------------------------------------------------


def test_a_run_through_checkpoints_equals_an_unbroken_one(tmp_path):
    """Weights, optimiser and random state together, over three kills and resumes."""

    def start():
        random.seed(1)
        np.random.seed(1)
        model = network()
        return model, torch.optim.AdamW(model.parameters(), lr=1e-2)

    def one_step(model, optimizer):
        data = torch.randn(8, 4) * random.random() + float(np.random.normal())
        optimizer.zero_grad()
        model(data).square().mean().backward()
        optimizer.step()

    def run(folder, upto, die_at=None):
        model, optimizer = start()
        loaded = Checkpoints(folder).load_latest()
        if loaded:
            model.load_state_dict(load_file(loaded.model / "model.safetensors"))
            here = loaded.state
            restore_optimizer(optimizer, named(model), here.tensors, here.optimizer)
            rng.restore(here.rng)
        for step in range(loaded.state.step + 1 if loaded else 1, upto + 1):
            one_step(model, optimizer)
            tensors, layout = optimizer_tensors(optimizer, named(model))

            def write(target, model=model):
                (target / "config.json").write_text("{}")
                save_file(dict(model.state_dict()), target / "model.safetensors")

            hook = kill_at(die_at[1]) if die_at and die_at[0] == step else None
            body = TrainState(step=step, tensors=tensors, optimizer=layout, rng=rng.capture())
            Checkpoints(folder, hook=hook).save(body, write_model=write)
        return model

    want = run(tmp_path / "unbroken", 6)
    for die_at in ((2, "after_optimizer"), (3, "after_rename"), (5, "before_files")):
        assert killed(in_child(lambda d=die_at: run(tmp_path / "broken", 6, d)))
    got = run(tmp_path / "broken", 6)
    for one, two in zip(want.parameters(), got.parameters(), strict=True):
        assert torch.equal(one, two)
