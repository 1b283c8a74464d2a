"""Recipes: strict keys, nearest names, overrides."""

from dataclasses import dataclass, field

import pytest

from vtool.config import build, override, read_yaml, to_plain
from vtool.errors import RecipeError


@dataclass(frozen=True)
class Optimizer:
    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.95)


@dataclass(frozen=True)
class Recipe:
    steps: int
    name: str = "x"
    optimizer: Optimizer = field(default_factory=Optimizer)
    stages: tuple[Optimizer, ...] = ()


def test_build_and_back():
    recipe = build(Recipe, {"steps": 3, "optimizer": {"lr": 2e-4}, "stages": [{"lr": 1.0}]})
    assert recipe.optimizer == Optimizer(lr=2e-4)
    assert recipe.stages == (Optimizer(lr=1.0),)
    assert build(Recipe, to_plain(recipe)) == recipe


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"step": 3}, "did you mean 'steps'"),
        ({"steps": 3, "optimizer": {"learning": 1}}, "recipe.optimizer has no key 'learning'"),
        ({"steps": 3, "stages": [{"Lr": 1}]}, "did you mean 'lr'"),
        ({"steps": "many"}, "steps"),
        ({}, "steps"),
    ],
)
def test_what_does_not_fit_is_named(body, says):
    with pytest.raises(RecipeError, match=says):
        build(Recipe, body)


def test_overrides():
    body = override({"steps": 1, "optimizer": {"lr": 1.0}}, ["optimizer.lr=0.5", "steps=9"])
    assert build(Recipe, body) == Recipe(steps=9, optimizer=Optimizer(lr=0.5))
    for pair in ("steps", "=3", "steps.deep=1"):
        with pytest.raises(RecipeError):
            override({"steps": 1}, [pair])


def test_yaml_is_read_safely(tmp_path):
    path = tmp_path / "r.yaml"
    path.write_text("steps: !!python/object/apply:os.getcwd []")
    with pytest.raises(RecipeError, match="not YAML"):
        read_yaml(path)
    path.write_text("steps: 1\nsteps: 2")
    with pytest.raises(RecipeError, match="'steps' comes twice"):
        read_yaml(path)
    path.write_text("a: {b: 1, c: 2, b: 3}")
    with pytest.raises(RecipeError, match="'b' comes twice"):
        read_yaml(path)
    path.write_bytes(b"\xff\x00")
    with pytest.raises(RecipeError, match="UTF-8"):
        read_yaml(path)
    path.write_text("- 1")
    with pytest.raises(RecipeError, match="keys and values"):
        read_yaml(path)
    with pytest.raises(RecipeError, match="cannot read"):
        read_yaml(tmp_path / "none.yaml")
