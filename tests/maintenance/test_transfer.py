"""What is exported comes back the same to the bit, and no bad file changes anything."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from memkit_core import (
    AsyncMemory,
    ConflictError,
    EmbeddingMismatchError,
    Memory,
    SchemaVersionError,
    TransferError,
    UsageError,
)
from memkit_core.maintenance import incoming
from memkit_core.testing import HashEmbeddings, ScriptedChatModel

from .test_reindex import DictIndex, OtherEmbeddings
from .worlds import build

QUESTIONS = ("What does Ana like?", "tea or chess", "number 7", "猫", "opera in Madrid")


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sound") / "memkit.db"
    build(path)
    return path


@pytest.fixture(scope="module")
def exported(sound: Path) -> Path:
    path = sound.with_name("export.jsonl")
    with opened(sound) as memory:
        memory.admin.export(path)
    return path


def opened(path: Path | str, **options: Any) -> Memory:
    return Memory(**{"llm": "verbatim", "embedder": HashEmbeddings(32), "store": path, **options})


def everything(memory: Memory) -> list[Any]:
    """What its users can see."""
    found: list[Any] = []
    for ids in ({"user_id": "ana"}, {"user_id": "ben"}, {"agent_id": "a1"}, {"run_id": "r1"}):
        items = memory.get_all(**ids, limit=1_000)
        found.append(items)
        found += [memory.history(item.id) for item in items]
        for question in QUESTIONS:
            for options in ({}, {"as_of": "2026-06-01", "include": ("memories", "excerpts")}):
                result = memory.search(question, **ids, **options)  # type: ignore[arg-type]
                found.append((result.results, result.excerpts))
    return found


def test_the_round_trip_is_bit_identical(sound: Path, exported: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.jsonl"
    with opened(sound) as one, opened(tmp_path / "new.db") as other:
        result = other.admin.import_(exported)
        assert result.owners == 4
        assert result.versions > 40
        assert other.admin.export(again).sha256 == one.admin.export(tmp_path / "third.jsonl").sha256
        assert again.read_bytes() == exported.read_bytes()
        assert other.admin.doctor().findings == []
        assert everything(other) == everything(one)


def test_the_imported_store_goes_on(exported: Path, tmp_path: Path) -> None:
    reply = {"facts": []}
    with opened(tmp_path / "new.db", llm=ScriptedChatModel(replies=[json.dumps(reply)] * 4)) as memory:
        memory.admin.import_(exported)
        flushed = memory.flush()
        assert (flushed.completed, flushed.pending) == (1, 0)
        memory.add("I like swimming", user_id="ana", infer=False)
        assert memory.search("swimming", user_id="ana").results
        assert memory.admin.doctor().ok


def test_idempotency_keys_survive(exported: Path, tmp_path: Path) -> None:
    with opened(tmp_path / "new.db") as memory:
        memory.admin.import_(exported)
        with pytest.raises(UsageError, match="idempotency_key"):
            for ids in ({"user_id": "ana"}, {"user_id": "ben"}, {"agent_id": "a1"}, {"run_id": "r1"}):
                memory.add("something else", **ids, idempotency_key="key-0")  # type: ignore[arg-type]


def test_gzip_is_the_same_content_and_the_same_bytes(sound: Path, exported: Path, tmp_path: Path) -> None:
    packed, twice = tmp_path / "a.jsonl.gz", tmp_path / "b.jsonl.gz"
    with opened(sound) as memory:
        memory.admin.export(packed)
        memory.admin.export(twice)
    assert packed.read_bytes() == twice.read_bytes()
    assert gzip.decompress(packed.read_bytes()) == exported.read_bytes()
    with opened(":memory:") as memory:
        assert memory.admin.import_(packed).messages > 80


def test_one_owner_into_a_store_of_others(sound: Path, tmp_path: Path) -> None:
    path = tmp_path / "ana.jsonl"
    with opened(sound) as memory:
        assert memory.admin.export(path, user_id="ana").owners == 1
        wanted = memory.search("tea", user_id="ana").results
        with pytest.raises(UsageError):
            memory.admin.export(path, user_id="ana", agent_id="a1")
    with opened(tmp_path / "new.db") as memory:
        memory.add("I like hiking", user_id="zoe")
        memory.admin.import_(path)
        assert memory.search("tea", user_id="ana").results == wanted
        assert memory.count(user_id="zoe") == 1
        assert memory.count(user_id="ben") == 0
        before = memory.get_all(user_id="ana", limit=1_000)
        with pytest.raises(ConflictError, match="ana"):
            memory.admin.import_(path)
        assert memory.get_all(user_id="ana", limit=1_000) == before
        assert memory.admin.doctor().ok


def test_the_derived_index_is_filled(exported: Path, tmp_path: Path) -> None:
    index, embeddings = DictIndex(), HashEmbeddings(32)
    with opened(tmp_path / "new.db", embedder=embeddings, vector_store=index) as memory:
        memory.admin.import_(exported)
        assert len(index.entries) > 40
        assert embeddings.calls == []
        assert memory.admin.doctor().ok


def _resealed(lines: list[bytes]) -> bytes:
    body = b"".join(line + b"\n" for line in lines)
    end = {"kind": "end", "lines": len(lines), "sha256": hashlib.sha256(body).hexdigest()}
    return body + json.dumps(end).encode() + b"\n"


def _changed(kind: str, change: Callable[[dict[str, Any]], object]) -> Callable[[bytes], bytes]:
    def spoil(whole: bytes) -> bytes:
        lines = whole.splitlines()[:-1]
        for number, line in enumerate(lines):
            record = json.loads(line)
            if record["kind"] == kind:
                change(record)
                lines[number] = json.dumps(record, ensure_ascii=False).encode()
                break
        return _resealed(lines)

    return spoil


def _deep(record: dict[str, Any]) -> None:
    value: Any = 1
    for _ in range(200):
        value = [value]
    record["metadata"] = {"x": value}


BAD: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "empty": (lambda b: b"", "truncated"),
    "no export": (lambda b: b"hello\n", "format"),
    "other json": (lambda b: b'{"a": 1}\n', "format"),
    "cut in a line": (lambda b: b[: len(b) // 2], "truncated"),
    "cut between lines": (lambda b: b"\n".join(b.split(b"\n")[:40]) + b"\n", "truncated"),
    "without its end": (lambda b: b"\n".join(b.splitlines()[:-1]) + b"\n", "truncated"),
    "a changed text": (lambda b: b.replace(b"I like", b"I hate", 1), "digest"),
    "something behind": (lambda b: b + b"{}\n", "invalid"),
    "a line left out": (lambda b: _resealed(b.splitlines()[:-2]), "truncated"),
    "a line twice": (lambda b: _resealed([*b.splitlines()[:-1], b.splitlines()[-2]]), "invalid"),
    "an unknown kind": (_changed("event", lambda r: r.update(kind="spell")), "unknown_kind"),
    "an unknown field": (_changed("memory", lambda r: r.update(power=9)), "invalid"),
    "a wrong type": (_changed("memory", lambda r: r.update(revision="1")), "invalid"),
    "too deep": (_changed("memory", _deep), "invalid"),
    "a huge number": (_changed("memory", lambda r: r.update(valid_from=2**70)), "invalid"),
    "not a vector": (_changed("memory", lambda r: r.update(vector="###")), "invalid"),
    "two headers": (lambda b: _resealed([b.splitlines()[0], *b.splitlines()[:-1]]), "invalid"),
    "an unknown source": (_changed("memory", lambda r: r.update(sources=["x:0"])), "invalid"),
    "a revision left out": (_changed("memory", lambda r: r.update(revision=7)), "invalid"),
    "a foreign owner": (_changed("memory", lambda r: r.update(user_id="mallory")), "invalid"),
    "nobody": (_changed("memory", lambda r: r.update(user_id=None, agent_id=None, run_id=None)), "invalid"),
    "a long line": (_changed("batch", lambda r: r.update(job="x" * 200_000)), "too_long"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_changes_nothing(
    name: str, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(incoming, "MAX_LINE_BYTES", 100_000)
    spoil, reason = BAD[name]
    path = tmp_path / "bad.jsonl"
    path.write_bytes(spoil(exported.read_bytes()))
    with opened(tmp_path / "new.db") as memory:
        with pytest.raises(TransferError) as caught:
            memory.admin.import_(path)
        assert caught.value.reason == reason, caught.value
        assert memory.admin.export(tmp_path / "after.jsonl").owners == 0


def test_a_damaged_gzip_and_a_missing_file(exported: Path, tmp_path: Path) -> None:
    packed = gzip.compress(exported.read_bytes())
    with opened(":memory:") as memory:
        for content, reason in ((packed[:-40], "truncated"), (packed[:200] + b"xx" + packed[202:], "digest")):
            path = tmp_path / "bad.gz"
            path.write_bytes(content)
            with pytest.raises(TransferError) as caught:
                memory.admin.import_(path)
            assert caught.value.reason in (reason, "truncated", "digest", "invalid", "format")
        with pytest.raises(TransferError, match="cannot read"):
            memory.admin.import_(tmp_path / "nowhere.jsonl")
        with pytest.raises(TransferError, match="cannot write"):
            memory.admin.export(tmp_path / "no" / "folder.jsonl")
        with pytest.raises(UsageError):
            memory.admin.export(3)  # type: ignore[arg-type]


def test_a_newer_format_and_another_model(exported: Path, tmp_path: Path) -> None:
    newer = tmp_path / "newer.jsonl"
    newer.write_bytes(_changed("header", lambda r: r.update(version=3, more=1))(exported.read_bytes()))
    with opened(tmp_path / "new.db") as memory, pytest.raises(SchemaVersionError, match="upgrade"):
        memory.admin.import_(newer)
    with opened(tmp_path / "other.db", embedder=OtherEmbeddings(32)) as memory:
        with pytest.raises(EmbeddingMismatchError):
            memory.admin.import_(exported)
        assert memory.count(user_id="ana") == 0
    with opened(tmp_path / "third.db", embedder=HashEmbeddings(16)) as memory:
        memory.add("I like rowing", user_id="zoe")
        with pytest.raises(EmbeddingMismatchError):
            memory.admin.import_(exported)
        assert memory.count(user_id="ana") == 0
    with opened(tmp_path / "none.db", embedder="none") as memory:
        memory.admin.import_(exported)
        assert memory.search("number", user_id="ana").results


async def test_async(exported: Path, tmp_path: Path) -> None:
    async with AsyncMemory(llm="verbatim", embedder=HashEmbeddings(32), store=tmp_path / "new.db") as memory:
        await memory.admin.import_(exported)
        assert (await memory.admin.doctor()).ok
        await memory.admin.export(tmp_path / "again.jsonl", progress=True)
    same = (tmp_path / "again.jsonl").read_bytes() == exported.read_bytes()  # noqa: ASYNC240 - nothing waits
    assert same
