"""What every store of LangGraph must do, as test classes. LangGraph itself ships none.

Subclass one in a test module and say how a store is opened::

    class TestMyStore(BaseStoreConformance):
        @contextmanager
        def open_store(self, *, index, ttl):
            with MyStore.from_conn_string(":memory:", index=index, ttl=ttl) as store:
                store.setup()
                yield store

No plugin of pytest is needed. Where the stores that come with LangGraph differ from one another, the tests
hold the reading that loses nothing and surprises nobody.
"""

from __future__ import annotations

from typing import ClassVar

from .langgraph_items import BatchConformance, ItemConformance, NamespaceConformance
from .langgraph_search import FilterConformance, PageConformance
from .langgraph_ttl import ExpiryConformance
from .langgraph_vectors import IndexConformance, QueryConformance


class BaseStoreConformance(
    ItemConformance,
    BatchConformance,
    NamespaceConformance,
    FilterConformance,
    PageConformance,
    QueryConformance,
    IndexConformance,
    ExpiryConformance,
):
    """Every test of a ``BaseStore``, through its blocking methods.

    Give it ``open_store(self, *, index, ttl)``: an empty store, or a context manager that gives one, made
    anew for every test.

    Attributes:
        supports_index: Whether it can embed; False leaves out what needs that.
        supports_ttl: Whether items can expire; False leaves out what needs that.
        extended_filters: Whether filters know ``$in``, ``$contains`` and ``$exists``.
        lifetime: Seconds that an item lives in tests of expiry; a store whose clock is coarse needs more.
    """


class AsyncBaseStoreConformance(BaseStoreConformance):
    """The same tests through the methods that are awaited.

    ``open_store`` may give an async context manager.
    """

    asynchronous: ClassVar[bool] = True
