"""Checkpoints: whole or not at all, whatever stops the save."""

import errno
import json
import os
import re
import signal
import warnings

import pytest
import torch
from checkpoints import (
    flip_bit,
    in_child,
    kill_at,
    killed,
    limit_bytes,
    model_writer,
    save,
    state,
    step_of,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from vtool.rl import manifest, rng
from vtool.rl.checkpoint import MOMENTS, Checkpoints, TrainState, complete

from vtool.errors import CheckpointError


@pytest.fixture(autouse=True)
def no_wait_for_the_disk(monkeypatch):
    """A killed process loses no bytes that the kernel has; only a power cut would need these."""
    monkeypatch.setattr(os, "fsync", lambda fd: None)


def names_in(folder):
    return sorted(p.name for p in folder.iterdir())


# --- the folder ---------------------------------------------------------------------------------


def test_what_is_saved_comes_back(tmp_path):
    body = {
        "rng": rng.capture(),
        "adaptive": {"kl": 0.1 + 0.2, "tiny": 5e-324},
        "schedule": {"base": 3e-4},
        "recipe": {"learner": {"lr": 3e-4}},
        "weight_version": 7,
        "optimizer": {"class": "AdamW"},
    }
    save(tmp_path, 3, **body)
    loaded = Checkpoints(tmp_path).load_latest()
    assert step_of(loaded) == 3
    for name, value in body.items():
        assert getattr(loaded.state, name) == value
    assert loaded.state.versions["torch"] == torch.__version__
    assert names_in(loaded.path) == [
        "manifest.json",
        "model",
        "optimizer.safetensors",
        "state.json",
    ]


def test_nothing_there_is_none(tmp_path):
    assert Checkpoints(tmp_path / "new").load_latest() is None


@pytest.mark.parametrize("keep", [1, 2, 3])
def test_the_oldest_are_dropped(tmp_path, keep):
    for step in (1, 2, 5, 10):
        save(tmp_path, step, keep=keep)
    assert names_in(tmp_path) == [f"step-{s:06d}" for s in (1, 2, 5, 10)][-keep:]


def test_keep_none_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="at least 1"):
        Checkpoints(tmp_path, keep=0)


def test_more_than_a_million_steps_sort_by_number(tmp_path):
    save(tmp_path, 999_999)
    save(tmp_path, 1_000_000)
    assert step_of(Checkpoints(tmp_path).load_latest()) == 1_000_000


def test_the_hook_hears_every_moment_in_order(tmp_path):
    heard = []
    save(tmp_path, 1, hook=heard.append)
    assert tuple(heard) == MOMENTS


def test_the_same_step_twice_keeps_the_second(tmp_path):
    save(tmp_path, 1, keep=1)
    save(tmp_path, 1, keep=1, weight_version=2)
    assert Checkpoints(tmp_path).load_latest().state.weight_version == 2
    assert names_in(tmp_path) == ["step-000001"]


def test_a_kill_between_the_renames_of_one_step_loses_nothing(tmp_path, monkeypatch):
    save(tmp_path, 1, keep=1)
    real = os.rename

    def second_dies(source, target):
        if str(source).endswith(".incomplete"):
            os.kill(os.getpid(), signal.SIGKILL)
        real(source, target)

    def work():
        monkeypatch.setattr(os, "rename", second_dies)
        save(tmp_path, 1, keep=1, weight_version=2)

    assert killed(in_child(work))
    assert names_in(tmp_path) == ["step-000001.incomplete", "step-000001.old"]
    assert Checkpoints(tmp_path).load_latest().state.weight_version == 0
    save(tmp_path, 2, keep=2)
    assert names_in(tmp_path) == ["step-000001", "step-000002"]


def test_later_checkpoints_of_a_given_up_line_are_set_aside(tmp_path):
    for step in (10, 12):
        save(tmp_path, step)
    with pytest.warns(UserWarning, match="step-000012 is later than the step 11"):
        save(tmp_path, 11)
    assert step_of(Checkpoints(tmp_path).load_latest()) == 11
    assert "step-000012.abandoned" in names_in(tmp_path)


def test_a_state_with_nan_is_refused_and_the_old_one_stays(tmp_path):
    save(tmp_path, 1)
    with pytest.raises(ValueError, match="JSON compliant"):
        save(tmp_path, 2, adaptive={"kl": float("nan")})
    assert names_in(tmp_path) == ["step-000001"]


def test_bytes_are_on_the_disk_before_what_vouches_for_them(tmp_path, monkeypatch):
    synced = []

    def note(fd):
        synced.append(os.path.basename(os.readlink(f"/proc/self/fd/{fd}")))

    def moment(name):
        synced.append(name)

    monkeypatch.setattr(os, "fsync", note)
    save(tmp_path, 1, hook=moment)
    before, _, rest = "|".join(synced).partition("|manifest.json|")
    files = {"config.json", "model.safetensors", "optimizer.safetensors", "state.json", "model"}
    assert files <= set(before.split("|"))
    assert rest.startswith(f"step-000001.incomplete|after_manifest|before_rename|{tmp_path.name}|")


# --- stopped in the middle ----------------------------------------------------------------------


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("earlier", [True, False])
def test_killed_at_every_moment(tmp_path, moment, earlier):
    if earlier:
        save(tmp_path, 1)
    assert killed(in_child(lambda: save(tmp_path, 2, hook=kill_at(moment))))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loaded = Checkpoints(tmp_path).load_latest()
    published = MOMENTS.index(moment) >= MOMENTS.index("after_rename")
    assert (step_of(loaded) if loaded else None) == (2 if published else 1 if earlier else None)
    save(tmp_path, 3)
    assert step_of(Checkpoints(tmp_path).load_latest()) == 3
    assert not list(tmp_path.glob("*.incomplete"))


def bytes_of(folder):
    return max(p.stat().st_size for p in folder.rglob("*") if p.is_file())


@settings(max_examples=40)
@given(data=st.data())
def test_killed_at_any_byte_of_any_file(tmp_path_factory, data):
    """The kernel kills the process at the byte; which file is hit depends on their sizes."""
    folder = tmp_path_factory.mktemp("run")
    model, moments, cursor = (data.draw(st.sampled_from([1, 2000])) for _ in range(3))

    def write(step):
        body = TrainState(
            step=step,
            tensors={"state/w/exp_avg": torch.full((moments,), float(step))},
            cursor={"task": step, "seen": "x" * cursor},
        )
        return Checkpoints(folder).save(body, write_model=model_writer(step, model))

    size = bytes_of(write(1))
    count = data.draw(st.integers(0, size - 1))
    assert killed(in_child(lambda: (limit_bytes(count, kill=True), write(2))))
    assert step_of(Checkpoints(folder).load_latest()) == 1
    write(2)
    assert step_of(Checkpoints(folder).load_latest()) == 2


@settings(max_examples=40)
@given(data=st.data())
def test_a_published_file_cut_at_any_byte_is_noticed(tmp_path_factory, data):
    """What a power cut can leave on a disk that lied: the name is there, the bytes are not."""
    folder = tmp_path_factory.mktemp("run")
    save(folder, 1)
    path = save(folder, 2)
    files = sorted(p for p in path.rglob("*") if p.is_file())
    hit = data.draw(st.sampled_from(files))
    # The last byte of a JSON file is a line's end, which says nothing.
    whole = hit.stat().st_size - (hit.suffix == ".json")
    os.truncate(hit, data.draw(st.integers(0, whole - 1)))
    with pytest.warns(UserWarning, match=r"step-000002 is damaged: .*using step-000001 instead"):
        loaded = Checkpoints(folder).load_latest()
    assert step_of(loaded) == 1
    assert len(loaded.skipped) == 1


# --- the disk is full ---------------------------------------------------------------------------


@pytest.mark.parametrize("moment", MOMENTS[: MOMENTS.index("after_rename")])
def test_disk_full_at_every_moment(tmp_path, moment):
    save(tmp_path, 1)

    def full(name):
        if name == moment:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(CheckpointError, match=r"No space left.*step-000001 is intact.*Make room"):
        save(tmp_path, 2, hook=full)
    assert names_in(tmp_path) == ["step-000001"]
    assert step_of(Checkpoints(tmp_path).load_latest()) == 1


@pytest.mark.parametrize("share", [0, 0.05, 0.2, 0.5, 0.75, 0.99])
def test_no_more_bytes_from_the_system(tmp_path, share):
    """The same, from the kernel: also inside the native safetensors writer."""
    count = int(bytes_of(save(tmp_path, 1)) * share)

    def work():
        limit_bytes(count, kill=False)
        with pytest.raises(CheckpointError, match="step-000002 was not written"):
            save(tmp_path, 2)

    assert in_child(work) == 0
    assert names_in(tmp_path) == ["step-000001"]
    assert step_of(Checkpoints(tmp_path).load_latest()) == 1


def test_an_interrupt_removes_the_temporary_and_passes_through(tmp_path):
    def stop(name):
        if name == "after_model":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        save(tmp_path, 1, hook=stop)
    assert names_in(tmp_path) == []


def test_a_model_that_could_not_be_loaded_back_is_not_published(tmp_path):
    def write(folder):
        model_writer(1)(folder)
        (folder / "training_args.bin").write_bytes(b"x")

    with pytest.raises(CheckpointError, match="pickled"):
        Checkpoints(tmp_path).save(state(1), write_model=write)
    assert names_in(tmp_path) == []


# --- damage -------------------------------------------------------------------------------------


@settings(max_examples=40)
@given(seed=st.integers(0, 10**6), which=st.integers(0, 10))
def test_any_flipped_bit_is_noticed(tmp_path_factory, seed, which):
    folder = tmp_path_factory.mktemp("run")
    save(folder, 1)
    files = sorted(p for p in save(folder, 2).rglob("*") if p.is_file())
    hit = files[which % len(files)]
    before = hit.read_bytes()
    flip_bit(hit, seed)
    if hit.name == "manifest.json" and same_json(before, hit.read_bytes()):
        return
    with pytest.warns(UserWarning, match="damaged"):
        assert step_of(Checkpoints(folder).load_latest()) == 1


def same_json(one, other):
    """A flipped bit of a manifest's white space or format number changes nothing that it says."""
    try:
        return json.loads(one)["files"] == json.loads(other)["files"]
    except (ValueError, KeyError):
        return False


@pytest.mark.parametrize(
    ("break_it", "said"),
    [
        (lambda p: (p / "model" / "model.safetensors").unlink(), "model.safetensors is missing"),
        (lambda p: (p / "manifest.json").unlink(), "manifest.json is missing"),
        (lambda p: (p / "manifest.json").write_text("[]"), "must hold a JSON object, got list"),
        (lambda p: (p / "manifest.json").write_text("{"), "manifest.json cannot be read"),
        (lambda p: (p / "manifest.json").write_text('{"files": {}}'), "does not list state.json"),
        (lambda p: (p / "state.json").write_text("{}"), "state.json has 2 bytes, not"),
    ],
)
def test_damage_is_named(tmp_path, break_it, said):
    save(tmp_path, 1)
    break_it(save(tmp_path, 2))
    with pytest.warns(UserWarning, match=re.escape(said)):
        loaded = Checkpoints(tmp_path).load_latest()
    assert step_of(loaded) == 1


def test_all_damaged_is_an_error_not_a_fresh_start(tmp_path):
    for step in (1, 2):
        (save(tmp_path, step) / "state.json").unlink()
    with pytest.raises(CheckpointError, match=r"step-000002 .*step-000001 .*start again"):
        Checkpoints(tmp_path).load_latest()


def test_a_note_in_the_folder_is_no_damage(tmp_path):
    (save(tmp_path, 1) / "note.txt").write_text("the good one")
    assert step_of(Checkpoints(tmp_path).load_latest()) == 1


def edited(path, **change):
    body = json.loads((path / "state.json").read_text())
    (path / "state.json").write_text(json.dumps({**body, **change}))
    manifest.write_manifest(path)


@pytest.mark.parametrize(
    ("change", "said"),
    [({"format": 2}, "another version"), ({"recipe": {"lr": 1}}, "was edited")],
)
def test_a_foreign_state_is_refused(tmp_path, change, said):
    edited(save(tmp_path, 1), **change)
    with pytest.raises(CheckpointError, match=said):
        Checkpoints(tmp_path).load_latest()


def test_other_folders_are_left_alone(tmp_path):
    for name in ("step-1", "step-00000x", "step-000009.abandoned", "best"):
        (tmp_path / name).mkdir()
    (tmp_path / "step-000008").write_text("a file")
    save(tmp_path, 1)
    assert [p.name for p in complete(tmp_path)] == ["step-000001"]
    assert (tmp_path / "best").is_dir()
