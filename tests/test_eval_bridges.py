"""Our agent in other harnesses, and our results in their format.

lmms-eval and VLMEvalKit are not installed beside this project: their published interfaces stand
here as base classes. `benchmarks/lmms_bridge.py` runs the real lmms-eval.
"""

import abc
import asyncio
import dataclasses
import importlib
import json
import sys
import types
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image as PILImage
from vtool.eval.bridges.agent import Agent, AgentBroke, Asked, part_of
from vtool.eval.bridges.inspect_log import to_inspect, write_inspect_log
from vtool.eval.bridges.vlmeval import agent_class, parts_of
from vtool.eval.run import Settings, evaluate

from vtool.data import load_tasks
from vtool.errors import DataError, MediaError
from vtool.loading import load_policy
from vtool.media import Image
from vtool.record import Episode, StopReason
from vtool.toolbox import Toolbox
from vtool.trace import read_trace
from vtool.worlds.dataset import make


@pytest.fixture(scope="module")
def tasks(tmp_path_factory):
    path = make(tmp_path_factory.mktemp("zoom"), seed=5, one=4, split="held_out")
    return list(load_tasks(path))


def words(task):
    return next(p for p in task.prompt if isinstance(p, str)).strip()


def picture(task):
    image = next(p for p in task.prompt if isinstance(p, Image))
    return PILImage.fromarray(np.asarray(image.pixels))


class LMMS(abc.ABC):
    """`lmms_eval.api.model.lmms`, as published."""

    is_simple = True

    def __init__(self):
        self._rank, self._world_size, self.task_dict = 0, 1, {}

    @abc.abstractmethod
    def loglikelihood(self, requests): ...

    @abc.abstractmethod
    def generate_until(self, requests): ...

    @abc.abstractmethod
    def generate_until_multi_round(self, requests): ...


@dataclass(frozen=True)
class ModelManifest:
    """`lmms_eval.models.registry_v2.ModelManifest`, as published."""

    model_id: str
    simple_class_path: str | None = None
    chat_class_path: str | None = None


@pytest.fixture
def lmms(monkeypatch):
    for name, held in (
        ("lmms_eval", {}),
        ("lmms_eval.api", {}),
        ("lmms_eval.api.model", {"lmms": LMMS}),
        ("lmms_eval.models", {}),
        ("lmms_eval.models.registry_v2", {"ModelManifest": ModelManifest}),
    ):
        module = types.ModuleType(name)
        vars(module).update(held)
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.delitem(sys.modules, "vtool.eval.bridges.lmms", raising=False)
    yield importlib.import_module("vtool.eval.bridges.lmms")
    sys.modules.pop("vtool.eval.bridges.lmms", None)


def test_lmms_eval_asks_and_is_answered(lmms, tasks, tmp_path):
    told = lmms.manifest()
    module, _, name = told.simple_class_path.rpartition(".")
    model = getattr(importlib.import_module(module), name)(tools="zoom", trace=str(tmp_path))
    model.task_dict = {"zoom": {"test": [{"task": t} for t in tasks]}}
    requests = [
        SimpleNamespace(
            args=(f"<image>{words(t)}", {}, lambda doc: [picture(doc["task"])], i, "zoom", "test")
        )
        for i, t in enumerate(tasks)
    ]
    answers = model.generate_until(requests)
    right = [a in t.reference.texts for a, t in zip(answers, tasks, strict=True)]
    assert sum(right) >= 3
    kept = {r.task_id: r.episode for r in read_trace(tmp_path)}
    assert set(kept) == {f"zoom-{i}" for i in range(4)}
    assert all(e.outcomes() for e in kept.values()), "the agent never looked"
    for refused in (model.loglikelihood, model.generate_until_multi_round):
        with pytest.raises(NotImplementedError):
            refused(requests)


def test_vlmevalkit_asks_and_is_answered(tasks):
    class BaseModel:
        """`vlmeval.vlm.base.BaseModel`, as published."""

        INTERLEAVE = False

        def generate(self, message, dataset=None):
            return self.generate_inner(message, dataset)

    model = agent_class(BaseModel)("tiny/clean", tools="zoom")
    assert model.INTERLEAVE
    assert not model.use_custom_prompt("MMBench")
    task = tasks[0]
    path = next(p for p in task.prompt if isinstance(p, Image))
    message = [{"type": "image", "value": path}, {"type": "text", "value": words(task)}]
    assert model.generate(message, "zoom") in task.reference.texts
    with pytest.raises(DataError, match="text, image or video"):
        parts_of([{"type": "audio", "value": "x"}])


def test_what_cannot_be_opened_is_told(tmp_path):
    (tmp_path / "a.png").write_bytes(b"no")
    with pytest.raises(MediaError):
        part_of(tmp_path / "a.png")
    with pytest.raises(DataError, match="a picture, a video or a path"):
        part_of(3)


def test_what_breaks_of_ours_is_no_wrong_answer(tasks, monkeypatch):
    agent = Agent("tiny/clean", tools="zoom")
    asked = Asked("q", tuple(tasks[0].prompt))
    monkeypatch.setattr("vtool.eval.bridges.agent.play", lambda *a, **k: _broken())
    with pytest.raises(AgentBroke, match="question q"):
        agent.answer([asked])


async def _broken():
    await asyncio.sleep(0)
    return Episode(task_id="q", stop=StopReason.FAILED, error="ours")


# ------------------------------------------------------------------------------- Inspect


@pytest.fixture(scope="module")
def folder(tasks, tmp_path_factory):
    out = tmp_path_factory.mktemp("eval")
    policy = load_policy("tiny/clean")
    job = evaluate(
        tasks,
        renderer=policy.renderer,
        engine=policy.engine,
        toolbox=Toolbox(["zoom"]),
        settings=Settings(name="zoom", k=2),
        out=out,
    )
    return out, asyncio.run(job)


def test_an_evaluation_is_a_log_of_inspect(folder, tmp_path):
    out, report = folder
    log = to_inspect(out)
    assert (log["version"], log["status"]) == (2, "success")
    assert log["eval"]["config"]["epochs"] == 2
    assert len(log["samples"]) == 8
    (score,) = log["results"]["scores"]
    assert score["metrics"]["accuracy"]["value"] == report.total.accuracy
    sample = log["samples"][0]
    roles = [m["role"] for m in sample["messages"]]
    assert roles == ["user", "assistant", "tool", "assistant"]
    (call,) = sample["messages"][1]["tool_calls"]
    assert call["function"] == "zoom"
    assert sample["messages"][2]["tool_call_id"] == call["id"]
    image = next(c for c in sample["messages"][0]["content"] if c["type"] == "image")
    assert image["image"].startswith("data:image/png;base64,")
    assert sample["target"] in "0123456789"
    path = write_inspect_log(out, tmp_path / "log.json", pictures=False)
    assert "base64" not in path.read_text()
    assert json.loads(path.read_text())["eval"]["task"] == "zoom"


def test_what_was_not_scored_has_no_score_in_the_log(folder, tmp_path, monkeypatch):
    out, _ = folder
    from vtool.eval.bridges import inspect_log

    real = inspect_log.read_samples(out)
    rows = [
        dataclasses.replace(real[0], unscored="the judge was down"),
        dataclasses.replace(real[1], stop=StopReason.FAILED, error="ours"),
        *real[2:],
    ]
    monkeypatch.setattr(inspect_log, "read_samples", lambda folder: rows)
    log = to_inspect(out)
    assert "scores" not in log["samples"][0]
    assert "scores" not in log["samples"][1]
    assert log["samples"][1]["error"]["message"] == "ours"
    assert log["results"]["scores"][0]["unscored_samples"] == 2
    assert log["results"]["completed_samples"] == 7


def test_an_empty_folder_is_told(tmp_path):
    with pytest.raises(DataError, match="no finished evaluation"):
        to_inspect(tmp_path)
