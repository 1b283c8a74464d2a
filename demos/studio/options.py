"""What whoever starts the studio chooses."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from vtool.errors import DataError

LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Settings of a studio.

    Args:
        models: Checkpoints beside the shipped ones: folders, or ``owner/name``.
        runs: Folder whose runs, traces and reports may be looked at; nothing else is read.
        host: Address to listen on; loopback keeps it on this machine.
        port: Where to listen; 0 takes a free one.
        password: Asked for where given; the name is then ``vtool``.
        hosts: Names under which a browser may ask for it, beside its own address.
        max_waiting: Questions that may wait; more are answered that it is busy.
        at_once: Questions that are answered at once.
        max_upload_mb: Largest file that is taken.
        max_turns: Turns of an attempt.
        max_tokens: Tokens of an attempt.
        seconds: Longest that an attempt may take.
        keep_seconds: How long a visitor's attempts and files are kept.
    """

    models: tuple[str, ...] = ()
    runs: Path = field(default_factory=lambda: Path("runs"))
    host: str = "127.0.0.1"
    port: int = 7860
    password: str | None = field(default=None, repr=False)
    hosts: tuple[str, ...] = ()
    max_waiting: int = 64
    at_once: int = 8
    max_upload_mb: int = 25
    max_turns: int = 6
    max_tokens: int = 4096
    seconds: float = 120.0
    keep_seconds: int = 3600

    def __post_init__(self) -> None:
        least = min(
            self.max_waiting,
            self.at_once,
            self.max_upload_mb,
            self.max_turns,
            self.max_tokens,
            self.keep_seconds,
        )
        if least < 1 or self.seconds <= 0:
            raise DataError("expected bounds of at least 1 and a time limit above 0")
        if self.password is not None and len(self.password) < 8:
            raise DataError(
                f"expected a password of 8 characters or more, got {len(self.password)}"
            )

    @property
    def open_to_others(self) -> bool:
        """Whether other machines can reach it."""
        return self.host not in LOOPBACK
