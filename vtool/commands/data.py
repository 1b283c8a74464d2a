"""`vtool data`: make a world's files, check a file of one's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vtool.commands.output import AsJson, print_json, print_table
from vtool.errors import DataError, require

if TYPE_CHECKING:
    from vtool.data_check import DataReport

SIZES, SUFFIX, ASK, ASKS = "fixed", "png", "digit", "what,where,when,both"
app = typer.Typer(help="Make task files, or check them.", no_args_is_help=True)


@app.command()
def check(
    path: Annotated[
        Path, typer.Argument(help="A .jsonl file of tasks, or the folder of a benchmark.")
    ],
    root: Annotated[Path | None, typer.Option(help="Folder of its pictures.")] = None,
    benchmark: Annotated[
        str | None, typer.Option(help="Which benchmark the folder holds; its answers must score 1.")
    ] = None,
    split: Annotated[str | None, typer.Option(help="Its split, where it has several.")] = None,
    json: AsJson = False,
) -> None:
    """Check a task file, or a benchmark's folder: ids, media, boxes, references, control tokens.

    Ends with code 2 if something is wrong; warnings alone are no fault.
    """
    report = _checked(path, root, benchmark, split)
    if json:
        print_json({"ok": report.ok, **asdict(report)})
    else:
        rows = [(f.line, f.id, f.level, f.code, f.message) for f in report.findings]
        if rows:
            print_table(("row" if benchmark else "line", "id", "", "code", "what is wrong"), rows)
        typer.echo(f"{path}: {report.rows} rows, {'fine' if report.ok else 'not fit for use'}")
    if not report.ok:
        raise typer.Exit(2)


def _checked(path: Path, root: Path | None, benchmark: str | None, split: str | None) -> DataReport:
    from vtool.benchmark import benchmarks, full_name
    from vtool.benchmark_check import check_benchmark
    from vtool.data_check import check_data

    if benchmark is None:
        return check_data(path, root=root)
    return check_benchmark(benchmarks.get(full_name(benchmark, split)), path)


@app.command()
def make(
    world: Annotated[str, typer.Argument(help="Which world; `vtool data worlds` lists them.")],
    out: Annotated[Path, typer.Option(help="Folder to write; it must hold no task file.")],
    seed: Annotated[int, typer.Option(help="Of the pictures.")] = 0,
    count: Annotated[
        int | None, typer.Option(min=1, help="Questions; 100 if nothing says how many.")
    ] = None,
    none: Annotated[
        int | None, typer.Option(min=0, help="Of zoom: answered by the first look.")
    ] = None,
    one: Annotated[int | None, typer.Option(min=0, help="Of zoom: needing one zoom.")] = None,
    two: Annotated[
        int | None, typer.Option(min=0, help="Of zoom: needing a zoom into a crop.")
    ] = None,
    split: Annotated[str, typer.Option(help="train or held_out.")] = "train",
    photos: Annotated[
        Path | None,
        typer.Option(help="Of zoom: folder of photographs to draw on; bundled: scikit-image's."),
    ] = None,
    sizes: Annotated[str, typer.Option(help="Of zoom: fixed or varied.")] = SIZES,
    suffix: Annotated[str, typer.Option(help="Of zoom: png or jpg.")] = SUFFIX,
    ask: Annotated[
        str, typer.Option(help="Of zoom: digit, calls, attributes, levels or box.")
    ] = ASK,
    videos: Annotated[
        int | None, typer.Option(min=1, help="Of moments: how many videos, each with every ask.")
    ] = None,
    asks: Annotated[
        str, typer.Option(help="Of moments: questions about each, of what,where,when,both.")
    ] = ASKS,
    json: AsJson = False,
) -> None:
    """Write a world as files: pictures or videos, and a task file such as users bring."""
    kinds = {"none": none, "one": one, "two": two}
    check_counts(world, count, kinds, videos)
    looks = {"photos": photos, "sizes": sizes, "suffix": suffix, "ask": ask}
    check_options(world, looks, asks)
    if world not in ("zoom", "moments"):
        _make_other(world, out, seed, count or MANY, split, json)
        return
    if world == "moments":
        wanted = [a.strip() for a in asks.split(",")]
        videos = videos or (MANY if count is None else -(-count // len(wanted)))
        _make_moments(out, seed, videos, wanted, split, json)
        return
    if all(n is None for n in kinds.values()):
        kinds["one"] = count or MANY
    counts = {kind: n or 0 for kind, n in kinds.items()}
    if not sum(counts.values()):
        raise DataError("no question was asked for: give --none, --one or --two a count")
    from vtool.worlds.dataset import make as make_zoom
    from vtool.worlds.photos import write_bundled_photos

    if photos is not None and str(photos) == "bundled":
        require("skimage", "photos")
        photos = out / "photos"
        write_bundled_photos(photos)
    try:
        tasks = make_zoom(
            out,
            seed=seed,
            **counts,
            split=split,
            photos=photos,
            sizes=sizes,
            suffix=suffix,
            ask=ask,
        )
    except (FileExistsError, FileNotFoundError, ValueError) as err:
        raise DataError(str(err)) from err
    if json:
        print_json({"tasks": str(tasks), "rows": sum(counts.values())})
    else:
        typer.echo(f"{sum(counts.values())} questions in {tasks}")


MANY = 100
"""Questions (or videos) of a world, where nothing says how many."""


def check_counts(
    world: str, count: int | None, kinds: Mapping[str, int | None], videos: int | None
) -> None:
    """Refuse a count that the world would not read: nobody should get a hundred for eight.

    Raises:
        DataError: Counts of another world, or two that say the same.
    """
    given = [f"--{kind}" for kind, n in kinds.items() if n is not None]
    if world == "zoom" and given and count is not None:
        raise DataError(f"give --count, or {' and '.join(given)}: they say the same")
    if world != "zoom" and given:
        raise DataError(f"{' and '.join(given)}: only zoom has such questions; give --count")
    if videos is not None and (world != "moments" or count is not None):
        raise DataError("--videos is for moments, without --count")


def check_options(world: str, looks: Mapping[str, object], asks: str) -> None:
    """Refuse options that the world would not read: nobody should get other files than asked for.

    Raises:
        DataError: Options of another world.
    """
    plain = {"photos": None, "sizes": SIZES, "suffix": SUFFIX, "ask": ASK}
    given = [f"--{name}" for name, value in looks.items() if value != plain[name]]
    if world != "zoom" and given:
        raise DataError(f"{' and '.join(given)}: only zoom has such options")
    if world != "moments" and asks != ASKS:
        raise DataError("--asks is for moments")


@app.command("worlds")
def list_worlds(json: AsJson = False) -> None:
    """List the worlds: what each asks, its tools, how often a guess is right."""
    from vtool.worlds.world import worlds

    rows = [worlds.get(name) for name in worlds]
    if json:
        told = [{"name": w.name, "about": w.about, "chance": w.chance} for w in rows]
        print_json(told)
    else:
        print_table(
            ("world", "what it asks", "chance"),
            [(w.name, w.about, f"{w.chance:.2f}") for w in rows],
        )


def _make_other(out_of: str, out: Path, seed: int, count: int, split: str, json: bool) -> None:
    from vtool.worlds.world import worlds

    world = worlds.get(out_of)
    try:
        tasks = world.make(out, seed=seed, split=split, **world.sized(count))
    except (FileExistsError, ValueError) as err:
        raise DataError(str(err)) from err
    rows = sum(1 for line in tasks.read_text(encoding="utf-8").splitlines() if line)
    if json:
        print_json({"tasks": str(tasks), "rows": rows})
    else:
        typer.echo(f"{rows} questions in {tasks}")


def _make_moments(
    out: Path, seed: int, videos: int, asks: list[str], split: str, json: bool
) -> None:
    from vtool.worlds.moments_files import make as make_videos

    try:
        tasks = make_videos(out, seed=seed, videos=videos, asks=asks, split=split)
    except (FileExistsError, ValueError) as err:
        raise DataError(str(err)) from err
    count = videos * len(asks)
    if json:
        print_json({"tasks": str(tasks), "rows": count})
    else:
        typer.echo(f"{count} questions about {videos} videos in {tasks}")
