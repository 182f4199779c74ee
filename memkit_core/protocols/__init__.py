"""What a backend must do. Conformance classes for each protocol are in ``memkit_core.testing``.

Every method is synchronous and safe to call from several threads; the runtime decides on which thread it
runs. Reads see every commit that was acknowledged before they began, from any process.
"""

from __future__ import annotations

from .indexes import ClaimableIndex, GraphStore, IndexEntry, InspectableIndex, VectorIndex
from .item_filters import ItemFilter
from .items import (
    FoundItem,
    ItemAnswer,
    ItemGet,
    ItemPut,
    ItemQuestion,
    ItemRanking,
    ItemSearch,
    ItemStore,
    ItemTexts,
    Namespace,
    NamespaceListing,
    StoredItem,
)
from .reading import Candidates, Changed, OwnerState, Query, Scored, SearchRequest, Unembedded
from .records import IndexWork, RecordStore
from .running import Runtime
from .upkeep import Damage, DamageKind, Inspected, MaintainableStore
from .writing import (
    AddMemory,
    AmendMemory,
    Applied,
    Change,
    ChangeSet,
    CiteMemory,
    CommitReceipt,
    Completion,
    NewBatch,
    RestoreMemory,
    RetireMemory,
    StoredBatch,
    UpdateMemory,
)

__all__ = [
    "AddMemory",
    "AmendMemory",
    "Applied",
    "Candidates",
    "Change",
    "ChangeSet",
    "Changed",
    "CiteMemory",
    "ClaimableIndex",
    "CommitReceipt",
    "Completion",
    "Damage",
    "DamageKind",
    "FoundItem",
    "GraphStore",
    "IndexEntry",
    "IndexWork",
    "InspectableIndex",
    "Inspected",
    "ItemAnswer",
    "ItemFilter",
    "ItemGet",
    "ItemPut",
    "ItemQuestion",
    "ItemRanking",
    "ItemSearch",
    "ItemStore",
    "ItemTexts",
    "MaintainableStore",
    "Namespace",
    "NamespaceListing",
    "NewBatch",
    "OwnerState",
    "Query",
    "RecordStore",
    "RestoreMemory",
    "RetireMemory",
    "Runtime",
    "Scored",
    "SearchRequest",
    "StoredBatch",
    "StoredItem",
    "Unembedded",
    "UpdateMemory",
    "VectorIndex",
]
