"""How a LangChain vector store is asked for the entries of one owner: by objects, never by strings."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final, cast

from ..errors import ConfigError
from ..types import OwnerKey, Space
from .entries import OWNER, SPACE, STORE, owner_text

if TYPE_CHECKING:
    from langchain_core.documents import Document
    from langchain_core.structured_query import Visitor

#: Options of ``similarity_search_by_vector`` that leave only entries with these fields.
FieldFilter = Callable[[Mapping[str, str]], Mapping[str, Any]]

#: Class of the store -> module and class of the translator. All of them make objects, none makes a string.
_TRANSLATORS: Final = {
    "AstraDBVectorStore": ("langchain_community.query_constructors.astradb", "AstraDBTranslator"),
    "Chroma": ("langchain_community.query_constructors.chroma", "ChromaTranslator"),
    "ElasticsearchStore": (
        "langchain_community.query_constructors.elasticsearch",
        "ElasticsearchTranslator",
    ),
    "MongoDBAtlasVectorSearch": (
        "langchain_community.query_constructors.mongodb_atlas",
        "MongoDBAtlasTranslator",
    ),
    "PGVector": ("langchain_postgres", "PGVectorTranslator"),
    "PineconeVectorStore": ("langchain_community.query_constructors.pinecone", "PineconeTranslator"),
    "QdrantVectorStore": ("langchain_community.query_constructors.qdrant", "QdrantTranslator"),
}
#: Arguments of a translator that are attributes of the store.
_FROM_STORE: Final = {"QdrantVectorStore": {"metadata_key": "metadata_payload_key"}}


def owner_fields(store_id: str, owner: OwnerKey, space: Space) -> dict[str, str]:
    """What the entries of an owner in a space have in common."""
    return {STORE: store_id, OWNER: owner_text(owner), SPACE: space}


def field_filter(store: Any, translator: Visitor | None) -> FieldFilter | None:
    """How to select entries by their fields in this store, None if there is no way that is known."""
    from langchain_core.vectorstores import InMemoryVectorStore

    chosen = translator or find_translator(store)
    if chosen is not None:
        return partial(_translated, chosen)
    search = getattr(cast("object", store).__class__, "similarity_search_by_vector", None)
    return _by_function if search is InMemoryVectorStore.similarity_search_by_vector else None


def _translated(translator: Visitor, wanted: Mapping[str, str]) -> Mapping[str, Any]:
    from langchain_core.structured_query import Comparator, Comparison, Operation, Operator, StructuredQuery

    conditions = [Comparison(comparator=Comparator.EQ, attribute=a, value=v) for a, v in wanted.items()]
    every = Operation(operator=Operator.AND, arguments=list(conditions))
    chosen = conditions[0] if len(conditions) == 1 else every
    _, options = translator.visit_structured_query(StructuredQuery(query="", filter=chosen, limit=None))
    return dict(options)


def _by_function(wanted: Mapping[str, str]) -> Mapping[str, Any]:
    def matches(document: Document) -> bool:
        return all(document.metadata.get(name) == value for name, value in wanted.items())

    return {"filter": matches}


def find_translator(store: Any) -> Any:
    """LangChain's translator for the store's filters; None if there is none or it is not installed."""
    for kind in type(store).__mro__:
        if kind.__name__ in _TRANSLATORS and kind.__module__.startswith("langchain"):
            module, name = _TRANSLATORS[kind.__name__]
            if find_spec(module.partition(".")[0]) is None:
                return None
            arguments = {
                ours: getattr(store, theirs) for ours, theirs in _FROM_STORE.get(kind.__name__, {}).items()
            }
            return _load(module, name)(**arguments)
    return None


def _load(module: str, name: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # langchain-community: it is being retired
        try:
            return getattr(import_module(module), name)
        except (ImportError, AttributeError) as error:
            raise ConfigError(
                f"this release of {module.partition('.')[0]} has no {name}: pass translator=… to "
                "LangChainVectorIndex"
            ) from error
