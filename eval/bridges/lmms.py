"""Our agent as a model of lmms-eval.

    python -m lmms_eval --model vtool --model_args model=tiny/clean,tools=zoom --tasks TASK

Found by lmms-eval (0.7 or later) through the entry point `lmms_eval.models`; both must be installed
in one environment.

Source: `lmms_eval.api.model.lmms` and `lmms_eval.models.registry_v2` of lmms-eval 0.7.3.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lmms_eval.api.model import lmms
from lmms_eval.models.registry_v2 import ModelManifest

from .agent import Agent, Asked, part_of, said

MARK = "<image>"


class VToolAgent(lmms):  # type: ignore[misc]
    """An agent that may look closer before it answers.

    Args:
        model: A folder, a shipped policy, or ``owner/name``.
        tools: Names with ``+`` between them.
        batch_size: Taken and not used: episodes are played together.
        **options: As `Agent` takes them.
    """

    is_simple = True

    def __init__(
        self,
        model: str = "tiny/clean",
        tools: str = "zoom",
        batch_size: int | str = 1,
        max_turns: int = 6,
        max_tokens: int = 4096,
        temperature: float = 0.0,
        seed: int = 0,
        device: str | None = None,
        trace: str | None = None,
        **_: Any,
    ) -> None:
        super().__init__()
        self.agent = Agent(
            model,
            tools=str(tools),
            max_turns=int(max_turns),
            max_tokens=int(max_tokens),
            temperature=float(temperature),
            seed=int(seed),
            device=device,
            trace=trace,
        )

    def generate_until(self, requests: Sequence[Any]) -> list[str]:
        """Answers to requests, in their order."""
        return [said(e) for e in self.agent.answer([self._asked(r.args) for r in requests])]

    def _asked(self, args: tuple[Any, ...]) -> Asked:
        words, _, visual_of, doc_id, task, split = args
        visuals = visual_of(self.task_dict[task][split][doc_id]) or []
        visuals = visuals if isinstance(visuals, list) else [visuals]
        plain = words.replace(MARK, "").strip()
        return Asked(f"{task}-{doc_id}", (*(part_of(v) for v in visuals), plain))

    def loglikelihood(self, requests: Sequence[Any]) -> list[tuple[float, bool]]:
        """An agent answers; it does not weigh answers of others.

        Raises:
            NotImplementedError: Always.
        """
        raise NotImplementedError("this model generates; choose a task of type generate_until")

    def generate_until_multi_round(self, requests: Sequence[Any]) -> list[str]:
        """The turns of an agent are its own.

        Raises:
            NotImplementedError: Always.
        """
        raise NotImplementedError("tasks of several rounds are not played")


def manifest() -> Any:
    """What lmms-eval's registry is told."""
    path = f"{__name__}.{VToolAgent.__name__}"
    return ModelManifest(model_id="vtool", simple_class_path=path)
