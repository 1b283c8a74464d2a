"""A page for each registered tool, from its code: docs/tools/NAME.md, and an index of them.

python scripts/tool_pages.py [NAME ...]   write the pages, and run the examples that can run here
python scripts/tool_pages.py --check      fail where pages and code differ; runs no tool

What the examples gave (pictures, and the words in examples.json) is kept where a tool cannot run
here.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import json
import re
import sys
import textwrap
from collections.abc import Iterable, Sequence
from importlib.metadata import entry_points
from itertools import pairwise
from pathlib import Path

import yaml
from tool_examples import EXAMPLES, MOST_BYTES, play
from tool_faults import faults

from vtool.errors import package_line
from vtool.message import Json
from vtool.needs import Need, Package, Program, Weights
from vtool.tool import Settings, Tool, tools
from vtool.toolspec import PLACE_KINDS, Kind, Param

FOLDER = Path(__file__).parent.parent / "docs" / "tools"
PICTURES = FOLDER / "images"
WORDS = FOLDER / "examples.json"
COMMAND = "python scripts/tool_pages.py"
KINDS = {
    Kind.IMAGE: "picture",
    Kind.IMAGES: "list of pictures",
    Kind.CLIP: "clip",
    Kind.VIDEO: "video, by name",
    Kind.BOX: "box",
    Kind.BOXES: "list of boxes",
    Kind.POINT: "point",
    Kind.POINTS: "list of points",
    Kind.SPAN: "span, seconds",
    Kind.MASK: "mask, by name",
    Kind.DEPTH: "depth map, by name",
    Kind.CLOUD: "cloud, by name",
    Kind.TABLE: "table, by name",
    Kind.STRING: "text",
    Kind.STRINGS: "list of texts",
    Kind.NUMBERS: "list of numbers",
    Kind.INTEGER: "whole number",
    Kind.NUMBER: "number",
    Kind.NUMBERS: "list of numbers",
    Kind.BOOLEAN: "true or false",
}
OWN_NEEDS = {
    "Boundary": (
        "bubblewrap",
        "a kernel boundary around its programs: Linux with bubblewrap (`make system-deps`)",
    ),
    "Folder": ("a folder", "a folder of yours: set `folder`"),
    "Backend": ("a backend", "a backend that you name: set `backend`"),
    "SegmenterNeed": (
        "extra `vision`",
        "for GrabCut, which it uses unless told otherwise: `" + package_line("vision") + "`; "
        "for SAM and SAM 2 a checkpoint of yours: set `backend` and `model`",
    ),
}
"""Conditions that only their own class knows, told in words."""


def ours() -> list[str]:
    """Names of the tools that ship; others may be registered beside them."""
    return sorted(point.name for point in entry_points(group="vtool.tools"))


def main(words: Sequence[str]) -> int:
    """Write or check; the exit code."""
    if "--check" in words:
        wrong = check()
        print("\n".join(wrong) or f"pages of {len(ours())} tools are as their code")
        return 1 if wrong else 0
    chosen = [tools.get(name).spec.name for name in words] or ours()
    write(chosen)
    return 0


def write(names: Sequence[str]) -> None:
    """Run examples, write their pages and the index."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    told = kept_words()
    for name in names:
        example = EXAMPLES.get(name)
        if example is not None and not tools.get(name).lacks():
            shown = play(name, example)
            told[name] = shown.told
            if shown.picture is not None:
                (PICTURES / f"{name}.jpg").write_bytes(shown.picture)
        print(name, "" if example else "(no example: add a row to scripts/tool_examples.py)")
    told = {n: told[n] for n in sorted(told) if n in tools}
    WORDS.write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    for path, text in pages(told).items():
        path.write_text(text, encoding="utf-8")


def check() -> list[str]:
    """Everything in which pages and code differ."""
    told = kept_words()
    wanted = pages(told)
    wrong = [
        f"{path.name}: differs from the code; run `{COMMAND} {path.stem}`"
        for path, text in wanted.items()
        if not path.is_file() or path.read_text(encoding="utf-8") != text
    ]
    wrong += [
        f"{path.name}: no such tool any more; delete it"
        for path in sorted(FOLDER.glob("*.md"))
        if path not in wanted
    ]
    for name in ours():
        wrong += check_example(name, told)
    return wrong


def check_example(name: str, told: dict[str, str]) -> list[str]:
    """What is missing of a tool's example."""
    if name not in EXAMPLES:
        return [f"{name}: no example; add a row to EXAMPLES in scripts/tool_examples.py"]
    if name not in told and not tools.get(name).lacks():
        return [f"{name}: its example was never run; run `{COMMAND} {name}`"]
    picture = PICTURES / f"{name}.jpg"
    if not EXAMPLES[name].pictured or name not in told:
        return []
    if not picture.is_file() or not 0 < picture.stat().st_size <= MOST_BYTES:
        return [f"{picture.name}: not there, empty, or above {MOST_BYTES} bytes"]
    return []


def kept_words() -> dict[str, str]:
    """What the examples told the model when they last ran."""
    return json.loads(WORDS.read_text(encoding="utf-8")) if WORDS.is_file() else {}


def pages(told: dict[str, str]) -> dict[Path, str]:
    """Every page, as its code would have it."""
    every = [tools.get(name) for name in ours()]
    found = {FOLDER / f"{t.spec.name}.md": page(t, told.get(t.spec.name)) for t in every}
    return {**found, FOLDER / "README.md": index(every)}


def index(every: Iterable[Tool]) -> str:
    """The list of all tools."""
    rows = [
        (f"[{t.spec.name}]({t.spec.name}.md)", t.spec.description, ", ".join(brief(t)) or "nothing")
        for t in every
    ]
    return f"""# The tools

One page a tool, written by `{COMMAND}` from the code: change the code, not the page.
`vtool tools` lists them with what each lacks on this machine, `vtool tools show NAME` prints the
schema that a model is given, and `vtool tools run NAME -i PICTURE ...` runs one by hand.

Pictures are named and places written as the model's dialect has it. On these pages that is the
Hermes form: pictures by number from 1, boxes `[x1, y1, x2, y2]` and points `[x, y]` in
thousandths of the picture's sides. Masks, depth maps, clouds and tables have names such as
`$mask_1`, given when they are made.

{table(("tool", "what it does", "needs"), rows)}
"""


def page(tool: Tool, told: str | None) -> str:
    """One tool's page."""
    spec = tool.spec
    parts = [
        f"# {spec.name}",
        description(tool),
        "## Arguments",
        table(("argument", "kind", "default", "what it is"), [row(p) for p in spec.params]),
        *settings(tool),
        "## Needs",
        "\n".join(f"- {line}" for need in spec.needs for line in needed(need))
        or "Nothing beyond `vtool` itself.",
        "## Faults",
        "Typed answers to calls that cannot be carried out; the episode goes on.",
        table(("code", "when"), [(f"`{code}`", when) for code, when in faults(tool)]),
        *example(tool, told),
        f"<!-- written by `{COMMAND}` from the code: change the code, not this page -->",
    ]
    return "\n\n".join(parts) + "\n"


def description(tool: Tool) -> str:
    """The docstring up to its arguments; models are told the first paragraph."""
    doc = inspect.getdoc(tool.fn) or ""
    head = re.split(r"\n(?:Args|Returns|Raises|Source):", doc, maxsplit=1)[0]
    source = re.search(r"^Source: (.+(?:\n[ ]+.+)*)", doc, re.MULTILINE)
    paragraphs = [" ".join(p.split()) for p in re.split(r"\n\s*\n", head.strip())]
    if source:
        paragraphs.append(f"Source: {' '.join(source.group(1).split())}")
    return "\n\n".join(paragraphs)


def row(param: Param) -> tuple[str, ...]:
    """One argument of the table."""
    kind = KINDS.get(param.kind, param.kind.value)
    if param.kind in PLACE_KINDS or param.kind is Kind.SPAN:
        kind += f", of `{param.of}`"
    if param.choices:
        kind = "one of " + ", ".join(f"`{c}`" for c in param.choices)
    default = "required" if param.required else plain(param.default)
    return f"`{param.name}`", kind, default, param.description


def plain(value: object) -> str:
    """A default, as people read it."""
    return "none" if value is None else f"`{json.dumps(value, default=str)}`"


def settings(tool: Tool) -> list[str]:
    """What people may set, if anything."""
    if tool.settings is None:
        return []
    about = field_docs(type(tool.settings))
    fields = dataclasses.fields(tool.settings)  # type: ignore[arg-type]
    rows = [
        (f"`{f.name}`", typed(f.type), plain(getattr(tool.settings, f.name)), about.get(f.name, ""))
        for f in fields
    ]
    name = tool.spec.name
    return [
        "## Settings",
        f"People's choices, which a model never sees: `{name}: {{KEY: VALUE}}` in a recipe, "
        f"`--set KEY=VALUE` of `vtool tools run {name}`.",
        table(("setting", "type", "default", "what it is"), rows),
    ]


def typed(hint: object) -> str:
    """A field's type as it is written."""
    words = hint if isinstance(hint, str) else getattr(hint, "__name__", str(hint))
    return "`" + words.replace('"', "") + "`"


def field_docs(cls: type[Settings]) -> dict[str, str]:
    """Words on each field: the string below it, or its entry under `Args:`."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(cls)))
    (body,) = (n.body for n in tree.body if isinstance(n, ast.ClassDef))
    found = {
        name: " ".join(words.split()) for name, words in docs_of_args(inspect.getdoc(cls) or "")
    }
    for field, after in pairwise(body):
        is_text = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and is_text:
            found[field.target.id] = " ".join(str(after.value.value).split())  # type: ignore
    return found


def docs_of_args(doc: str) -> list[tuple[str, str]]:
    """Entries of a docstring's `Args:`."""
    block = re.search(r"^Args:\n((?:[ \t]+.*\n?|\n)+)", doc, re.MULTILINE)
    text = textwrap.dedent(block.group(1)) if block else ""
    return re.findall(r"^(\w+): *((?:.*\n?)(?:[ \t]+.*\n?)*)", text, re.MULTILINE)


def needed(need: Need) -> list[str]:
    """What a need asks for, and how to get it."""
    inner = getattr(need, "need", None)
    if inner is not None:
        when = getattr(need, "backend", None)
        return [line + (f" (for `{when}`)" if when else "") for line in needed(inner)]
    if isinstance(need, Package):
        return [f"`{need.module}`: `{package_line(need.extra)}`"]
    if isinstance(need, Program):
        return [f"the program `{need.name}`: {need.fix}"]
    if isinstance(need, Weights):
        return [
            f"a checkpoint of yours: set `{need.setting}` to a local folder or a hub name, such as "
            f"`{need.example}`"
        ]
    what, fix = getattr(need, "what", None), getattr(need, "fix", None)
    if what and fix:
        return [f"{what}: `{fix}`"]
    return [own_need(need)[1]]


def own_need(need: Need) -> tuple[str, str]:
    """A condition of a tool's own sort: in a word, and in a sentence."""
    name = type(need).__name__
    doc = (inspect.getdoc(type(need)) or name).split("\n\n")[0]
    return OWN_NEEDS.get(name, (name, " ".join(doc.split())))


def brief(tool: Tool) -> list[str]:
    """Needs in a word or two each."""
    said = []
    for need in tool.spec.needs:
        inner = getattr(need, "need", need)
        if isinstance(inner, Package):
            said.append(f"extra `{inner.extra}`")
        elif isinstance(inner, Weights):
            said.append("a checkpoint")
        else:
            said.append(str(getattr(inner, "what", getattr(inner, "name", own_need(inner)[0]))))
    return list(dict.fromkeys(said))


def example(tool: Tool, told: str | None) -> list[str]:
    """The call, the picture, the words."""
    name = tool.spec.name
    made = EXAMPLES.get(name)
    if made is None:
        return []
    call: dict[str, Json] = {"name": name, "arguments": dict(made.arguments)}
    parts = ["## Example"]
    if made.before:
        steps = [json.dumps({"name": n, "arguments": dict(a)}) for n, a in made.before]
        parts += ["After", "```json\n" + "\n".join(steps) + "\n```"]
    parts.append("```json\n" + json.dumps(call, ensure_ascii=False) + "\n```")
    if made.settings:
        parts += ["With the settings", f"```yaml\n{as_yaml(made.settings)}```"]
    if told is None:
        return [*parts, "Not run for this page: it needs what is yours to give, see above."]
    if made.pictured:
        parts.append(f"![What {name} is given, and what comes of it](images/{name}.jpg)")
    return [*parts, "The model is told:", f"```text\n{told}\n```"]


def as_yaml(body: object) -> str:
    """Settings as a recipe has them."""
    return yaml.safe_dump(body, sort_keys=False)


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [heads, ["---"] * len(heads), *rows]
    cells = [[c.replace("|", "\\|").replace("\n", " ") for c in line] for line in lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
