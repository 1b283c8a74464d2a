"""`vtool ask`: one question about pictures or videos of one's own, answered step by step.

Plays one episode through the loop that training and evaluation use.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Any

import typer

from vtool.commands.narrate import Narrator
from vtool.commands.output import AsJson, print_json
from vtool.commands.own_tools import ready_tools_of
from vtool.errors import DataError

Words = Annotated[list[str], typer.Argument(metavar="IMAGE|VIDEO... QUESTION", show_default=False)]
Model = Annotated[str, typer.Option("--model", help="A folder, tiny/clean, or owner/name.")]


def ask(
    words: Words,
    model: Model = "tiny/clean",
    tools: Annotated[
        str | None,
        typer.Option(help="Tools on offer, by name, with commas; the checkpoint's own, or zoom."),
    ] = None,
    out: Annotated[Path, typer.Option(help="Where trace and pictures go.")] = Path("runs/ask"),
    temperature: Annotated[float, typer.Option(min=0.0, help="0 is greedy.")] = 0.0,
    seed: Annotated[int, typer.Option(help="Of the draws.")] = 0,
    max_turns: Annotated[int, typer.Option(min=1, help="Turns before it must have answered.")] = 6,
    max_tokens: Annotated[int, typer.Option(min=1, help="Tokens of the whole context.")] = 4096,
    json: AsJson = False,
) -> None:
    """Ask about one or more pictures or videos; every step is printed and kept.

    The default policy is tiny and knows one world: coloured discs with digits. Any other
    checkpoint of the Qwen2.5-VL and Qwen3-VL families does for real pictures.
    """
    if len(words) < 2:
        raise DataError(
            "expected a picture or video, or several, and then the question; got one word"
        )
    settings = {"temperature": temperature, "seed": seed}
    limits = {"max_turns": max_turns, "max_tokens": max_tokens}
    names = None if tools is None else [t.strip() for t in tools.split(",") if t.strip()]
    narrator = Narrator(quiet=json)
    episode = asyncio.run(_play(words, model, names, settings, limits, narrator))
    kept = _keep(out, episode)
    if json:
        print_json({**narrator.steps(), "kept": str(kept)})
    else:
        typer.echo(f"\nkept in {kept}; `vtool view {kept}` lays it out")
    if episode.stop.ours:
        typer.echo(f"vtool: something broke: {episode.error}", err=True)
    elif episode.answer is None:
        why = f": {episode.error}" if episode.error else ""
        typer.echo(f"vtool: no answer: {episode.stop}{why}", err=True)
    if episode.answer is None:
        raise typer.Exit(1)


async def _play(
    words: list[str],
    model: str,
    tools: list[str] | None,
    settings: dict[str, Any],
    limits: dict[str, int],
    narrator: Narrator,
) -> Any:
    from vtool.environment import Limits, ToolEnvironment
    from vtool.loading import load_policy
    from vtool.programs.solo import play
    from vtool.record import Sampling
    from vtool.task import Answer, Task
    from vtool.toolbox import Toolbox
    from vtool.video.source import Video

    media = [part for name in words[:-1] for part in _parts(Path(name))]
    task = Task(id="ask", prompt=(*media, words[-1]), reference=Answer(()))
    video = any(isinstance(part, Video) for part in media)
    names = ready_tools_of(model, video=video) if tools is None else tools
    toolbox = Toolbox(names, forgiving=True)
    policy = load_policy(model)
    env = ToolEnvironment(task, toolbox, Limits(**limits, seconds=3600.0), seed=settings["seed"])
    seat = policy.seat(Sampling(temperature=settings["temperature"]))
    seats = {"policy": seat}
    try:
        return await play(env, seats, key=(settings["seed"],), watch=narrator.watch)
    finally:
        await env.close()
        await toolbox.close()


def _parts(path: Path) -> tuple[Any, ...]:
    """A picture; or a video and its first glance."""
    from vtool.data_video import GLANCE, SUFFIXES, VideoFile, video_parts
    from vtool.media import Image

    if path.suffix.lower() in SUFFIXES:
        return video_parts(VideoFile(path, GLANCE), "vtool ask")
    return (Image.open(path),)


def _keep(out: Path, episode: Any) -> Path:
    """Write trace and pictures into a folder that is not there yet."""
    from vtool.trace import TraceRecord, write_trace

    folder, number = out, 1
    while folder.exists():
        number += 1
        folder = out.with_name(f"{out.name}-{number}")
    write_trace(folder / "trace", [TraceRecord(episode)])
    (folder / "pictures").mkdir()
    for entry in episode.contexts[-1].store.images() if episode.contexts else ():
        (folder / "pictures" / f"{entry.handle}.png").write_bytes(entry.value.encode("PNG"))
    return folder
