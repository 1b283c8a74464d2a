"""Named members of an archive: read into memory, never unpacked to where it says."""

from __future__ import annotations

import hashlib
import io
import lzma
import tarfile
import zlib
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from vtool.download import FetchError

_AR_MAGIC, _AR_HEAD = b"!<arch>\n", 60


@dataclass(frozen=True, slots=True)
class Member:
    """One file of an archive.

    Args:
        path: Its path in the archive.
        sha256: Of its bytes.
        size: How many they are; nothing beyond is read.
        called: Under which name it is kept; the last part of its path where left out.
    """

    path: str
    sha256: str
    size: int
    called: str = ""

    @property
    def name(self) -> str:
        """Under which name it is kept."""
        return self.called or PurePosixPath(self.path).name


def read_members(archive: Path, members: Sequence[Member]) -> dict[str, bytes]:
    """The members asked for, by file name.

    Args:
        archive: A .tar.gz (npm package) or a .deb.
        members: What to read; everything else is passed over.

    Raises:
        FetchError: Not such an archive, a member is missing, is a link, or has other bytes.
    """
    wanted = {m.path: m for m in members}
    found: dict[str, bytes] = {}
    try:
        with archive.open("rb") as file, closing(_tar(file)) as tar:
            for entry in tar:
                member = wanted.pop(entry.name.removeprefix("./"), None)
                if member is not None:
                    found[member.name] = _checked(member, tar, entry)
                if not wanted:
                    break
    except (OSError, EOFError, tarfile.TarError, zlib.error, lzma.LZMAError) as err:
        raise FetchError(f"{archive.name} is no archive that can be read: {err}") from err
    if wanted:
        raise FetchError(f"{archive.name} holds no {', '.join(sorted(wanted))}")
    return found


def _checked(member: Member, tar: tarfile.TarFile, entry: tarfile.TarInfo) -> bytes:
    """A member's bytes.

    Raises:
        FetchError: A link or folder, or other bytes than expected.
    """
    stream = tar.extractfile(entry) if entry.isreg() else None
    if stream is None:
        raise FetchError(f"expected {member.path} to be a plain file")
    data = stream.read(member.size + 1)
    digest = hashlib.sha256(data).hexdigest()
    if len(data) != member.size or digest != member.sha256:
        raise FetchError(
            f"{member.path} is not what was expected: sha256 {digest}, not {member.sha256}"
        )
    return data


def _tar(file: BinaryIO) -> tarfile.TarFile:
    if file.read(len(_AR_MAGIC)) == _AR_MAGIC:
        return tarfile.open(fileobj=_debian_data(file), mode="r:*")
    file.seek(0)
    return tarfile.open(fileobj=file, mode="r|*")


def _debian_data(file: BinaryIO) -> io.BytesIO:
    """The data archive inside a .deb: an `ar` file of 60-byte heads and even-padded bodies.

    Raises:
        FetchError: It has none.
    """
    while len(head := file.read(_AR_HEAD)) == _AR_HEAD:
        name, length = head[:16].rstrip(b" /"), head[48:58].strip()
        if not length.isdigit():
            break
        if name.startswith(b"data.tar"):
            return io.BytesIO(file.read(int(length)))
        file.seek(int(length) + int(length) % 2, io.SEEK_CUR)
    raise FetchError("expected a Debian package, got an archive without data.tar")
