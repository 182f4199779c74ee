"""Export files, read with suspicion: nothing is taken from a line that no store could have written."""

from __future__ import annotations

import gzip
import hashlib
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NoReturn, cast

from pydantic import ValidationError

from ..errors import SchemaVersionError, TransferError
from ..types import LAST_MICROS, Micros
from .records import (
    CLOCKED,
    FORMAT,
    LINES,
    ORDER,
    VERSION,
    End,
    EventV1,
    Header,
    Identity,
    Line,
    MemoryV1,
    Message,
)

#: Longest line of an export, in bytes: the result of a very large ``add`` with everything around it fits.
MAX_LINE_BYTES: Final = 128 * 1024 * 1024
#: Deepest nesting of a line's JSON.
MAX_DEPTH: Final = 64


def read_lines(path: Path, *, latest: Micros = LAST_MICROS) -> Iterator[Line]:
    """The lines of an export, in bounded memory. Whether the file is whole is known at its end.

    Args:
        latest: The last instant that a store's clock may have written.

    Raises:
        SchemaVersionError: A newer memkit wrote it.
        TransferError: It is damaged, cut short, or no export.
    """
    reader = _In(path, latest)
    if path.exists() and not path.is_file():  # to open a pipe would be to wait for whoever writes to it
        raise TransferError(f"cannot read {path}: it is no regular file. Nothing was changed", reason="file")
    try:
        with path.open("rb") as raw:
            packed = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            if packed:
                with gzip.GzipFile(fileobj=raw, mode="rb") as file:
                    yield from reader.lines(file)
            else:
                yield from reader.lines(raw)
    except EOFError as error:
        raise reader.wrong("it is cut short", "truncated") from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise reader.wrong("its compression is damaged", "digest") from error
    except OSError as error:
        raise TransferError(f"cannot read {path}: {error}. Nothing was changed", reason="file") from error


class _In:
    """An export file on its way in."""

    def __init__(self, path: Path, latest: Micros) -> None:
        self._path = path
        self._latest = latest
        self._number = 0
        self._version = VERSION
        self._embedding: Identity | None = None
        self._vectors = False
        self._sequence = 0
        self._left = dict.fromkeys(ORDER, 0)
        self._place = 0

    def wrong(self, problem: str, reason: str) -> TransferError:
        """The error that says where and what."""
        where = f"{self._path}, line {self._number}" if self._number else str(self._path)
        return TransferError(f"{where}: {problem}. Nothing was changed", reason=reason)

    def lines(self, file: Any) -> Iterator[Line]:
        """Every line, the header first and the end last."""
        digest = hashlib.sha256()
        while raw := file.readline(MAX_LINE_BYTES + 1):
            self._number += 1
            if len(raw) > MAX_LINE_BYTES:
                raise self.wrong(f"it is longer than {MAX_LINE_BYTES:,} bytes", "too_long")
            line = self._parsed(raw)
            if isinstance(line, End):
                self._check_end(line, digest.hexdigest())
                if file.read(1):
                    raise self.wrong("something follows the last line", "invalid")
                yield line
                return
            digest.update(raw)
            yield line
        raise self.wrong("it is cut short", "truncated")

    def _parsed(self, raw: bytes) -> Line:
        if not raw.endswith(b"\n"):
            raise self.wrong("it is cut short", "truncated")
        if _depth(raw) > MAX_DEPTH:
            raise self.wrong(f"it is nested deeper than {MAX_DEPTH} levels", "invalid")
        if self._number == 1:
            self._check_version(raw)
        try:
            line = LINES[self._version].validate_json(raw)
        except ValidationError as error:
            self._refuse(error)
        self._check_order(line)
        self._check_values(line)
        return line

    def _check_values(self, line: Line) -> None:
        """What a line's values must be beside others."""
        for name in CLOCKED:
            value: int | None = getattr(line, name, None)
            if value is not None and value > self._latest:
                raise self.wrong(f"{name}: it lies in the far future of this machine's clock", "invalid")
        if isinstance(line, Message | MemoryV1) and line.vector is not None:
            self._vectors = True
            if self._embedding is None:
                raise self.wrong("vector: the header names no embedding model", "invalid")
        if isinstance(line, EventV1):
            if line.sequence <= self._sequence:
                raise self.wrong("sequence: it stands behind a later one", "invalid")
            self._sequence = line.sequence

    def _check_version(self, raw: bytes) -> None:
        """A newer format is told as such, whatever else its header may hold."""
        try:
            parsed: Any = json.loads(raw)
        except (ValueError, RecursionError):
            return  # not JSON: told as no export
        header = cast("dict[str, Any]", parsed) if isinstance(parsed, dict) else {}
        if header.get("format") == FORMAT:
            version = header.get("version")
            if version == 1:
                self._version = 1
            if isinstance(version, int) and version > VERSION:
                raise SchemaVersionError(
                    f"{self._path} has format {version}, this memkit knows {VERSION}: upgrade memkit-core. "
                    "Nothing was changed"
                )

    def _refuse(self, error: ValidationError) -> NoReturn:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"][1:])
        problem = first["msg"].removeprefix("Value error, ")
        told = f"{where}: {problem}" if where else problem
        if self._number == 1:
            raise self.wrong(f"it is no export of memkit ({told})", "format") from None
        if first["type"] == "union_tag_invalid":
            raise self.wrong("it is of a kind that this memkit does not know", "unknown_kind") from None
        raise self.wrong(told, "invalid") from None

    def _check_order(self, line: Line) -> None:
        place = ORDER.index(line.kind)
        if isinstance(line, Header):
            self._start(line)
            return
        if self._number == 1:
            raise self.wrong("it is no export of memkit", "format")
        if place < self._place:
            raise self.wrong(f"a line of kind {line.kind} cannot stand here", "invalid")
        self._place = place
        if line.kind != "end":
            self._left[line.kind] -= 1
            if self._left[line.kind] < 0:
                raise self.wrong(f"there are more lines of kind {line.kind} than the header says", "invalid")

    def _start(self, header: Header) -> None:
        if self._number != 1:
            raise self.wrong("a second header", "invalid")
        counts = header.counts
        self._embedding = header.embedding
        self._left = {
            "owner": counts.owners,
            "batch": counts.batches,
            "message": counts.messages,
            "memory": counts.memories,
            "event": counts.events,
        }

    def _check_end(self, end: End, digest: str) -> None:
        if end.sha256 != digest:
            raise self.wrong(
                "the content does not match its digest: the file was changed or damaged", "digest"
            )
        if end.lines != self._number - 1 or any(self._left.values()):
            raise self.wrong("it has fewer lines than its header says", "truncated")
        if self._version > 1 and self._embedding is not None and not self._vectors:
            self._number = 1
            raise self.wrong("embedding: no vector of that model follows", "invalid")


def _depth(raw: bytes) -> int:
    """How deep JSON is nested at most; brackets in strings do not count."""
    if raw.count(b"[") + raw.count(b"{") <= MAX_DEPTH:
        return 0
    depth = deepest = 0
    inside = escaped = False
    for byte in raw:
        if inside:
            if escaped:
                escaped = False
            elif byte == 0x5C:
                escaped = True
            elif byte == 0x22:
                inside = False
        elif byte == 0x22:
            inside = True
        elif byte in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        elif byte in b"]}":
            depth -= 1
    return deepest
