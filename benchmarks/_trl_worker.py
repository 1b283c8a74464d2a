"""TRL's GRPO on the zoom world, one step at a word: the peer of `grpo_step_vs_trl`.

Runs in an environment of its own (see there), reads a line per step from standard input and
answers each with a line of JSON behind `MARK`. TRL takes the model, the pictures and the questions
as files; its own generation, tool loop, reward shaping and update do everything else.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

import torchvision_shim

torchvision_shim.install()

import torch  # noqa: E402
from datasets import Dataset, Features, Image, List, Value  # noqa: E402
from PIL import Image as Pillow  # noqa: E402
from transformers import (  # noqa: E402
    AutoTokenizer,
    Qwen2VLImageProcessor,
    Qwen3VLForConditionalGeneration,
    Qwen3VLProcessor,
    Qwen3VLVideoProcessor,
    TrainerCallback,
)
from trl import GRPOConfig, GRPOTrainer  # noqa: E402
from trl.chat_template_utils import qwen3_template  # noqa: E402
from trl.data_utils import prepare_multimodal_messages  # noqa: E402

MARK = "@@ "
TURN = (
    "{%- for m in messages %}"
    "{%- if m.role == 'tool' %}{{- '<|im_start|>user\\n<tool_response>\\n' }}"
    "{%- else %}{{- '<|im_start|>' + m.role + '\\n' }}{%- endif %}"
    "{%- if m.content is string %}{{- m.content }}{%- else %}{%- for p in m.content %}"
    "{%- if p.type == 'image' %}{{- '<|vision_start|><|image_pad|><|vision_end|>' }}"
    "{%- else %}{{- p.text }}{%- endif %}{%- endfor %}{%- endif %}"
    "{%- for c in m.tool_calls or [] %}{{- '\\n<tool_call>\\n' }}{{- c.function | tojson }}"
    "{{- '\\n</tool_call>' }}{%- endfor %}"
    "{%- if m.role == 'tool' %}{{- '\\n</tool_response>' }}{%- endif %}"
    "{{- '<|im_end|>\\n' }}{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"
)
"""The words that our Hermes dialect writes, so that both policies read the same tokens."""


class ZoomWorld:
    """An episode's picture, and the one tool that looks into it."""

    def reset(self, path: str, **row: Any) -> None:
        """Take the picture of a question."""
        del row
        self.picture = Pillow.open(path).convert("RGB")

    def zoom(self, image: int, box: list[int]) -> list[dict[str, Any]]:
        """Cut out a part of the picture.

        Args:
            image: Number of the picture.
            box: Left, top, right and bottom, in thousandths.
        """
        if image != 1:
            raise ValueError(f"expected image 1, got {image}")
        left, top, right, bottom = (min(max(float(v) / 1000, 0.0), 1.0) for v in box)
        wide, high = self.picture.size
        corners = round(left * wide), round(top * high), round(right * wide), round(bottom * high)
        if corners[2] - corners[0] < 8 or corners[3] - corners[1] < 8:
            raise ValueError("expected a box of at least 8 x 8 pixels")
        return [{"type": "image", "image": self.picture.crop(corners)}]


def right(completions: list[list[dict[str, Any]]], answer: list[str], **row: Any) -> list[float]:
    """1 where the last message answers with the digit, else 0."""
    del row
    said = [c[-1]["content"] if c[-1]["role"] == "assistant" else "" for c in completions]
    found = [re.findall(r"<answer>\s*(.*?)\s*</answer>", text, re.DOTALL) for text in said]
    return [float(bool(f) and f[-1] == a) for f, a in zip(found, answer, strict=True)]


class AtAWord(TrainerCallback):
    """Waits for a line before each step, tells of it after."""

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Wait, then start the clocks."""
        if not sys.stdin.readline():
            raise SystemExit(0)
        self.wall, self.cpu = time.monotonic(), time.process_time()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Stop the clocks."""
        self.took = time.monotonic() - self.wall, time.process_time() - self.cpu

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        """Say what the step was."""
        if "reward" not in (logs or {}):
            return
        told = {
            "wall_s": self.took[0],
            "cpu_s": self.took[1],
            "accuracy": logs["reward"],
            "calls": logs["tools/call_frequency"],
            "tokens": logs["completions/mean_length"],
            "grad_norm": logs["grad_norm"],
        }
        say(told)


def say(told: dict[str, Any]) -> None:
    """A line for the other side."""
    print(MARK + json.dumps(told), flush=True)


def processor_of(folder: Path) -> Qwen3VLProcessor:
    """The checkpoint's tokenizer and pictures, with turns as our dialect writes them."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.response_template = qwen3_template
    pictures = Qwen2VLImageProcessor.from_pretrained(folder)
    return Qwen3VLProcessor(
        image_processor=pictures,
        tokenizer=tokenizer,
        video_processor=Qwen3VLVideoProcessor(),
        chat_template=TURN,
    )


def rows_of(tasks: Path) -> Dataset:
    """The questions of a task file."""
    rows = []
    for line in tasks.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        path = str(tasks.parent / row["images"][0])
        text = row["messages"][0]["content"].removeprefix("<image>")
        prompt = [{"role": "user", "content": text}]
        rows.append({"prompt": prompt, "images": [path], "path": path, "answer": row["answer"]})
    features = Features(
        {
            "prompt": List({"role": Value("string"), "content": Value("string")}),
            "images": List(Image()),
            "path": Value("string"),
            "answer": Value("string"),
        }
    )
    return Dataset.from_list(rows, features=features)


def config(args: argparse.Namespace) -> GRPOConfig:
    """The same update as the recipe's, in TRL's words."""
    return GRPOConfig(
        output_dir=args.out,
        per_device_train_batch_size=args.micro,
        gradient_accumulation_steps=args.prompts * args.group // args.micro,
        num_generations=args.group,
        max_steps=args.steps,
        max_completion_length=args.tokens,
        max_tool_calling_iterations=args.calls,
        temperature=1.0,
        loss_type="dapo",
        beta=0.0,
        epsilon=0.2,
        epsilon_high=0.28,
        delta=3.0,
        learning_rate=args.lr,
        lr_scheduler_type="constant",
        adam_beta2=0.95,
        weight_decay=0.0,
        max_grad_norm=1.0,
        activation_checkpointing=False,
        generation_kwargs={"suppress_tokens": json.loads(args.suppress)},
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        use_cpu=True,
        bf16=False,
        seed=args.seed,
        disable_tqdm=True,
        dataloader_pin_memory=False,
        shuffle_dataset=True,
    )


def check(trainer: GRPOTrainer, expected: dict[str, Any]) -> None:
    """Its tokens of a question and of a tool's picture are ours."""
    with Pillow.open(expected["path"]) as picture:
        image = picture.convert("RGB")
    prompt = prepare_multimodal_messages(
        [{"role": "user", "content": expected["question"]}], images=[image]
    )
    trainer._batch_environments = list(trainer.environment_factories)[:1]
    (ids,), _, _ = trainer._tokenize_prompts([prompt])
    assert list(ids) == expected["prompt"], (list(ids), expected["prompt"])
    world = ZoomWorld()
    world.reset(expected["path"])
    said = {"role": "tool", "name": "zoom", "content": world.zoom(1, expected["box"])}
    suffix = trainer._get_tool_suffix_ids([said])
    assert list(suffix) == expected["reply"], (list(suffix), expected["reply"])


def main() -> None:
    """Load, check, step."""
    parser = argparse.ArgumentParser()
    for name in ("model", "tasks", "out", "expected", "suppress"):
        parser.add_argument(f"--{name}", required=True)
    for name in ("prompts", "group", "steps", "tokens", "calls", "micro", "seed"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--lr", type=float, required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    model = Qwen3VLForConditionalGeneration.from_pretrained(
        args.model, dtype=torch.float32, attn_implementation="sdpa"
    )
    trainer = GRPOTrainer(
        model=model,
        reward_funcs=right,
        args=config(args),
        train_dataset=rows_of(Path(args.tasks)),
        processing_class=processor_of(Path(args.model)),
        environment_factory=ZoomWorld,
        callbacks=[AtAWord()],
    )
    check(trainer, json.loads(args.expected))
    say({"ready": True})
    trainer.train()


if __name__ == "__main__":
    main()
