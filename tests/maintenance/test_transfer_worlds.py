"""Random worlds, exported, imported beside others, and exported again: the same bytes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memkit_core import Memory
from memkit_core.testing import HashEmbeddings, ScriptedChatModel

from .worlds import build

OWNERS: tuple[dict[str, str], ...] = (
    {"user_id": "ana"},
    {"user_id": "ana", "agent_id": "a1"},
    {"user_id": "ben", "run_id": "r1"},
    {"agent_id": "a1"},
    {"run_id": "r1"},
)
Step = tuple[str, int, str, int]
TEXTS = st.sampled_from(
    ["I like tea", "I live in Oslo", "猫が好きです", "Ana said \u2028 so", "I sail", "I row"]
)
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["add", "add", "raw", "keyed", "pending", "update", "delete", "delete_all"]),
        st.integers(0, len(OWNERS) - 1),
        TEXTS,
        st.integers(0, 400),
    ),
    min_size=1,
    max_size=14,
)
METADATA: tuple[Mapping[str, Any] | None, ...] = (
    None,
    {"n": 1},
    {"b": 1.5e300, "a": [None, True, {"x": ""}]},
)


def opened(path: Path | str, **options: Any) -> Memory:
    options = {"llm": "verbatim", "embedder": HashEmbeddings(16), "store": path, **options}
    return Memory(**options)


def live(memory: Memory, modelless: Memory, steps: list[Step]) -> None:
    """Carry out the steps; ``memory`` has a model that never answers."""
    for number, (what, owner, text, hours) in enumerate(steps):
        ids: Any = OWNERS[owner]
        if what in ("update", "delete"):
            items = memory.get_all(**ids).results
            if items:
                item = items[hours % len(items)]
                if what == "delete":
                    memory.delete(item.id)
                else:
                    memory.update(item.id, f"{text} {number}", metadata=METADATA[hours % 3])
        elif what == "delete_all":
            memory.delete_all(**ids)
        else:
            side = memory if what == "pending" else modelless
            side.add(
                [{"role": "user", "name": "Ana", "content": f"{text} {hours % 5}"}, ("assistant", "Noted.")],
                **ids,
                metadata=METADATA[hours % 3],
                expires_at="2099-01-01" if hours % 4 == 0 else None,
                # Up to weeks before the first of 2026 and behind it, also further on than today.
                observed_at=f"20{25 + hours % 4 * 10}-01-{1 + hours // 24:02}T{hours % 24:02}:00:00Z",
                idempotency_key=f"{number}" if what == "keyed" else None,
                infer=what != "raw",
            )


@settings(max_examples=40, deadline=None)
@given(mine=STEPS, others=STEPS, embedded=st.booleans())
def test_every_owner_travels_bit_by_bit(mine: list[Step], others: list[Step], embedded: bool) -> None:
    embedder: Any = HashEmbeddings(16) if embedded else "none"
    silent = ScriptedChatModel(replies=[])
    with TemporaryDirectory() as name, opened(f"{name}/one.db", llm=silent, embedder=embedder) as one:
        folder = Path(name)
        with opened(folder / "one.db", embedder=embedder) as modelless:
            live(one, modelless, mine)
        one.admin.export(folder / "all.jsonl")
        with opened(":memory:") as other:
            other.admin.import_(folder / "all.jsonl")
            other.admin.export(folder / "again.jsonl")
            assert other.admin.doctor().findings == []
        assert (folder / "again.jsonl").read_bytes() == (folder / "all.jsonl").read_bytes()
        with opened(":memory:") as other:
            live(other, other, [(what, 0, text, hours) for what, _, text, hours in others])
            persons: list[Any] = [{"user_id": "ben"}, {"agent_id": "a1"}, {"run_id": "r1"}]
            for person in persons:
                one.admin.export(folder / "owner.jsonl", **person)
                other.admin.import_(folder / "owner.jsonl")
                other.admin.export(folder / "back.jsonl", **person)
                assert (folder / "back.jsonl").read_bytes() == (folder / "owner.jsonl").read_bytes()
            assert other.admin.doctor().findings == []


def test_an_owner_travels_through_three_stores(tmp_path: Path) -> None:
    build(tmp_path / "one.db")
    with opened(tmp_path / "one.db", embedder=HashEmbeddings(32)) as one:
        one.admin.export(tmp_path / "first.jsonl", user_id="ana")
    for number in (1, 2, 3):
        with opened(":memory:", embedder=HashEmbeddings(32)) as store:
            for count in range(number):
                store.add(f"I like rowing {count}", user_id="zoe")
            store.admin.import_(tmp_path / "first.jsonl")
            store.add("I like hiking", user_id="zoe")
            store.admin.export(tmp_path / "next.jsonl", user_id="ana")
        assert (tmp_path / "next.jsonl").read_bytes() == (tmp_path / "first.jsonl").read_bytes()


def as_version_1(content: bytes) -> bytes:
    """What the former format said of the same store."""
    records = [json.loads(line) for line in content.splitlines()[:-1]]
    records[0] |= {"version": 1, "analyzer": "1"}
    for number, record in enumerate(r for r in records if r["kind"] == "event"):
        record["sequence"] = 3 * number + 5
    body = b"".join(json.dumps(record, ensure_ascii=False).encode() + b"\n" for record in records)
    end = {"kind": "end", "lines": len(records), "sha256": hashlib.sha256(body).hexdigest()}
    return body + json.dumps(end).encode() + b"\n"


def test_files_of_the_former_format_are_read(tmp_path: Path) -> None:
    build(tmp_path / "one.db", plain=True)
    with opened(tmp_path / "one.db", embedder=HashEmbeddings(32)) as one:
        one.admin.export(tmp_path / "new.jsonl")
    old = as_version_1((tmp_path / "new.jsonl").read_bytes())
    (tmp_path / "old.jsonl").write_bytes(old)
    with opened(":memory:", embedder=HashEmbeddings(32)) as other:
        other.admin.import_(tmp_path / "old.jsonl")
        other.admin.export(tmp_path / "again.jsonl")
        assert other.admin.doctor().ok
    assert (tmp_path / "again.jsonl").read_bytes() == (tmp_path / "new.jsonl").read_bytes()


def test_a_large_result_travels(tmp_path: Path) -> None:
    said = [f"I like {number} " + "x" * 200_000 for number in range(100)]
    with opened(":memory:", embedder="none") as one:
        one.add(said, user_id="ana", idempotency_key="k", infer=False)
        one.admin.export(tmp_path / "one.jsonl")
    with opened(":memory:", embedder="none") as other:
        other.admin.import_(tmp_path / "one.jsonl")
        other.admin.export(tmp_path / "two.jsonl")
    assert (tmp_path / "one.jsonl").read_bytes() == (tmp_path / "two.jsonl").read_bytes()


def test_every_stage_has_a_bar(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with opened(":memory:") as one:
        one.add("I like tea", user_id="ana")
        one.admin.export(tmp_path / "one.jsonl", progress=True)
    told = capsys.readouterr().err
    assert all(name in told for name in ("check:", "export:"))
    with opened(":memory:") as other:
        other.add("I like chess", user_id="ben")
        other.admin.import_(tmp_path / "one.jsonl", progress=True)
    told = capsys.readouterr().err
    assert all(name in told for name in ("check:", "check the store:", "import:", "derive and check:"))
    assert "derive and check: 100%" in told
