"""Signed files with one value changed: refused with nothing changed, or taken and told again the same."""

from __future__ import annotations

import base64
import binascii
import copy
import json
import random
from pathlib import Path
from typing import Any, Final

import pytest

from memkit_core import ConflictError, EmbeddingMismatchError, SchemaVersionError, TransferError
from memkit_core.testing import ScriptedChatModel

from .test_transfer_hostile import signed
from .test_transfer_worlds import Step, live, opened

Line = dict[str, Any]
#: Mutations in an ordinary run, each over a file of its own; a slow test makes up the number.
FEW, MANY = 250, 3_000

STEPS: Final[list[Step]] = [
    *(("keyed", owner, "I like tea", 3 + 40 * owner) for owner in (0, 1, 3)),
    *(("add", owner, "I sail", 90 + owner) for owner in (0, 2, 4)),
    ("raw", 0, "I row", 1),
    *(("update", 0, "I ride", hours) for hours in (0, 1, 1)),
    *(("delete", 0, "", 0), ("delete_all", 4, "", 0), ("pending", 0, "I run", 5), ("add", 4, "I walk", 7)),
]
VALUES: Final[tuple[Any, ...]] = (
    *(
        None,
        True,
        False,
        0,
        1,
        -1,
        2,
        7,
        10**6,
        2**31,
        2**53,
        2**62,
        2**63,
        -(2**63),
        2**70,
        0.5,
        1e400,
        -0.0,
    ),
    *(
        "",
        " ",
        "x",
        "ana",
        "a1",
        "user",
        "tool",
        "trusted",
        "DELETE",
        "a\0b",
        "\u2028",
        "x:0",
        "{}",
        "[]",
        "null",
    ),
    *([], {}, ["x"], {"x": 1}, [[]], {"": 0}),
    *(1_735_689_600_000_000, 4_102_444_800_000_000, 253_402_300_800_000_000, -62_135_596_800_000_001),
)


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> list[Line]:
    folder = tmp_path_factory.mktemp("fuzz")
    silent = opened(folder / "memkit.db", llm=ScriptedChatModel(replies=[]))
    with opened(folder / "memkit.db") as memory, silent:
        live(silent, memory, STEPS)
        memory.admin.export(folder / "export.jsonl")
    lines = (folder / "export.jsonl").read_text(encoding="utf-8").split("\n")[:-1]
    return [json.loads(line) for line in lines[:-1]]


def mutated(records: list[Line], rng: random.Random) -> list[Line]:
    """The same with one thing changed; lines that are not changed are shared."""
    records = list(records)
    kind = rng.choice(["header", "owner", "batch", "message", "memory", "event"])
    number = rng.choice([n for n, record in enumerate(records) if record["kind"] == kind])
    records[number] = record = copy.deepcopy(records[number])
    other = rng.choice([r for r in records if r["kind"] == kind])
    what = rng.choice(["value", "value", "other", "near", "near", "drop", "add", "twice", "gone", "swap"])
    name = rng.choice([name for name in record if name != "kind"])
    if what == "value":
        record[name] = rng.choice(VALUES)
    elif what == "other":
        record[name] = copy.deepcopy(other.get(rng.choice(list(other)) if rng.random() < 0.2 else name))
    elif what == "near":
        record[name] = near(record[name], rng)
    elif what == "drop":
        del record[name]
    elif what == "add":
        record[rng.choice(["x", "sequence", "analyzer", "unit", "lease"])] = rng.choice(VALUES)
    elif what in ("twice", "gone") and kind != "header":
        records[number : number + 1] = [record, copy.deepcopy(record)] if what == "twice" else []
        count = {"batch": "batches", "memory": "memories"}.get(kind, f"{kind}s")
        counts = {**records[0]["counts"]}
        counts[count] += 1 if what == "twice" else -1
        records[0] = {**records[0], "counts": counts}
    elif what == "swap" and number + 1 < len(records):
        records[number : number + 2] = records[number + 1], record
    return records


def near(value: Any, rng: random.Random) -> Any:
    """A value much like this one."""
    if isinstance(value, bool) or value is None:
        return not value
    if isinstance(value, int):
        return value + rng.choice([-1, 1, 1_000_000, -(10**15)])
    if isinstance(value, list):
        return value[::-1] if rng.random() < 0.5 else [*value, *value[:1]]
    if isinstance(value, dict):
        return {**value, rng.choice(["x", *value]): rng.choice(VALUES)}
    if isinstance(value, str) and len(value) > 30 and rng.random() < 0.5:
        try:
            raw = bytearray(base64.b64decode(value + "==", validate=False))
        except binascii.Error:  # no base64 at all: any bytes will do
            raw = bytearray(value.encode())
        if raw:
            raw[rng.randrange(len(raw))] ^= 1 << rng.randrange(8)
        return base64.b64encode(raw).decode()
    at = rng.randrange(len(value) + 1) if isinstance(value, str) else 0
    return f"{value[:at]}{rng.choice(['x', ' ', '0', ''])}{value[at + 1 :]}"


def told(path: Path) -> list[Line]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n")[:-2]]


def check(records: list[Line], folder: Path, seed: int) -> bool:
    """Whether the file was taken; either way what must hold holds."""
    spoilt = mutated(records, random.Random(seed))
    path, before, after = (folder / name for name in ("in.jsonl", "before.jsonl", "after.jsonl"))
    path.write_bytes(signed(spoilt))
    with opened(":memory:") as memory:
        memory.add("I like rowing", user_id="zoe")
        memory.admin.export(before)
        try:
            memory.admin.import_(path)
        except (TransferError, ConflictError, EmbeddingMismatchError, SchemaVersionError) as error:
            if isinstance(error, TransferError):
                assert f"{path}, line " in str(error), error  # noqa: PT017 - one of several errors
            memory.admin.export(after)
            assert after.read_bytes() == before.read_bytes()
            return False
        assert memory.admin.doctor().findings == []
    with opened(":memory:") as memory:
        memory.admin.import_(path)
        memory.admin.export(after)
    assert json.dumps(told(after)) == json.dumps(told(path))
    return True


def run(records: list[Line], folder: Path, seeds: range) -> None:
    taken = 0
    for seed in seeds:
        try:
            taken += check(records, folder, seed)
        except BaseException as error:
            error.add_note(f"seed {seed}")
            raise
    assert 0 < taken < len(seeds)


def test_a_changed_file_is_refused_or_told_again_the_same(records: list[Line], tmp_path: Path) -> None:
    run(records, tmp_path, range(FEW))


@pytest.mark.slow
def test_thousands_of_changed_files(records: list[Line], tmp_path: Path) -> None:
    run(records, tmp_path, range(FEW, MANY))
