"""Export files: written in one go, and stored again in one go."""

from __future__ import annotations

import gzip
import hashlib
import os
import stat
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any, Final
from uuid import uuid4

from pydantic import ValidationError

from ..admin_results import ExportResult, ImportResult
from ..errors import EmbeddingMismatchError, TransferError, UsageError
from ..pipeline.index import update_index
from ..pipeline.services import Services
from ..protocols import Inspected, MaintainableStore, Runtime
from ..types import Micros, OwnerKey
from . import incoming
from .progress import Progress
from .records import FORMAT, LINE, VERSION, Counts, End, Header

#: How far the clock of the machine that wrote a file may be ahead of this one, in microseconds: a year.
MAX_AHEAD: Final = 366 * 86_400 * 1_000_000
#: A draft this young may not be locked yet.
_YOUNG_SECONDS: Final = 1.0
_Dump = Callable[[Callable[[Mapping[str, Any]], None]], Inspected]


# ---------------------------------------------------------------- out


async def export(
    rt: Runtime,
    store: MaintainableStore,
    path: Path,
    progress: Progress,
    *,
    owners: Collection[OwnerKey] | None,
    skip_damaged: bool = False,
) -> ExportResult:
    """Everything of the store, or of some owners, in one file.

    Raises:
        IntegrityError: The store is damaged, and what is damaged is not to be skipped. No file was written.
        TransferError: The file cannot be written, or a record exceeds what a file may hold. What was there
            under its name still is.
        UsageError: What is there under its name is no regular file.
    """
    progress.stage("check", 2 * await rt.call(store.count_units))
    dump = partial(store.dump, owners=owners, skip_damaged=skip_damaged, step=progress.step)
    return await rt.call(lambda: _export(dump, path, progress))


def _export(dump: _Dump, path: Path, progress: Progress) -> ExportResult:
    try:
        target = _target(path)
        _clean(target)
        draft = target.with_name(f"{_draft_of(target)}{uuid4().hex}.partial")
        try:
            with draft.open("xb") as raw:
                _lock(raw)
                if path.name.endswith(".gz"):
                    # Neither name nor time inside: the same content gives the same bytes.
                    with gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0) as packed:
                        out = _write(dump, packed, progress)
                else:
                    out = _write(dump, raw, progress)
                raw.flush()
                os.fsync(raw.fileno())
            size = draft.stat().st_size
            draft.replace(target)
        finally:
            draft.unlink(missing_ok=True)
    except OSError as error:
        raise TransferError(f"cannot write {path}: {error}. Nothing was changed", reason="file") from error
    return ExportResult(
        path=str(path),
        bytes=size,
        sha256=out.digest.hexdigest(),
        left_out=out.left_out,
        **_figures(out.counts),
    )


def _draft_of(target: Path) -> str:
    """How the names of a file's drafts begin: with nothing that may be too long or be read as more."""
    return f".memkit-{hashlib.sha256(target.name.encode('utf-8', 'surrogateescape')).hexdigest()[:16]}-"


def _clean(target: Path) -> None:
    """Remove what exports to this file left behind that were killed."""
    for draft in target.parent.glob(f"{_draft_of(target)}*.partial"):
        with suppress(OSError):  # somebody is writing it, or was faster; what stays harms nobody
            if time.time() - draft.stat().st_mtime > _YOUNG_SECONDS:
                with draft.open("rb") as file:
                    _lock(file)
                draft.unlink()


def _lock(file: IO[bytes]) -> None:
    """Say that this process has the file; without locks, nobody can remove a file that is open.

    Raises:
        OSError: Another has it.
    """
    if os.name == "posix":
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


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


def _write(dump: _Dump, file: Any, progress: Progress) -> _Out:
    out = _Out(file, progress)
    out.left_out = [f"{d.table} {d.key}: {d.problem}" for d in dump(out.take).found]
    out.end()
    return out


class _Out:
    """An export on its way into a file."""

    def __init__(self, file: IO[bytes], progress: Progress) -> None:
        self._file = file
        self._progress = progress
        self._lines = 0
        self.digest = hashlib.sha256()
        self.left_out: list[str] = []
        self.counts = Counts(owners=0, batches=0, messages=0, memories=0, events=0)

    def take(self, record: Mapping[str, Any]) -> None:
        """Write one record of the store."""
        if record["kind"] == "header":
            record = {**record, "format": FORMAT, "version": VERSION}
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
        text = line.model_dump_json(exclude_unset=True).encode("utf-8") + b"\n"
        if len(text) > incoming.MAX_LINE_BYTES:
            raise TransferError(
                f"a {record['kind']} makes a line of more than {incoming.MAX_LINE_BYTES:,} bytes, which no "
                "import would take. Nothing was changed",
                reason="too_long",
            )
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
    latest = services.clock() + MAX_AHEAD
    header = await rt.call(lambda: _checked(path, progress, latest))
    mine, theirs = services.embedder, header.embedding
    if mine is not None and theirs is not None and mine.model != theirs.model:
        raise EmbeddingMismatchError(
            f"{path} holds vectors of {theirs.model!r}, and this memory embeds with {mine.model!r}: open "
            "it with that model, or with embedder='none', and reindex afterwards. Nothing was changed"
        )
    units = await rt.call(store.count_units)
    progress.stage("check the store", 2 * units)
    await rt.call(lambda: _load(store, services.indexes, _Source(path, progress, latest, units)))
    failed = await update_index(rt, services)
    return ImportResult(path=str(path), failed=failed, **_figures(header.counts))


def _checked(path: Path, progress: Progress, latest: Micros) -> Header:
    header: Header | None = None
    for line in incoming.read_lines(path, latest=latest):
        progress.step()
        header = line if isinstance(line, Header) else header
    assert header is not None  # the reader saw to it
    return header


def _load(store: MaintainableStore, indexes: tuple[str, ...], source: _Source) -> None:
    try:
        store.load(source.records, indexes=indexes, step=source.progress.step)
    except TransferError as error:
        if str(error).startswith("line "):  # the store knows which record, and not from where
            raise TransferError(f"{source.path}, {error}", reason=error.reason) from error
        raise


@dataclass(frozen=True, slots=True)
class _Source:
    """The file as records for a store that holds so many units already; each stage of it with its bar."""

    path: Path
    progress: Progress
    latest: Micros
    units: int

    def records(self) -> Iterator[Mapping[str, Any]]:
        """Every record, from the first on."""
        counts: Counts | None = None
        for line in incoming.read_lines(self.path, latest=self.latest):
            if isinstance(line, Header):
                counts = line.counts
                self.progress.stage("import", counts.total)
            else:
                self.progress.step()
            if not isinstance(line, End):
                yield line.model_dump()
        assert counts is not None  # the reader saw to it
        added = counts.messages + counts.memories
        self.progress.stage("derive and check", 3 * added + 2 * self.units)
