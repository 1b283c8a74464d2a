"""Group F of the fault catalogue: checkpoints and resume."""

import errno
import json
import os
import warnings

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
from vtool.rl import checkpoint
from vtool.rl.checkpoint import MOMENTS, Checkpoints
from vtool.rl.lock import RunLock
from vtool.rl.optimizer_state import optimizer_tensors, restore_optimizer
from vtool.rl.resume import check_resume

from vtool.errors import CheckpointError


def resumed(folder):
    """(step, warnings) of the checkpoint that a resume would take."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        loaded = Checkpoints(folder).load_latest()
    return step_of(loaded), [str(w.message) for w in told]


def f1(tmp_path):
    """Killed at each moment and at some byte counts: always a whole checkpoint, never a scare."""
    ends = [lambda f, m=m: save(f, 2, hook=kill_at(m)) for m in MOMENTS]
    ends += [lambda f, n=n: (limit_bytes(n, kill=True), save(f, 2)) for n in (1, 50, 150, 400)]
    for i, end in enumerate(ends):
        folder = tmp_path / str(i)
        save(folder, 1)
        if not killed(in_child(lambda end=end, folder=folder: end(folder))):
            return f"end {i} was not hit"
        published = i < len(MOMENTS) and i >= MOMENTS.index("after_rename")
        if resumed(folder) != (2 if published else 1, []):
            return f"after end {i}: {resumed(folder)}"
    return "resumed from the last complete"


def f2(tmp_path):
    save(tmp_path, 1)
    for name in ("step-000002.incomplete", "step-000007.incomplete"):
        (tmp_path / name / "model").mkdir(parents=True)
        (tmp_path / name / "model" / "part").write_text("x")
    save(tmp_path, 2)
    left = [p.name for p in tmp_path.glob("*.incomplete")]
    return "replaced" if not left and resumed(tmp_path) == (2, []) else str(left)


def f3(tmp_path):
    save(tmp_path, 1)

    def full(folder):
        model_writer(2)(folder)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    try:
        Checkpoints(tmp_path).save(state(2), write_model=full)
    except CheckpointError as err:
        said = "No space left" in str(err) and "step-000001 is intact" in str(err)
        left = sorted(p.name for p in tmp_path.iterdir())
        clean = left == ["step-000001"] and resumed(tmp_path) == (1, [])
        return "failed cleanly" if said and clean else f"{err}; {left}"
    return "nothing said"


def f4(tmp_path):
    for case, damage in {
        "model/model.safetensors does not match": flip_bit,
        "optimizer.safetensors does not match": flip_bit,
        "model/model.safetensors is missing": os.remove,
    }.items():
        folder = tmp_path / case.replace("/", "_")
        save(folder, 1)
        damage(save(folder, 2) / case.split()[0])
        step, told = resumed(folder)
        if step != 1 or case not in told[0] or "using step-000001 instead" not in told[0]:
            return f"{case}: {step} {told}"
    return "fell back and said so"


def f5(tmp_path):
    with RunLock(tmp_path):
        try:
            RunLock(tmp_path).acquire()
        except CheckpointError as err:
            return "refused" if f"process {os.getpid()} on" in str(err) else str(err)
    return "taken twice"


def f6():
    old, new = {"learner": {"lr": 1e-5, "clip": 0.2}}, {"learner": {"lr": 1e-4, "clip": 0.2}}
    check_resume(old, new, force=["learner.lr"])
    try:
        check_resume(old, new)
    except CheckpointError as err:
        wanted = "learner.lr: 1e-05 -> 0.0001" in str(err) and "--force learner.lr" in str(err)
        return "refused with the difference" if wanted else str(err)
    return "resumed"


def f12():
    def adam(names):
        params = {n: torch.nn.Parameter(torch.zeros(2)) for n in names}
        optimizer = torch.optim.AdamW(params.values())
        for param in params.values():
            param.grad = torch.ones(2)
        optimizer.step()
        return optimizer, {p: n for n, p in params.items()}

    saved = optimizer_tensors(*adam(["head", "lora_A"]))
    try:
        restore_optimizer(*adam(["head", "lora_B"]), *saved)
    except CheckpointError as err:
        return "names the keys" if "lora_A" in str(err) and "lora_B" in str(err) else str(err)
    return "loaded"


def f13(tmp_path):
    """A folder with pickles or code, its manifest made to fit: refused, not fallen back from."""
    codes = set()
    for i, plant in enumerate((plant_pickle, plant_code)):
        folder = tmp_path / str(i)
        save(folder, 1)
        path = save(folder, 2)
        plant(path / "model")
        checkpoint.manifest.write_manifest(path)
        try:
            Checkpoints(folder).load_latest()
            codes.add("loaded")
        except CheckpointError as err:
            codes.add("refused" if "code" in str(err) else str(err))
    return codes.pop() if len(codes) == 1 else str(codes)


def plant_pickle(model):
    (model / "pytorch_model.bin").write_bytes(b"\x80\x04")


def plant_code(model):
    body = {"model_type": "qwen3_vl", "auto_map": {"AutoModel": "evil.Model"}}
    (model / "config.json").write_text(json.dumps(body))
