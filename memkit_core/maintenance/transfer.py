"""Export files: written in one go, read with suspicion."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import stat
import zlib
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, Final, NoReturn, cast
from uuid import uuid4

from pydantic import ValidationError

from ..admin_results import ExportResult, ImportResult
from ..errors import EmbeddingMismatchError, SchemaVersionError, TransferError, UsageError
from ..pipeline.index import update_index
from ..pipeline.services import Services
from ..protocols import MaintainableStore, Runtime
from ..types import OwnerKey
from .progress import Progress
from .records import FORMAT, LINE, ORDER, VERSION, Counts, End, Header, Line

#: Longest line of an export, in bytes: a text of the greatest length with everything around it fits.
MAX_LINE_BYTES: Final = 16 * 1024 * 1024
#: Deepest nesting of a line's JSON.
MAX_DEPTH: Final = 64


# ---------------------------------------------------------------- out


async def export(
    rt: Runtime,
    store: MaintainableStore,
    path: Path,
    progress: Progress,
    *,
    owners: Collection[OwnerKey] | None,
) -> ExportResult:
    """Everything of the store, or of some owners, in one file.

    Raises:
        IntegrityError: The store is damaged. No file was written.
        TransferError: The file cannot be written. What was there under its name still is.
        UsageError: What is there under its name is no regular file.
    """
    return await rt.call(lambda: _export(store, path, progress, owners))


def _export(
    store: MaintainableStore, path: Path, progress: Progress, owners: Collection[OwnerKey] | None
) -> ExportResult:
    try:
        target = _target(path)
        draft = target.with_name(f".{uuid4().hex}.partial")
        try:
            with draft.open("xb") as raw:
                if path.name.endswith(".gz"):
                    # Neither name nor time inside: the same content gives the same bytes.
                    with gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0) as packed:
                        out = _write(store, packed, progress, owners)
                else:
                    out = _write(store, raw, progress, owners)
                raw.flush()
                os.fsync(raw.fileno())
            size = draft.stat().st_size
            draft.replace(target)
        finally:
            draft.unlink(missing_ok=True)
    except OSError as error:
        raise TransferError(f"cannot write {path}: {error}. Nothing was changed", reason="file") from error
    return ExportResult(path=str(path), bytes=size, sha256=out.digest.hexdigest(), **_figures(out.counts))


def _target(path: Path) -> Path:
    """The file that is meant, behind whatever links lead there.

    Raises:
        OSError: It cannot be looked at.
        UsageError: There is something else under its name.
    """
    try:
        target = path.resolve()
    except (RuntimeError, ValueError) as error:
        raise UsageError(
            f"{str(path)!r} cannot be the name of a file: {error}. Nothing was changed"
        ) from None
    try:
        mode = target.stat().st_mode
    except FileNotFoundError:
        return target
    if not stat.S_ISREG(mode):
        raise UsageError(f"{path} is there, and is no regular file: name another. Nothing was changed")
    return target


def _figures(counts: Counts) -> dict[str, Any]:
    return {
        "owners": counts.owners,
        "versions": counts.memories,
        "messages": counts.messages,
        "events": counts.events,
    }


def _write(
    store: MaintainableStore, file: Any, progress: Progress, owners: Collection[OwnerKey] | None
) -> _Out:
    out = _Out(file, progress)
    store.dump(out.take, owners=owners)
    out.end()
    return out


class _Out:
    """An export on its way into a file."""

    def __init__(self, file: IO[bytes], progress: Progress) -> None:
        self._file = file
        self._progress = progress
        self._lines = 0
        self.digest = hashlib.sha256()
        self.counts = Counts(owners=0, batches=0, messages=0, memories=0, events=0)

    def take(self, record: Mapping[str, Any]) -> None:
        """Write one record of the store."""
        try:
            line = LINE.validate_python(record)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            raise TransferError(
                f"a {record['kind']} does not fit the format: {first['msg']}. Nothing was changed",
                reason="invalid",
            ) from None
        if isinstance(line, Header):
            self.counts = line.counts
            self._progress.stage("export", line.counts.total)
        else:
            self._progress.step()
        text = line.model_dump_json().encode("utf-8") + b"\n"
        self._lines += 1
        self.digest.update(text)
        self._file.write(text)

    def end(self) -> None:
        """Write the last line."""
        end = End(kind="end", lines=self._lines, sha256=self.digest.hexdigest())
        self._file.write(end.model_dump_json().encode("utf-8") + b"\n")


# ---------------------------------------------------------------- in


async def import_(
    rt: Runtime, services: Services, store: MaintainableStore, path: Path, progress: Progress
) -> ImportResult:
    """Store what an export holds, all of it or nothing.

    The file is read twice: once to its end before anything is touched, and once to store it.

    Raises:
        ConflictError: The store has memories of one of its owners.
        EmbeddingMismatchError: The vectors in it are another model's.
        SchemaVersionError: A newer memkit wrote it.
        TransferError: It is damaged, cut short, or no export.
    """
    progress.stage("check")
    header = await rt.call(lambda: _checked(path, progress))
    mine, theirs = services.embedder, header.embedding
    if mine is not None and theirs is not None and mine.model != theirs.model:
        raise EmbeddingMismatchError(
            f"{path} holds vectors of {theirs.model!r}, and this memory embeds with {mine.model!r}: open "
            "it with that model, or with embedder='none', and reindex afterwards. Nothing was changed"
        )
    progress.stage("import", header.counts.total)
    await rt.call(lambda: store.load(lambda: _records(path, progress), indexes=services.indexes))
    failed = await update_index(rt, services)
    return ImportResult(path=str(path), failed=failed, **_figures(header.counts))


def _checked(path: Path, progress: Progress) -> Header:
    header: Header | None = None
    for line in read_lines(path):
        progress.step()
        header = line if isinstance(line, Header) else header
    assert header is not None  # the reader saw to it
    return header


def _records(path: Path, progress: Progress) -> Iterator[Mapping[str, Any]]:
    for line in read_lines(path):
        progress.step()
        if not isinstance(line, End):
            yield line.model_dump()


def read_lines(path: Path) -> Iterator[Line]:
    """The lines of an export, in bounded memory. Whether the file is whole is known at its end.

    Raises:
        SchemaVersionError: A newer memkit wrote it.
        TransferError: It is damaged, cut short, or no export.
    """
    reader = _In(path)
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

    def __init__(self, path: Path) -> None:
        self._path = path
        self._number = 0
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
            line = LINE.validate_json(raw)
        except ValidationError as error:
            self._refuse(error)
        self._check_order(line)
        return line

    def _check_version(self, raw: bytes) -> None:
        """A newer format is told as such, whatever else its header may hold."""
        try:
            parsed: Any = json.loads(raw)
        except (ValueError, RecursionError):
            return  # not JSON: told as no export
        header = cast("dict[str, Any]", parsed) if isinstance(parsed, dict) else {}
        if header.get("format") == FORMAT:
            version = header.get("version")
            if isinstance(version, int) and version > VERSION:
                raise SchemaVersionError(
                    f"{self._path} has format {version}, this memkit knows {VERSION}: upgrade memkit-core. "
                    "Nothing was changed"
                )

    def _refuse(self, error: ValidationError) -> NoReturn:
        first = error.errors(include_url=False, include_input=False)[0]
        if self._number == 1:
            raise self.wrong("it is no export of memkit", "format") from None
        if first["type"] == "union_tag_invalid":
            raise self.wrong("it is of a kind that this memkit does not know", "unknown_kind") from None
        where = ".".join(str(part) for part in first["loc"])
        raise self.wrong(f"{where}: {first['msg']}", "invalid") from None

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
