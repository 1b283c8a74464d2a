"""Where another interpreter finds a tool: by module and attribute, or by its registered name."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any

from vtool.errors import VToolError
from vtool.tool import Tool, tools


class NotImportable(VToolError, RuntimeError):
    """A tool that no other interpreter could find."""


def reference(tool: Tool) -> dict[str, str] | None:
    """What to tell another interpreter so that it finds the tool.

    Returns:
        Module, attribute and name; None where this is not the tool that stands there but one
        made of it (wrapped by a control), which only this process has.

    Raises:
        NotImportable: It is defined inside a function, or in a script.
    """
    fn: Any = tool.fn
    module, attribute = fn.__module__, fn.__qualname__
    if module == "__main__":
        spec = getattr(sys.modules["__main__"], "__spec__", None)
        module = spec.name if spec is not None else module
    if "<" in attribute or module == "__main__":
        raise NotImportable(
            f"tool {tool.spec.name} is isolated, so another interpreter must be able to import "
            f"it; {module}:{attribute} cannot be: define it at the top of a module"
        )
    loaded = sys.modules.get(fn.__module__)
    found = _look(loaded, attribute, tool.spec.name) if loaded is not None else None
    if found is None or found.fn is not tool.fn:
        return None
    return {"module": module, "attribute": attribute, "name": tool.spec.name}


def find(where: dict[str, str]) -> Tool:
    """The tool of a reference, imported.

    Raises:
        NotImportable: There is no tool there.
    """
    module = importlib.import_module(where["module"])
    found = _look(module, where["attribute"], where["name"])
    if found is None:
        raise NotImportable(f"{where['module']}:{where['attribute']} is no tool")
    return found


def _look(module: ModuleType, attribute: str, name: str) -> Tool | None:
    at: Any = module
    for part in attribute.split("."):
        at = getattr(at, part, None)
    if isinstance(at, Tool):
        return at
    # Decorated by hand, the function keeps its name and the tool has another.
    return tools.get(name) if name in tools else None
