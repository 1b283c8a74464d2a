"""How turns are marked: the frame around everything that anybody says."""

from __future__ import annotations

from dataclasses import dataclass

from vtool.message import Role


@dataclass(frozen=True, slots=True)
class ChatTemplate:
    """ChatML, as the Qwen families use it.

    Args:
        start: Control token before a role.
        end: Control token after a turn.
        stops: Further tokens that end a completion, where the tokenizer has them.
        default_system: System words where the task brings none; None for none.
        opening: Words put into the mouth of the assistant at the start of each turn, such as
            a tag that opens a thought.
    """

    start: str = "<|im_start|>"
    end: str = "<|im_end|>"
    stops: tuple[str, ...] = ("<|endoftext|>",)
    default_system: str | None = None
    opening: str = ""

    def header(self, role: Role) -> str:
        """What stands before the words of a role; tools speak as users."""
        name = Role.USER if role is Role.TOOL else role
        return f"{self.start}{name}\n"

    @property
    def prompt(self) -> str:
        """What stands before the words of the policy."""
        return self.header(Role.ASSISTANT) + self.opening
