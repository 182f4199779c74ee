"""A flood in quarantine beside an index that proposes: it costs no hit, and the index counts as whole."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from memkit_core import Memory
from memkit_core.protocols import AddMemory, ChangeSet
from memkit_core.testing import HashEmbeddings
from memkit_core.types import Scope


@pytest.mark.parametrize("exact_scan_units", [0, 20_000])
def test_a_flood_beside_an_index(tmp_path: Path, exact_scan_units: int) -> None:
    from langchain_core.vectorstores import InMemoryVectorStore

    embedder = HashEmbeddings(dimension=32)
    index = InMemoryVectorStore(embedder)
    with Memory(llm="verbatim", embedder=embedder, store=tmp_path / "m.db", vector_store=index) as memory:
        engine = memory._engine
        settings = replace(engine.services.settings, exact_scan_units=exact_scan_units)
        engine.services = replace(engine.services, settings=settings)
        mine = [f"I like green tea number {n} of {n}" for n in range(150)]
        memory.add([("user", text) for text in mine], user_id="u", infer=False)
        before = {hit.memory for hit in memory.search("green tea number", user_id="u", limit=50)}
        services = engine.services
        vector = embedder.embed_query("green tea number")
        poison = tuple(
            AddMemory(
                memory_id=f"poison {n}",
                scope=Scope(user_id="u"),
                text=f"green tea number green tea {n}",
                origin="tool",
                trust="untrusted",
                valid_from=0,
                vector=vector,
            )
            for n in range(2_500)
        )
        services.store.commit(
            ChangeSet(scope=Scope(user_id="u"), recorded_at=1, changes=poison, indexes=services.indexes)
        )
        memory.flush()
        found = memory.search("green tea number", user_id="u", limit=50)
        assert len(found) == len(before)
        assert {hit.trust for hit in found} == {"trusted"}
        assert found.degraded == []
        assert not services.known.index_lost
        held = memory.search("green tea number", user_id="u", limit=50, filters={"trust": "untrusted"})
        assert len(held) == 50
