"""Conformance tests of LangGraph's stores: items that expire."""

from __future__ import annotations

from typing import Any, Final, cast

from langgraph.store.base import GetOp, PutOp, SearchOp, TTLConfig

from .langgraph_face import Face, StoreSuite, conforms

NS: Final = ("docs", "ann")
#: Nothing expires unless a test says so, and what has expired is still read until it is swept away.
_MANUAL: Final[TTLConfig] = {"refresh_on_read": True}
_STILL: Final[TTLConfig] = {"refresh_on_read": False}
_OMIT: Final[TTLConfig] = {"refresh_on_read": False, "omit_expired": True}


class ExpiryConformance(StoreSuite):
    """Times to live are in minutes and begin with a write, or with a read that refreshes them."""

    @property
    def _minutes(self) -> float:
        return self.lifetime / 60

    @conforms(ttl=_STILL)
    async def test_what_has_expired_is_swept(self, store: Face) -> None:
        await store.put(NS, "short", {"n": 1}, ttl=self._minutes)
        await store.put(NS, "long", {"n": 1}, ttl=60)
        await store.put(NS, "ever", {"n": 1}, ttl=None)
        assert await store.sweep() == 0
        await store.wait(self.lifetime * 1.5)
        assert await store.sweep() == 1
        assert await store.get(NS, "short") is None
        assert sorted(await store.keys(NS)) == ["ever", "long"]
        assert await store.sweep() == 0

    @conforms(ttl={"default_ttl": 0.4 / 60, "refresh_on_read": False})
    async def test_a_default_holds_where_nothing_is_said(self, store: Face) -> None:
        await store.put(NS, "usual", {"n": 1})
        await store.put(NS, "ever", {"n": 1}, ttl=None)
        await store.wait(max(0.6, self.lifetime * 1.5))
        assert await store.sweep() == 1
        assert await store.keys(NS) == ["ever"]

    @conforms(ttl=_MANUAL)
    async def test_a_get_refreshes(self, store: Face) -> None:
        await store.put(NS, "read", {"n": 1}, ttl=self._minutes)
        await store.put(NS, "not", {"n": 1}, ttl=self._minutes)
        await store.wait(self.lifetime * 0.75)
        await store.get(NS, "read")
        await store.wait(self.lifetime * 0.5)
        await store.sweep()
        assert await store.keys(NS, refresh_ttl=False) == ["read"]

    @conforms(ttl=_MANUAL)
    async def test_a_search_refreshes_what_it_returns(self, store: Face) -> None:
        await store.put(NS, "found", {"n": 1}, ttl=self._minutes)
        await store.put(NS, "not", {"n": 2}, ttl=self._minutes)
        await store.wait(self.lifetime * 0.75)
        await store.search(NS, filter={"n": 1})
        await store.wait(self.lifetime * 0.5)
        await store.sweep()
        assert await store.keys(NS, refresh_ttl=False) == ["found"]

    @conforms(ttl=_MANUAL)
    async def test_a_read_may_leave_it_alone(self, store: Face) -> None:
        await store.put(NS, "k", {"n": 1}, ttl=self._minutes)
        await store.wait(self.lifetime * 0.75)
        await store.get(NS, "k", refresh_ttl=False)
        await store.search(NS, refresh_ttl=False)
        await store.wait(self.lifetime * 0.75)
        assert await store.sweep() == 1

    @conforms(ttl=_STILL)
    async def test_a_read_refreshes_only_if_that_is_configured_or_asked_for(self, store: Face) -> None:
        await store.put(NS, "asked", {"n": 1}, ttl=self._minutes)
        await store.put(NS, "usual", {"n": 2}, ttl=self._minutes)
        await store.wait(self.lifetime * 0.75)
        await store.get(NS, "asked", refresh_ttl=True)
        await store.get(NS, "usual")
        await store.wait(self.lifetime * 0.5)
        await store.sweep()
        assert await store.keys(NS) == ["asked"]

    @conforms(ttl=_STILL)
    async def test_a_put_begins_anew(self, store: Face) -> None:
        await store.put(NS, "again", {"n": 1}, ttl=self._minutes)
        await store.put(NS, "for good", {"n": 1}, ttl=self._minutes)
        await store.wait(self.lifetime * 0.75)
        await store.put(NS, "again", {"n": 2}, ttl=self._minutes)
        await store.put(NS, "for good", {"n": 2}, ttl=None)
        await store.wait(self.lifetime * 0.5)
        assert await store.sweep() == 0
        await store.wait(self.lifetime)
        assert await store.sweep() == 1
        assert await store.keys(NS) == ["for good"]

    @conforms(ttl=_STILL)
    async def test_what_has_expired_is_read_until_it_is_swept(self, store: Face) -> None:
        await store.put(NS, "k", {"n": 1}, ttl=self._minutes)
        await store.wait(self.lifetime * 1.5)
        assert await store.get(NS, "k") is not None

    @conforms(ttl=_OMIT)
    async def test_what_has_expired_can_be_omitted(self, store: Face) -> None:
        await store.put(NS, "k", {"n": 1}, ttl=self._minutes)
        await store.put(("docs", "gone"), "k", {"n": 1}, ttl=self._minutes)
        await store.put(NS, "long", {"n": 1}, ttl=60)
        assert await store.get(NS, "k") is not None
        await store.wait(self.lifetime * 1.5)
        assert await store.get(NS, "k") is None
        assert await store.keys(NS) == ["long"]
        assert await store.namespaces() == [NS]
        # Not by a read that would refresh it either.
        got, found = await store.batch([GetOp(NS, "k", refresh_ttl=True), SearchOp(NS, refresh_ttl=True)])
        assert got is None
        assert [item.key for item in found] == ["long"]

    @conforms(ttl=_OMIT)
    async def test_what_has_expired_is_omitted_before_the_limit(self, store: Face) -> None:
        for n in range(5):
            await store.put(NS, f"long {n}", {"n": n}, ttl=60)
        await store.batch([PutOp(NS, f"short {n}", {"n": n}, ttl=self._minutes) for n in range(20)])
        await store.wait(self.lifetime * 1.5)
        assert len(await store.keys(NS, limit=5)) == 5
        assert len(await store.keys(NS, limit=3, offset=3)) == 2

    @conforms(ttl=_OMIT)
    async def test_an_item_comes_back_with_a_new_beginning(self, store: Face) -> None:
        await store.put(NS, "k", {"n": 1}, ttl=self._minutes)
        await store.wait(self.lifetime * 1.5)
        await store.put(NS, "k", {"n": 2}, ttl=60)
        item = await store.get(NS, "k")
        assert item is not None
        assert item.value == {"n": 2}

    @conforms(ttl=_STILL)
    async def test_a_sweeper_sweeps_until_it_is_stopped(self, store: Face) -> None:
        sweeping = cast("Any", store.store)
        await store.put(NS, "k", {"n": 1}, ttl=self._minutes)
        await store.done(sweeping.start_ttl_sweeper(sweep_interval_minutes=self._minutes / 2))
        for _ in range(40):
            await store.wait(self.lifetime / 4)
            if await store.get(NS, "k") is None:
                break
        assert await store.get(NS, "k") is None
        await store.done(sweeping.stop_ttl_sweeper())
        await store.put(NS, "k", {"n": 1}, ttl=self._minutes)
        await store.wait(self.lifetime * 2.5)
        assert await store.get(NS, "k") is not None
