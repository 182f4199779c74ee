"""Signed files that no store ever wrote: each is refused as what it is, and nothing is stored."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from memkit_core import Memory, TransferError, UsageError
from memkit_core.testing import HashEmbeddings

from .worlds import build

Line = dict[str, Any]


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("hostile")
    build(folder / "memkit.db")
    with opened(folder / "memkit.db") as memory:
        memory.admin.export(folder / "export.jsonl")
    return (folder / "export.jsonl").read_text(encoding="utf-8").splitlines()[:-1]


def opened(path: Path | str) -> Memory:
    return Memory(llm="verbatim", embedder=HashEmbeddings(32), store=path)


def signed(records: list[Line]) -> bytes:
    body = b"".join(json.dumps(record, ensure_ascii=False).encode() + b"\n" for record in records)
    end = {"kind": "end", "lines": len(records), "sha256": hashlib.sha256(body).hexdigest()}
    return body + json.dumps(end).encode() + b"\n"


def first(kind: str, change: Callable[[Line], object], **wanted: Any) -> Callable[[list[Line]], object]:
    """Change the first record of a kind with these values; ``...`` stands for any but None."""

    def spoil(records: list[Line]) -> None:
        change(
            next(
                r
                for r in records
                if r["kind"] == kind
                and all(r[k] is not None if v is ... else r[k] == v for k, v in wanted.items())
            )
        )

    return spoil


def every(kind: str, **values: Any) -> Callable[[list[Line]], object]:
    return lambda records: [record.update(values) for record in records if record["kind"] == kind]


def memory(**values: Any) -> Callable[[list[Line]], object]:
    return first("memory", lambda r: r.update(values), retired_at=None, user_id="ana")


def message(**values: Any) -> Callable[[list[Line]], object]:
    return first("message", lambda r: r.update(values))


def vector(value: float, size: int = 32) -> Callable[[list[Line]], object]:
    data = np.full(size, value, "<f2").tobytes()
    return memory(vector=base64.b64encode(data).decode())


def source(position: str) -> Callable[[list[Line]], object]:
    def change(record: Line) -> None:
        record["sources"] = [record["sources"][0].rpartition(":")[0] + ":" + position]

    return first("memory", change, retired_at=None, user_id="ana")


def deleted(name: Callable[[Line, list[Line]], str]) -> Callable[[list[Line]], object]:
    """Let the last deleted memory of Ana be replaced by the memory of this name."""

    def spoil(records: list[Line]) -> None:
        memories = [r for r in records if r["kind"] == "memory"]
        one = [r for r in memories if r["deleted_at"] is not None and r["user_id"] == "ana"][-1]
        mine = [r for r in memories if r["user_id"] == "ana"]
        others = [r for r in memories if r["user_id"] != "ana"]
        one["superseded_by"] = name(one, [mine[0], *others])

    return spoil


def more(records: list[Line], kind: str, record: Line) -> None:
    records.append(dict(record)) if kind == "event" else records.insert(1, dict(record))
    records[0]["counts"][kind + "s"] += 1


def fewer(records: list[Line], kind: str) -> None:
    records.pop()
    records[0]["counts"][kind + "s"] -= 1


def foreign_batch(records: list[Line]) -> None:
    owner = {r["uuid"]: (r["user_id"], r["agent_id"]) for r in records if r["kind"] == "batch"}
    event = next(r for r in records if r["kind"] == "event" and r["batch"] is not None)
    event["batch"] = next(uuid for uuid, ids in owner.items() if ids != owner[event["batch"]])


def old_session(records: list[Line]) -> None:
    """The last message goes back to the first session of its batch's scope."""
    messages = [r for r in records if r["kind"] == "message"]
    scope = {r["uuid"]: (r["user_id"], r["agent_id"], r["run_id"]) for r in records if r["kind"] == "batch"}
    for late in reversed(messages):
        early = [m for m in messages if scope[m["batch"]] == scope[late["batch"]]]
        if early[0]["session"] != late["session"]:
            size = sum(m["session"] == early[0]["session"] for m in early)
            late.update(session=early[0]["session"], place=size)
            return


def unembedded(records: list[Line]) -> None:
    for record in records:
        if "vector" in record:
            record["vector"] = None


SOON = 4_102_444_800_000_000  # the year 2100
FAR = 253_402_300_800_000_000  # the year 10000

HOSTILE: dict[str, Callable[[list[Line]], object]] = {
    **{
        f"memory {name} {at}": memory(**{name: at})
        for name in ("valid_from", "created_at", "recorded_at", "event_time", "expires_at")
        for at in (FAR, -(2**62))
    },
    "message time": message(observed_at=FAR),
    "owner time": first("owner", lambda r: r.update(created_at=-(2**62))),
    "batch time": first("batch", lambda r: r.update(not_before=2**62)),
    "event time": first("event", lambda r: r.update(recorded_at=FAR)),
    "current and superseded": memory(superseded_by="x"),
    "current and ended": memory(valid_to=1),
    "current and deleted": memory(deleted_at=1),
    "a wrong place": message(place=7),
    "one session for all": every("message", session=1),
    "nan": vector(float("nan")),
    "infinite": vector(float("inf")),
    "zero": vector(0.0),
    "not of unit length": vector(1.0),
    "another size": vector(0.25, 16),
    "result no json": first("batch", lambda r: r.update(result="{"), idempotency_key=...),
    "result of another shape": first("batch", lambda r: r.update(result='{"a": 1}'), idempotency_key=...),
    "result without key": first("batch", lambda r: r.update(idempotency_key=None), idempotency_key=...),
    "job no json": first("batch", lambda r: r.update(job="{"), pending=1),
    "job of another shape": first("batch", lambda r: r.update(job='{"infer": 3}'), pending=1),
    "job no object": first("batch", lambda r: r.update(job="[]"), pending=1),
    "pending without job": first("batch", lambda r: r.update(job=None), pending=1),
    "done with job": first("batch", lambda r: r.update(pending=0), pending=1),
    "pending after all": first("batch", lambda r: r.update(pending=1), pending=0),
    "attempts": first("batch", lambda r: r.update(attempts=2**62)),
    "message origin": message(origin="evil"),
    "memory origin": memory(origin="evil"),
    "trust": memory(trust="god"),
    "role": message(role="root"),
    "memory type": memory(memory_type="zzz"),
    "kind of fact": memory(kind_of_fact="x" * 1_000),
    "no kind of fact": memory(kind_of_fact=""),
    "memory flags": memory(flags=2**40),
    "message flags": message(flags=8),
    "empty key": memory(metadata={"": 1}),
    "long key": memory(metadata={"a" * 5_000: 1}),
    "huge metadata": memory(metadata={"x": "y" * 3_000_000}),
    "nul in metadata": memory(metadata={"x": "a\0b"}),
    "empty text": memory(text=""),
    "blank text": memory(text="  \n"),
    "nul in a text": memory(text="a\0b"),
    "blank message": message(content=" "),
    "nul in an id": memory(actor_id="a\0b"),
    "long reason": first("event", lambda r: r.update(reason="x" * 100_000)),
    "superscript position": source("²"),
    "arabic position": source("٠"),
    "endless position": source("9" * 5_000),
    "padded position": source("00"),
    "no position": source(""),
    "a source twice": first("memory", lambda r: r.update(sources=r["sources"] * 2), user_id="ana"),
    "ids twice": every("memory", memory_id="m", revision=1),
    "recorded in the far future": every("memory", recorded_at=SOON, created_at=SOON),
    "heard of in the far future": message(hidden_at=SOON),
    "to be tried in the far future": first("batch", lambda r: r.update(not_before=SOON), pending=1),
    "replaced by itself": deleted(lambda r, _: r["memory_id"]),
    "replaced by somebody else's": deleted(
        lambda r, rest: next(o["memory_id"] for o in rest[::-1] if o["user_id"] != r["user_id"])
    ),
    "an update that names another": first(
        "memory", lambda r: r.update(superseded_by="x"), deleted_at=None, retired_at=...
    ),
    "updated and then nothing": memory(retired_at=1, valid_to=1, superseded_by="x"),
    "deleted at another time": first("memory", lambda r: r.update(deleted_at=1), deleted_at=...),
    "closed and open": first("memory", lambda r: r.update(valid_to=None), deleted_at=...),
    "another successor": first("memory", lambda r: r.update(valid_from=1), revision=2),
    "another creator": first("memory", lambda r: r.update(actor_id="eve"), revision=2),
    "a first version made later": memory(created_at=5),
    "nobody's memory": memory(user_id=None, agent_id=None, run_id=None),
    "an event of nothing": first("event", lambda r: r.update(memory_id="nowhere")),
    "an event of no revision": first("event", lambda r: r.update(revision=9)),
    "an event that did not happen": first("event", lambda r: r.update(operation="DELETE")),
    "an event at another time": first("event", lambda r: r.update(recorded_at=5)),
    "an event of no batch": first("event", lambda r: r.update(batch="nowhere")),
    "an event of somebody else's batch": foreign_batch,
    "an event twice": lambda records: more(records, "event", records[-1]),
    "an event left out": lambda records: fewer(records, "event"),
    "a message of no batch": message(batch="nowhere"),
    "a message recorded apart": message(recorded_at=5),
    "half a batch in search": first("message", lambda r: r.update(indexed=0, vector=None), indexed=1),
    "a negative position": message(position=-1),
    "a negative place": message(place=-1),
    "an old session again": old_session,
    "an owner twice": lambda records: more(records, "owner", records[1]),
    "an owner of no commits": first("owner", lambda r: r.update(revision=0)),
    "an owner of many commits": first("owner", lambda r: r.update(revision=10_000)),
    "a batch twice": every("batch", uuid="b"),
    "another batch's result": first(
        "batch",
        lambda r: r.update(result=r["result"].replace(r["uuid"], "b")),
        idempotency_key=...,
        result=...,
    ),
    "sources in disorder": first(
        "memory", lambda r: r.update(sources=[r["sources"][0], r["sources"][0][:-1] + "0"]), user_id="ana"
    ),
    "no model, and vectors": first("header", lambda r: r.update(embedding=None)),
    "a model, and no vectors": unembedded,
    "expires whenever": memory(expires_at="whenever"),
    "trust in between": memory(trust=0.5),
    "a batch of no state": first("batch", lambda r: r.update(pending=2)),
    "keys twice": lambda records: [
        record.update(idempotency_key="k")
        for record in records
        if record["kind"] == "batch" and record["idempotency_key"]
    ],
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_no_store_writes_is_refused(name: str, lines: list[str], tmp_path: Path) -> None:
    records = [json.loads(line) for line in lines]
    HOSTILE[name](records)
    path = tmp_path / "hostile.jsonl"
    path.write_bytes(signed(records))
    with opened(":memory:") as target:
        target.add("I like rowing", user_id="zoe")
        with pytest.raises(TransferError, match=r"hostile\.jsonl, line \d+: [a-z_.]+: ") as caught:
            target.admin.import_(path)
        assert caught.value.reason == "invalid"
        assert len(str(caught.value)) < 1_000
        assert target.admin.stats().owners == 1
        assert target.admin.doctor().ok


def test_the_same_file_unchanged_is_taken(lines: list[str], tmp_path: Path) -> None:
    path = tmp_path / "sound.jsonl"
    path.write_bytes(signed([json.loads(line) for line in lines]))
    with opened(":memory:") as target:
        target.add("I like rowing", user_id="zoe")
        assert target.admin.import_(path).owners == 4
        assert target.admin.doctor().ok


def test_an_export_replaces_files_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    pipe, folder = tmp_path / "pipe", tmp_path / "folder"
    os.mkfifo(pipe)
    folder.mkdir()
    (tmp_path / "to_pipe").symlink_to(pipe)
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with opened(":memory:") as target:
        for path in (pipe, folder, tmp_path / "to_pipe", ".", "..", "a\0b", "", b"x"):
            with pytest.raises(UsageError):
                target.admin.export(path)  # type: ignore[arg-type]
        with pytest.raises((UsageError, TransferError)):
            target.admin.export(tmp_path / "loop")
        for path in (pipe, folder):
            with pytest.raises(TransferError, match="no regular file"):
                target.admin.import_(path)
    assert pipe.is_fifo()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["folder", "loop", "pipe", "to_pipe"]


def test_an_export_follows_links_and_leaves_nothing_behind(tmp_path: Path) -> None:
    real, link, dangling = tmp_path / "real.jsonl", tmp_path / "link.jsonl", tmp_path / "later.jsonl"
    (tmp_path / "link.jsonl.partial").write_text("somebody else's")
    real.write_text("old")
    link.symlink_to(real)
    dangling.symlink_to(tmp_path / "new.jsonl")
    with opened(":memory:") as target:
        target.add("I like rowing", user_id="zoe")
        target.admin.export(link)
        target.admin.export(dangling)
    assert link.is_symlink()
    assert dangling.is_symlink()
    assert real.read_bytes() == (tmp_path / "new.jsonl").read_bytes() != b"old"
    assert (tmp_path / "link.jsonl.partial").read_text() == "somebody else's"
    assert len(list(tmp_path.iterdir())) == 5
