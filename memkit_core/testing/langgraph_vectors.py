"""Conformance tests of LangGraph's stores: what is embedded, and searches with a query."""

from __future__ import annotations

import itertools
from typing import Final

from langgraph.store.base import PutOp, SearchOp

from .langgraph_face import Face, StoreSuite, conforms

NS: Final = ("docs", "ann")


class QueryConformance(StoreSuite):
    """Searches with a query."""

    @conforms(fields=["text"])
    async def test_the_nearest_comes_first(self, store: Face) -> None:
        for word in ("tea", "rain", "chess"):
            await store.put(NS, word, {"text": f"all about {word}"})
        for word in ("tea", "rain", "chess"):
            assert (await store.keys(NS, query=word))[0] == word

    @conforms(fields=["text"])
    async def test_scores_fall_and_are_cosines(self, store: Face) -> None:
        await store.put(NS, "both", {"text": "tea rain"})
        await store.put(NS, "one", {"text": "tea"})
        await store.put(NS, "none", {"text": "chess"})
        found = await store.search(NS, query="tea")
        assert [item.key for item in found] == ["one", "both", "none"]
        scores = [item.score for item in found if item.score is not None]
        assert len(scores) == 3
        assert scores == sorted(scores, reverse=True)
        assert abs(scores[0] - 1) < 0.01
        assert abs(scores[1] - 0.5**0.5) < 0.01
        assert scores[2] < 0.1

    @conforms(fields=["text"])
    async def test_queries_are_embedded_as_queries(self, store: Face) -> None:
        await store.put(NS, "k", {"text": "I like tea"})
        await store.search(NS, query="which drink")
        assert store.embeddings.queries == ["which drink"]
        assert store.embeddings.documents == ["I like tea"]

    @conforms(fields=["text"])
    async def test_one_query_asked_twice_in_a_batch_is_answered_twice(self, store: Face) -> None:
        await store.put(("a",), "k", {"text": "tea"})
        await store.put(("b",), "k", {"text": "tea"})
        first, second = await store.batch([SearchOp(("a",), query="tea"), SearchOp(("b",), query="tea")])
        assert [[item.namespace for item in found] for found in (first, second)] == [[("a",)], [("b",)]]
        assert first[0].score is not None
        assert second[0].score is not None

    @conforms(fields=["text"])
    async def test_pages_of_a_query_are_complete(self, store: Face) -> None:
        for n in range(30):
            await store.put(NS, f"{n:02}", {"text": f"tea number {n}"})
        pages = [await store.keys(NS, query="tea", limit=10, offset=start) for start in (0, 10, 20, 30)]
        assert [len(page) for page in pages] == [10, 10, 10, 0]
        assert len(set(itertools.chain(*pages))) == 30

    @conforms(fields=["a", "b", "list[*]"])
    async def test_an_item_with_many_texts_is_found_once_by_its_best(self, store: Face) -> None:
        await store.put(NS, "many", {"a": "chess", "b": "tea", "list": ["rain", "moss", "oslo"]})
        await store.put(NS, "other", {"a": "cello"})
        for word in ("chess", "tea", "rain", "moss", "oslo"):
            found = await store.search(NS, query=word)
            assert [item.key for item in found] == ["many", "other"], word
            assert found[0].score is not None
            assert abs(found[0].score - 1) < 0.01, word
        assert await store.keys(NS, query="cello", limit=1) == ["other"]

    @conforms(fields=["text"])
    async def test_many_texts_cost_no_place_on_a_page(self, store: Face) -> None:
        for n in range(6):
            await store.put(NS, str(n), {"list": ["tea"] * 10}, index=["list[*]"])
        assert sorted(await store.keys(NS, query="tea", limit=6)) == list("012345")

    @conforms(fields=["text"])
    async def test_filter_and_prefix_come_before_the_limit_of_a_query(self, store: Face) -> None:
        for n in range(40):
            await store.put(("docs", "bob"), str(n), {"text": "tea", "mine": False})
            await store.put(NS, str(n), {"text": "tea", "mine": False})
        await store.put(NS, "far", {"text": "chess", "mine": True})
        assert await store.keys(NS, query="tea", filter={"mine": True}, limit=1) == ["far"]
        assert {item.namespace for item in await store.search(NS, query="tea", limit=40)} == {NS}

    @conforms(fields=["text"])
    async def test_a_query_reads_the_state_before_the_puts_of_its_batch(self, store: Face) -> None:
        await store.put(NS, "old", {"text": "rain"})
        found, *_ = await store.batch([SearchOp(NS, query="tea"), PutOp(NS, "new", {"text": "tea"})])
        assert [item.key for item in found] == ["old"]


class IndexConformance(StoreSuite):
    """What is embedded, and when it is forgotten."""

    @conforms(fields=["text"])
    async def test_only_the_fields_of_the_index_are_embedded(self, store: Face) -> None:
        await store.put(NS, "k", {"text": "tea", "other": "chess"})
        assert store.embeddings.documents == ["tea"]

    @conforms(fields=["deep.text", "list[0]", "last[-1]", "all[*].t"])
    async def test_fields_are_paths(self, store: Face) -> None:
        value = {
            "deep": {"text": "tea", "more": "no"},
            "list": ["rain", "no"],
            "last": ["no", "chess"],
            "all": [{"t": "oslo"}, {"t": "moss"}, {"u": "no"}],
        }
        await store.put(NS, "k", value)
        assert sorted(store.embeddings.documents) == ["chess", "moss", "oslo", "rain", "tea"]

    @conforms(fields=["text"])
    async def test_an_item_can_name_its_own_fields(self, store: Face) -> None:
        await store.put(NS, "own", {"text": "tea", "other": "chess"}, index=["other"])
        await store.put(NS, "usual", {"text": "rain", "other": "chess"})
        assert sorted(store.embeddings.documents) == ["chess", "rain"]
        assert await store.keys(NS, query="chess", limit=1) == ["own"]

    @conforms(fields=["text"])
    async def test_equal_texts_in_one_batch(self, store: Face) -> None:
        await store.batch([PutOp(NS, str(n), {"text": "tea"}) for n in range(5)])
        found = await store.search(NS, query="tea")
        assert sorted(item.key for item in found) == list("01234")
        assert all(item.score is not None and item.score > 0.9 for item in found)

    @conforms(fields=["a", "b"])
    async def test_equal_texts_in_one_item(self, store: Face) -> None:
        await store.put(NS, "k", {"a": "tea", "b": "tea"})
        found = await store.search(NS, query="tea")
        assert [item.key for item in found] == ["k"]

    @conforms(fields=["text"])
    async def test_a_new_text_is_found_and_the_old_one_forgotten(self, store: Face) -> None:
        await store.put(NS, "k", {"text": "tea"})
        await store.put(NS, "k", {"text": "chess"})
        assert await _score(store, "chess") > 0.9
        assert await _score(store, "tea") < 0.1

    @conforms(fields=["text"])
    async def test_index_false_is_not_embedded(self, store: Face) -> None:
        await store.put(NS, "k", {"text": "tea"}, index=False)
        assert store.embeddings.documents == []
        assert await _score(store, "tea") < 0.1
        assert await store.get(NS, "k") is not None

    @conforms(fields=["text"])
    async def test_index_false_forgets_what_was_embedded(self, store: Face) -> None:
        await store.put(NS, "k", {"text": "tea"})
        await store.put(NS, "k", {"text": "tea"}, index=False)
        assert await _score(store, "tea") < 0.1

    @conforms(fields=["a", "b"])
    async def test_a_field_that_is_gone_is_forgotten(self, store: Face) -> None:
        await store.put(NS, "k", {"a": "tea", "b": "chess"})
        await store.put(NS, "k", {"b": "chess"})
        assert await _score(store, "chess") > 0.9
        assert await _score(store, "tea") < 0.1

    @conforms(fields=["list[*]"])
    async def test_a_shorter_list_is_forgotten(self, store: Face) -> None:
        await store.put(NS, "k", {"list": ["rain", "tea", "chess"]})
        await store.put(NS, "k", {"list": ["rain"]})
        assert await _score(store, "tea") < 0.1
        assert await _score(store, "chess") < 0.1

    @conforms(fields=["text"])
    async def test_a_deleted_item_is_not_found(self, store: Face) -> None:
        await store.put(NS, "k", {"text": "tea"})
        await store.put(NS, "other", {"text": "chess"})
        await store.delete(NS, "k")
        assert await store.keys(NS, query="tea") == ["other"]
        await store.put(NS, "k", {"else": 1})
        assert await _score(store, "tea") < 0.1

    @conforms(fields=["$"])
    async def test_the_whole_value_can_be_embedded(self, store: Face) -> None:
        await store.put(NS, "k", {"a": "tea", "b": {"c": "chess"}})
        await store.put(NS, "other", {"a": "rain"})
        for word in ("tea", "chess"):
            assert await store.keys(NS, query=word, limit=1) == ["k"]


async def _score(store: Face, query: str) -> float:
    """The score of ``k``; 0 if it is not found or was not compared."""
    scores = [item.score or 0.0 for item in await store.search(NS, query=query) if item.key == "k"]
    return scores[0] if scores else 0.0
