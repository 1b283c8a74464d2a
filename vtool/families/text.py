"""Text to ids and back, with a wall between what we write and what others write.

Control tokens (turn marks, call marks, vision placeholders) are produced only from templates.
Text nobody trusts (a tool's output, a question, OCR) goes through a second tokenizer that does
not know them: whatever it says, it stays ordinary text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from vtool.errors import CheckpointError, require

_BRACKETED = re.compile(r"<[^<>\s]+>")


class TextCodec:
    """A byte-level tokenizer with and without its control tokens.

    Args:
        tokenizer: A ``tokenizers.Tokenizer``.
        needs: Control tokens that must exist.

    Raises:
        CheckpointError: One of ``needs`` is missing, or the tokenizer is not byte-level.
    """

    def __init__(self, tokenizer: Any, *, needs: Iterable[str] = ()) -> None:
        make = require("tokenizers", "train").Tokenizer.from_str
        body = json.loads(tokenizer.to_str()) | {"truncation": None, "padding": None}
        check_byte_level(body)
        self.tokenizer = make(json.dumps(body))
        self._plain = make(json.dumps(without_control(body)))
        self._vocab: dict[str, int] = tokenizer.get_vocab(with_added_tokens=True)
        self.control_ids = frozenset(t["id"] for t in body["added_tokens"] if is_control(t))
        """Ids that `encode` never produces."""
        added = {t["id"]: t["content"].encode() for t in body["added_tokens"]}
        self._bytes = {i: piece(t) for t, i in self._vocab.items() if i not in added} | added
        for token in needs:
            self.token_id(token)

    @classmethod
    def load(cls, path: Path | str, *, needs: Iterable[str] = ()) -> TextCodec:
        """Read ``tokenizer.json``, or the one in a checkpoint folder.

        Raises:
            CheckpointError: There is none, or it lacks one of ``needs``.
        """
        file = Path(path)
        file = file / "tokenizer.json" if file.is_dir() else file
        if not file.is_file():
            raise CheckpointError(f"{file} is missing: a checkpoint needs its tokenizer.json")
        tokenizers = require("tokenizers", "train")
        return cls(tokenizers.Tokenizer.from_file(str(file)), needs=needs)

    @property
    def vocab_size(self) -> int:
        """One more than the largest id."""
        return max(self._vocab.values()) + 1

    def token_id(self, token: str) -> int:
        """Id of a control token.

        Raises:
            CheckpointError: The tokenizer does not know it as one token.
        """
        return check_token(self._vocab, token)

    def encode(self, text: str) -> list[int]:
        """Ids of text that nobody trusts; never a control id. Lone surrogates become "?"."""
        clean = text.encode("utf-8", "replace").decode()
        return list(self._plain.encode(clean, add_special_tokens=False).ids)

    def encode_template(self, text: str) -> list[int]:
        """Ids of text that we wrote; control tokens are recognised."""
        return list(self.tokenizer.encode(text, add_special_tokens=False).ids)

    def pieces(self, ids: Sequence[int]) -> list[bytes]:
        """The bytes of each token; their concatenation is the bytes of the whole."""
        return [self._bytes.get(int(i), b"") for i in ids]

    def decode_bytes(self, ids: Sequence[int]) -> bytes:
        """Exact bytes; concatenating those of parts gives those of the whole."""
        return b"".join(self.pieces(ids))

    def decode(self, ids: Sequence[int]) -> str:
        """Text; bytes that are no UTF-8 become U+FFFD."""
        return self.decode_bytes(ids).decode("utf-8", errors="replace")


def is_control(token: dict[str, Any]) -> bool:
    """Whether an entry of ``added_tokens`` is a control token: special, or ``<...>``."""
    return bool(token["special"]) or _BRACKETED.fullmatch(token["content"]) is not None


def check_token(vocab: dict[str, int], token: str) -> int:
    """The id of a token that a template needs.

    Raises:
        CheckpointError: It is missing.
    """
    if token not in vocab:
        raise CheckpointError(
            f"the tokenizer has no token {token!r}, which the template needs: this checkpoint "
            "does not belong to this family or dialect"
        )
    return vocab[token]


def check_byte_level(body: dict[str, Any]) -> None:
    """Every text must have ids, and ids exact bytes.

    Raises:
        CheckpointError: The tokenizer is not byte-level, or lacks bytes.
    """
    if "ByteLevel" not in json.dumps(body.get("decoder")):
        kind = (body.get("decoder") or {}).get("type")
        raise CheckpointError(f"a byte-level tokenizer is needed, but its decoder is {kind}")
    missing = [b for c, b in _byte_of().items() if c not in body["model"]["vocab"]]
    if missing:
        raise CheckpointError(f"the tokenizer has no token for {len(missing)} of the 256 bytes")


def without_control(body: dict[str, Any]) -> dict[str, Any]:
    """A tokenizer's JSON that cannot produce control ids.

    They leave the added tokens; where they are in the model's vocabulary too, their entries get
    names that no text can spell, so that all other ids stay as they are.
    """
    control = {t["content"] for t in body["added_tokens"] if is_control(t)}
    model = body["model"]
    vocab = {f"\x00control {i}" if t in control else t: i for t, i in model["vocab"].items()}
    merges = [m for m in model.get("merges", []) if control.isdisjoint(_spelt(m))]
    unknown = model.get("unk_token")
    return {
        **body,
        "added_tokens": [t for t in body["added_tokens"] if t["content"] not in control],
        "post_processor": None,
        "model": {
            **model,
            "vocab": vocab,
            "merges": merges,
            "unk_token": None if unknown in control else unknown,
        },
    }


def _spelt(merge: str | list[str]) -> set[str]:
    """The two parts of a merge and what they make."""
    left, right = merge.split(" ") if isinstance(merge, str) else merge
    return {left, right, left + right}


def piece(token: str) -> bytes:
    """Bytes of a token of the model's vocabulary.

    Raises:
        CheckpointError: It is not written in the byte alphabet.
    """
    table = _byte_of()
    if not all(c in table for c in token):
        raise CheckpointError(f"token {token!r} is not written in the byte-level alphabet")
    return bytes(table[c] for c in token)


@lru_cache(maxsize=1)
def _byte_of() -> dict[str, int]:
    """GPT-2's alphabet: printable bytes are themselves, the others follow from U+0100 on."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = (b for b in range(256) if b not in printable)
    table = {chr(b): b for b in printable}
    return table | {chr(0x100 + i): b for i, b in enumerate(others)}
