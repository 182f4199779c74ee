"""What items are found by: which fields, and which model embeds them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal, cast

from langgraph.store.base import IndexConfig, PutOp, ensure_embeddings, get_text_at_path, tokenize_path

from memkit_core.adapting import Lent, embedding_model
from memkit_core.errors import UsageError

if TYPE_CHECKING:
    from memkit_core.adapting import Embedder

#: LangGraph's paths: names, ``{several,names}`` and places in lists, one behind the other.
_PIECE: Final = r"(?:[^.\[\]{}\ud800-\udfff]+|\{[^{}\ud800-\udfff]+\}|\[(?:\*|-?[0-9]+)\])+"
_PATH: Final = re.compile(rf"{_PIECE}(?:\.{_PIECE})*")
_KNOWN = {"dims", "embed", "fields"}


class ItemIndex:
    """The fields that are searched by default, and the model, if there is one.

    Args:
        config: LangGraph's; without ``embed`` the memory's own model embeds. None: everything, by that model.
            False: no vectors; keywords of everything.

    Raises:
        UsageError: The configuration is wrong.
    """

    def __init__(self, lent: Lent, config: IndexConfig | Literal[False] | None) -> None:
        given: Mapping[str, Any] = cast("Any", config or {})
        unknown = {name for name in given if name not in _KNOWN and not name.startswith("__")}
        if unknown:
            raise UsageError(f"index knows dims, embed and fields, not {', '.join(sorted(unknown))}")
        self.embedder: Embedder | None = None
        if config is not False:
            self.embedder = _own(given) if given.get("embed") is not None else lent.embedder
        dims = given.get("dims")
        held = None if self.embedder is None else self.embedder.identity
        if dims and held is not None and held.dimension != dims:
            raise UsageError(f"index says {dims} dims, the model {held.model!r} has {held.dimension}")
        fields = given.get("fields")
        self._fields = _fields(["$"] if fields is None else fields)

    def paths(self, op: PutOp) -> tuple[str, ...]:
        """The fields that an item is found by: the put's own, else the store's.

        Raises:
            UsageError: They are no list of texts.
        """
        if op.index is False:
            return ()
        return self._fields if op.index is None else _fields(op.index)

    def texts(self, value: Mapping[str, Any], paths: Sequence[str]) -> tuple[str, ...]:
        """The texts under some fields of a value, each once; empty ones say nothing."""
        found: dict[str, None] = {}
        for path in paths:
            tokens = path if path == "$" else tokenize_path(path)
            for text in get_text_at_path(dict(value), tokens):
                if text.strip():
                    found.setdefault(text)
        return tuple(found)


def _fields(fields: object) -> tuple[str, ...]:
    names: Any = [fields] if isinstance(fields, str) else fields
    if not isinstance(names, list | tuple):
        names = [None]
    found: list[Any] = list(cast("Any", names))
    if not all(isinstance(name, str) and _PATH.fullmatch(name) for name in found):
        raise UsageError(f"an index's fields are a list of paths such as 'text' or 'a.b[*]', not {fields!r}")
    return tuple(found)


def _own(config: Mapping[str, Any]) -> Embedder:
    embed = config["embed"]
    # A function has no model's name, but one of its own.
    name = getattr(embed, "__qualname__", None)
    embeds = all(callable(getattr(embed, method, None)) for method in ("embed_documents", "embed_query"))
    return embedding_model(
        embed if embeds else ensure_embeddings(embed),
        name=name if isinstance(name, str) else None,
        dimension=config.get("dims"),
    )
