"""What a recipe must hold to be a run at all, said before anything is loaded or played."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vtool.errors import RecipeError, UnknownName
from vtool.showing import ClipForm

from .advantage import ESTIMATORS
from .aggregate import Mode
from .alarms import ALARMS
from .credit_spec import check_credit, check_options
from .curriculum import dressers, pickers
from .group_filter import filters
from .loss_spec import Objective
from .rollout_sampler import make_sampler, samplers
from .schedule import check_schedules

if TYPE_CHECKING:
    from .learner_settings import LearnerSettings
    from .recipe import Recipe

AT_LEAST_ONE = ("group_size", "prompts", "checkpoint_every", "keep", "threads")
AT_LEAST_ZERO = ("steps", "refill", "trace_every")
PARTS = ("vision", "language")
SCHEDULES = ("constant", "cosine")
PRECISIONS = ("float32", "mixed", "bfloat16")
FRONTIERS = ("between", "solvable")


def check_recipe(recipe: Recipe) -> None:
    """Refuse counts that make no run, and names that nothing answers to.

    Raises:
        RecipeError: Says the key, what it may be and what it is.
    """
    for least, keys in ((1, AT_LEAST_ONE), (0, AT_LEAST_ZERO)):
        for key in keys:
            if getattr(recipe, key) < least:
                raise RecipeError(f"{key} must be at least {least}, not {getattr(recipe, key)}")
    if not 0 <= recipe.max_failed <= 1:
        raise RecipeError(f"max_failed is a share, 0 to 1, not {recipe.max_failed}")
    for name in recipe.stop_on:
        check_name("stop_on: alarm", name, ALARMS)
    if recipe.clips is not None:
        check_name("clips", recipe.clips, list(ClipForm))
    check_name("estimator", recipe.estimator, ESTIMATORS)
    options = recipe.estimator_options
    check_options("estimator_options", ESTIMATORS[recipe.estimator], options)
    check_credit(recipe.credit, recipe.estimator, options, recipe.weight)
    for key, loss in (("loss", recipe.learner.loss), ("replay.loss", recipe.learner.replay.loss)):
        if loss.kl_coef and not recipe.reference:
            raise RecipeError(
                f"learner.{key}.kl_coef needs the first weights beside it: reference=true"
            )
    if "learner.loss.kl_coef" in recipe.schedules and not recipe.reference:
        raise RecipeError(
            "a schedule of learner.loss.kl_coef needs the first weights beside it: reference=true"
        )
    check_name("precision", recipe.precision, PRECISIONS)
    if recipe.precision == "bfloat16" and recipe.adapter is None:
        raise RecipeError(
            "precision=bfloat16 would round most updates of whole weights away: choose "
            "precision=mixed, or train an adapter ({rank: 16, alpha: 32})"
        )
    _check_sampling(recipe)
    check_schedules(recipe)


def _check_sampling(recipe: Recipe) -> None:
    """What decides which attempts are played and kept."""
    check_name("frontier", recipe.frontier, FRONTIERS)
    check_name("sampler", recipe.sampler.name, samplers)
    make_sampler(recipe.sampler)
    check_name("filter", recipe.filter.name, filters)
    check_options("filter.options", filters.get(recipe.filter.name), recipe.filter.options)
    known = {**{n: pickers.get(n) for n in pickers}, **{n: dressers.get(n) for n in dressers}}
    for spec in recipe.curriculum:
        check_name("curriculum", spec.name, known)
        check_options("curriculum.options", known[spec.name], spec.options)
    picking = [spec.name for spec in recipe.curriculum if spec.name in pickers]
    if len(picking) > 1:
        raise RecipeError(f"one part of a curriculum may pick tasks, not {' and '.join(picking)}")


def check_learner(settings: LearnerSettings) -> None:
    """Refuse settings under which no step can be taken.

    Raises:
        RecipeError: Says the key, what it may be and what it is.
    """
    if not settings.lr >= 0 or not settings.eps > 0 or not settings.grad_clip > 0:
        raise RecipeError(
            "learner needs lr >= 0, eps > 0 and grad_clip > 0, got "
            f"{settings.lr}, {settings.eps}, {settings.grad_clip}"
        )
    if not all(0 <= b < 1 for b in settings.betas):
        raise RecipeError(f"learner.betas lie in [0, 1), got {settings.betas}")
    for key, least in (("inner_epochs", 1), ("batch_tokens", 1), ("warmup", 0), ("row_tokens", 0)):
        if getattr(settings, key) < least:
            raise RecipeError(
                f"learner.{key} must be at least {least}, not {getattr(settings, key)}"
            )
    check_name("learner.schedule", settings.schedule, SCHEDULES)
    for name in settings.freeze:
        check_name("learner.freeze: part", name, PARTS)
    _check_aggregation(settings)


def check_name(what: str, name: str, known: object) -> None:
    """Refuse an unknown name, offering the nearest.

    Raises:
        RecipeError: Nothing is called that.
    """
    names = [str(n) for n in known]  # type: ignore[attr-defined]
    if name not in names:
        raise RecipeError(str(UnknownName(what, name, names)))


def _check_aggregation(settings: LearnerSettings) -> None:
    mode, length = settings.aggregation, settings.aggregation_length
    wanted = mode is Mode.SEQ_MEAN_TOKEN_SUM_NORM
    if wanted is not (length is not None) or (length is not None and not length > 0):
        raise RecipeError(
            f"learner.aggregation={mode} with aggregation_length={length}: a length above 0 goes "
            f"with {Mode.SEQ_MEAN_TOKEN_SUM_NORM}, and with no other"
        )
    for objective in (settings.loss.objective, settings.replay.loss.objective):
        _check_objective(objective, mode)


def _check_objective(objective: Objective, mode: Mode) -> None:
    if objective.by_sequence and mode is not Mode.SEQ_MEAN_TOKEN_MEAN:
        raise RecipeError(
            f"objective={objective} is defined under "
            f"aggregation={Mode.SEQ_MEAN_TOKEN_MEAN}, not {mode}"
        )
