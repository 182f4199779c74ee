"""The verbs, once for both faces: arguments checked, then handed to the pipeline.

Every check comes before anything is changed.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import logging
import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Final, cast

from . import analysis
from .engine import Engine
from .errors import ConflictError, NotFoundError, UsageError
from .filters import Filter, bare_keys, check_known_keys, parse_filter
from .hooks import needs_loop
from .moments import known_point, points_of
from .pipeline.account import Account
from .pipeline.add import accept, add
from .pipeline.commit import write
from .pipeline.context import context
from .pipeline.embed import embed
from .pipeline.flush import flush
from .pipeline.index import index_committed
from .pipeline.ingest import parse_messages, parse_metadata
from .pipeline.joint import tokens_of
from .pipeline.outcome import AddRequest, Mode, pending, replayed
from .pipeline.parts import ContentReader
from .pipeline.planned import Options, changed
from .pipeline.procedural import check_memory_type
from .pipeline.runs import RunReader
from .pipeline.search import AskedFor, left_out, search
from .pipeline.trust import hides_untrusted
from .pipeline.vision import check_sight
from .policies import MAX_PROMPT_CHARS
from .protocols import ChangeSet, CommitReceipt, ItemPut, Query, RetireMemory, Runtime, UpdateMemory
from .results import (
    AddResult,
    ContextResult,
    DeleteAllResult,
    FlushResult,
    History,
    HistoryEvent,
    MemoryChange,
    MemoryItem,
    MemoryPage,
    SearchResult,
    StageFailure,
)
from .types import (
    AsOf,
    MemoryRecord,
    Message,
    Micros,
    Scope,
    Space,
    check_id,
    check_text,
    parse_time,
    zone_of,
)

_log = logging.getLogger(__name__)

MAX_LIMIT: Final = 1_000
Time = datetime | str

#: How often an update looks again when what it found was changed before it could write.
_LOOKS: Final = 60
#: For how long at most it pauses after the first of them, in seconds; longer after each one more.
_PAUSE: Final = 0.001


class Verbs:
    """Every verb as a coroutine over one engine and one runtime."""

    def __init__(self, engine: Engine, rt: Runtime) -> None:
        self.engine = engine
        self._rt = rt

    @property
    def runtime(self) -> Runtime:
        """How the verbs wait: blocking, or in a loop."""
        return self._rt

    # ------------------------------------------------------------ writing

    def check_add(
        self, messages: object, *, user_id: str, key: str, metadata: Mapping[str, Any] | None, infer: bool
    ) -> None:
        """See ``Lent.check_add``."""
        services = self.engine.services
        check_id(user_id, "user_id")
        check_id(key, "key")
        parse_metadata(metadata)
        reader = ContentReader(services.policies.vision)
        parsed = parse_messages(messages, actor_id=None, observed_at=services.clock(), reader=reader)
        if infer:
            check_sight(services.chat, parsed)

    async def add(
        self,
        messages: object,
        scope: Scope,
        *,
        actor_id: str | None,
        metadata: Mapping[str, Any] | None,
        infer: bool,
        memory_type: str | None,
        prompt: str | None,
        observed_at: Time | None,
        expires_at: Time | None,
        idempotency_key: str | None,
        wait: bool,
        beside: tuple[Sequence[ItemPut], Micros] = ((), 0),
    ) -> AddResult:
        """See ``Memory.add``; for ``beside`` see ``Lent.add_beside``."""
        engine = self.engine
        engine.check_open()
        services = engine.services
        now = services.clock()
        said = now if observed_at is None else parse_time(observed_at, "observed_at")
        _check_bool(infer, "infer")
        _check_bool(wait, "wait")
        options = Options(
            memory_type=check_memory_type(memory_type, scope),
            metadata=parse_metadata(metadata),
            expires_at=None if expires_at is None else parse_time(expires_at, "expires_at"),
        )
        reader = (ContentReader if options.memory_type is None else RunReader)(services.policies.vision)
        zone = 0 if observed_at is None else zone_of(observed_at)
        parsed = parse_messages(messages, actor_id=actor_id, observed_at=said, reader=reader, zone=zone)
        mode: Mode = "raw" if not infer else "verbatim" if services.chat is None else "llm"
        request = AddRequest(
            scope=scope,
            messages=parsed,
            options=options,
            mode=mode,
            idempotency_key=None if idempotency_key is None else check_id(idempotency_key, "idempotency_key"),
            fingerprint=(
                None
                if idempotency_key is None
                else _fingerprint(scope, parsed, options, infer, observed_at, prompt)
            ),
            prompt=_check_prompt(prompt, mode),
            beside=tuple(beside[0]),
            beside_at=beside[1],
        )
        if options.memory_type is None:
            _check_model(engine, mode, parsed)
        if not wait and needs_loop(services.hooks):
            raise UsageError("an async hook needs its caller's event loop: wait=False cannot run it")
        if wait or mode != "llm":
            result = await add(self._rt, services, request)
            conflict = any(isinstance(f.error, ConflictError) for f in result.failed)
            if result.status == "pending" and conflict and not needs_loop(services.hooks):
                # Others wrote all the time. What is left needs no caller, only a quieter moment.
                engine.background.run(flush(engine.blocking, services))
            return result
        return await self._add_later(request)

    async def _add_later(self, request: AddRequest) -> AddResult:
        """The messages durable, and the rest for the background."""
        engine, services = self.engine, self.engine.services
        batch = await accept(self._rt, services, request)
        if batch.replayed:
            if batch.state == "done" or services.in_flight.holds(batch.batch_id):
                return replayed(batch)
        else:
            services.in_flight.leave(batch.batch_id)  # from here on it goes by its lease
        tokens = tokens_of(message.content for message in request.messages)
        engine.background.enqueue(request.scope.owner, batch.batch_id, tokens)
        waiting = pending(batch.batch_id, len(request.messages))
        return waiting.model_copy(update={"replayed": batch.replayed})

    async def update(
        self,
        memory_id: str,
        text: str | None,
        scope: Scope | None,
        *,
        metadata: Mapping[str, Any] | None,
        expires_at: Time | None,
        actor_id: str | None,
    ) -> MemoryChange:
        """See ``Memory.update``."""
        record = await self._current(memory_id, scope)
        if text is None and metadata is None and expires_at is None:
            raise UsageError("nothing to update: give text, metadata or expires_at")
        if text is not None and not check_text(text, "text").strip():
            raise UsageError("text is empty: use delete() to take a memory back")
        fields = None if metadata is None else parse_metadata(metadata)
        expires = None if expires_at is None else parse_time(expires_at, "expires_at")
        actor = None if actor_id is None else check_id(actor_id, "actor_id")
        for look in range(_LOOKS):
            try:
                return await self._updated(record, text, fields, expires, actor)
            except ConflictError:  # it says something else by now, since another time
                # Many at once must not look again in step: one of them is first each time.
                await self._rt.sleep(random.uniform(0, _PAUSE * min(look + 1, 20)))  # noqa: S311
                record = await self._current(memory_id, scope)
        return await self._updated(record, text, fields, expires, actor)

    async def _updated(
        self,
        record: MemoryRecord,
        text: str | None,
        fields: Mapping[str, Any] | None,
        expires: Micros | None,
        actor: str | None,
    ) -> MemoryChange:
        """What ``update`` makes of the memory as it was read.

        Raises:
            ConflictError: What would stay as it is has changed meanwhile. Nothing was changed.
        """
        unchanged = (text is None or text == record.text) and fields in (None, dict(record.metadata))
        if unchanged and expires in (None, record.expires_at):
            return MemoryChange(
                id=record.memory_id,
                memory=record.text,
                event="NONE",
                revision=record.revision,
                reason="no change",
                trust=record.trust,
            )
        services = self.engine.services
        now, same = services.clock(), text in (None, record.text)
        change = UpdateMemory(
            memory_id=record.memory_id,
            text=text,
            metadata=fields,
            # The same statement with another tag or expiry holds since it did.
            expected_revision=record.revision if same else None,
            valid_from=record.valid_from if same else now,
            expires_at=expires,
            actor_id=actor,
            flags=0 if text is None else analysis.text_flags(text),
            reason="updated by the caller",
            slot=record.slot,
            attributes=record.attributes,
        )
        async with Account(self._rt, services, _scope_of(record).owner, "update") as account:
            embedded = await embed(account, services, [] if text is None else [text])
            vector = None if text is None else embedded.vectors.get(text)
            changes = self._change_set(record, replace(change, vector=vector), now)
            receipt = await write(account, services, changes)
            result = await self._changed(receipt, change.reason, failed=embedded.failed)
            account.bill.finish()
            return result

    async def delete(self, memory_id: str, scope: Scope | None) -> MemoryChange:
        """See ``Memory.delete``."""
        record = await self._current(memory_id, scope)
        now = self.engine.services.clock()
        change = RetireMemory(
            memory_id=record.memory_id, valid_to=now, hide_sources=True, reason="deleted by the caller"
        )
        changes = self._change_set(record, change, now)
        receipt = await self._rt.call(lambda: self.engine.services.store.commit(changes))
        return await self._changed(receipt, change.reason)

    async def _current(self, memory_id: str, scope: Scope | None) -> MemoryRecord:
        record = await self._find(memory_id, scope)
        if record is None:
            where = "" if scope is None else f" in the scope {scope}"
            raise NotFoundError(f"no memory {memory_id!r}{where}")
        return record

    async def _find(self, memory_id: str, scope: Scope | None) -> MemoryRecord | None:
        self.engine.check_open()
        check_id(memory_id, "memory_id")
        store = self.engine.services.store
        return await self._rt.call(lambda: store.get(memory_id, scope))

    def _change_set(
        self, record: MemoryRecord, change: UpdateMemory | RetireMemory, now: Micros
    ) -> ChangeSet:
        services = self.engine.services
        return ChangeSet(
            scope=_scope_of(record),
            recorded_at=now,
            changes=(change,),
            indexes=services.indexes,
            embedding=services.identity,
        )

    async def _changed(
        self, receipt: CommitReceipt, reason: str, *, failed: Sequence[StageFailure] = ()
    ) -> MemoryChange:
        failures = [*failed, *await index_committed(self._rt, self.engine.services)]
        return changed(receipt.applied[0], reason).model_copy(update={"failed": failures})

    async def delete_all(self, scope: Scope, *, filters: object) -> DeleteAllResult:
        """See ``Memory.delete_all``."""
        services = self.engine.services
        if filters is not None and not filters:
            raise UsageError("filters is empty: leave it out to delete everything in the scope")
        where = await self._where(filters)
        query = Query(scope=scope, where=where, now=services.clock())
        deleted = await self._rt.call(
            lambda: services.store.retire_all(
                query,
                recorded_at=query.now,
                reason="deleted by the caller",
                hide_messages=where is None,
                indexes=services.indexes,
            )
        )
        for failure in await index_committed(self._rt, services):
            _log.warning("the derived index is behind, its work stays pending: %s", failure.error_type)
        return DeleteAllResult(deleted=deleted)

    # ------------------------------------------------------------ reading

    async def search(
        self,
        query: str,
        scope: Scope,
        *,
        limit: int,
        threshold: float | None,
        filters: object,
        actor_id: str | None,
        as_of: Time | AsOf | None,
        include: Collection[str],
        explain: bool,
    ) -> SearchResult:
        """See ``Memory.search``."""
        text = _check_query(query)
        _check_bool(explain, "explain")
        valid, known = points_of(as_of)
        asked = AskedFor(
            text=text,
            scope=scope,
            where=await self._where(filters, actor_id=actor_id),
            limit=_check_limit(limit),
            threshold=_check_threshold(threshold),
            valid_at=valid,
            known_at=known,
            actor_id=actor_id,
            spaces=_check_include(include),
            quarantined="quarantined" in include,
            explain=explain,
        )
        return await search(self._rt, self.engine.services, asked)

    async def context(
        self,
        query: str,
        scope: Scope,
        *,
        token_budget: int,
        limit: int,
        threshold: float | None,
        filters: object,
    ) -> ContextResult:
        """See ``Memory.context``."""
        if not isinstance(token_budget, int) or isinstance(token_budget, bool) or token_budget < 50:
            raise UsageError("token_budget is a whole number of at least 50")
        asked = AskedFor(
            text=_check_query(query),
            scope=scope,
            where=await self._where(filters),
            limit=_check_limit(limit),
            spaces=("memory", "turn"),
            threshold=_check_threshold(threshold),
        )
        found = await search(self._rt, self.engine.services, asked)
        return context(found, token_budget=token_budget)

    async def get(self, memory_id: str, scope: Scope | None) -> MemoryItem | None:
        """See ``Memory.get``."""
        record = await self._find(memory_id, scope)
        if record is None or not record.live(self.engine.services.clock()):
            return None
        return MemoryItem.of(record)

    async def get_all(
        self, scope: Scope, *, limit: int, cursor: str | None, filters: object, as_of: Time | AsOf | None
    ) -> MemoryPage:
        """See ``Memory.get_all``."""
        services = self.engine.services
        where = await self._where(filters)
        valid, known = points_of(as_of)
        hidden = hides_untrusted(services.policies.trust, where)
        query = Query(
            scope=scope,
            where=where,
            now=services.clock(),
            valid_at=valid,
            known_at=known,
            trusted_only=hidden,
        )
        mark = _page_mark(scope, where, (valid, known))
        after = None if cursor is None else _read_cursor(cursor, mark)
        size = _check_limit(limit)
        damaged: set[int] = set()
        records = await self._rt.call(
            lambda: services.store.scan(query, limit=size + 1, after=after, damaged=damaged)
        )
        page = records[:size]
        more = _cursor(page[-1], mark) if len(records) > size else None
        return MemoryPage(
            results=[MemoryItem.of(record) for record in page],
            next_cursor=more,
            degraded=left_out(len(damaged)),
        )

    async def count(self, scope: Scope, *, filters: object) -> int:
        """See ``Memory.count``."""
        services = self.engine.services
        where = await self._where(filters)
        hidden = hides_untrusted(services.policies.trust, where)
        query = Query(scope=scope, where=where, now=services.clock(), trusted_only=hidden)
        return await self._rt.call(lambda: services.store.count(query))

    async def history(self, memory_id: str, scope: Scope | None, *, as_of: Time | AsOf | None) -> History:
        """See ``Memory.history``."""
        self.engine.check_open()
        check_id(memory_id, "memory_id")
        known = known_point(as_of)
        store = self.engine.services.store
        events = await self._rt.call(lambda: store.history(memory_id, scope))
        return History(HistoryEvent.of(event) for event in events if event.recorded_at <= known)

    # ------------------------------------------------------------ upkeep

    async def flush(self, timeout: float | None) -> FlushResult:  # noqa: ASYNC109 - bounds threads, not a task
        """See ``Memory.flush``."""
        self.engine.check_open()
        if timeout is not None and (
            not isinstance(timeout, int | float) or isinstance(timeout, bool) or not timeout >= 0
        ):
            raise UsageError("timeout is a number of seconds, 0 or more, or None")
        return await self.engine.flush(self._rt, timeout)

    async def _where(self, filters: object, *, actor_id: str | None = None) -> Filter | None:
        """The filter that is meant, its metadata keys checked against those that the store has seen."""
        self.engine.check_open()
        where = parse_filter(filters)
        if actor_id is not None:
            from .filters import And, Eq

            own = Eq("actor_id", check_id(actor_id, "actor_id"))
            where = own if where is None else And(own, where)
        services = self.engine.services
        if not bare_keys(where) <= services.known.metadata_keys:
            services.known.metadata_keys = await self._rt.call(services.store.metadata_keys)
            if not bare_keys(where) <= services.known.metadata_keys and not await self._rt.call(
                services.store.is_empty
            ):
                check_known_keys(where, services.known.metadata_keys)
        return where


# ---------------------------------------------------------------- arguments


def _scope_of(record: MemoryRecord) -> Scope:
    return Scope(user_id=record.user_id, agent_id=record.agent_id, run_id=record.run_id)


def scope_or_none(user_id: str | None, agent_id: str | None, run_id: str | None) -> Scope | None:
    """The scope, if any id is given."""
    if user_id is None and agent_id is None and run_id is None:
        return None
    return Scope(user_id=user_id, agent_id=agent_id, run_id=run_id)


def _check_model(engine: Engine, mode: Mode, messages: Sequence[Message]) -> None:
    """Refuse images that nobody can look at; say once if there is no model at all."""
    if mode != "raw":
        check_sight(engine.services.chat, messages)
    if mode == "verbatim":
        engine.warn_verbatim()


def _check_bool(value: object, what: str) -> None:
    if not isinstance(value, bool):
        raise UsageError(f"{what} is True or False, not {type(value).__name__}")


def _check_prompt(prompt: object, mode: Mode) -> str | None:
    if prompt is None:
        return None
    if mode != "llm":
        raise UsageError("prompt instructs a chat model: it needs one, and infer=True")
    text = check_text(prompt, "prompt", max_chars=MAX_PROMPT_CHARS)
    if not text.strip():
        raise UsageError("prompt says nothing: leave it out")
    return text


def _check_query(query: object) -> str:
    text = check_text(query, "the query")
    if not text.strip():
        raise UsageError("the query is empty: use get_all() to list memories")
    return text


def _check_limit(limit: object) -> int:
    if not isinstance(limit, int) or isinstance(limit, bool) or not 1 <= limit <= MAX_LIMIT:
        raise UsageError(f"limit is a whole number from 1 to {MAX_LIMIT:,}")
    return limit


def _check_threshold(threshold: object) -> float | None:
    if threshold is None:
        return None
    if isinstance(threshold, bool) or not isinstance(threshold, int | float) or not 0 <= threshold <= 1:
        raise UsageError("threshold is a relevance from 0 to 1")
    return float(threshold)


def _check_include(include: object) -> tuple[Space, ...]:
    names: dict[str, Space] = {"memories": "memory", "excerpts": "turn"}
    if isinstance(include, str) or not isinstance(include, Collection) or not include:
        raise UsageError("include is a tuple of 'memories', 'excerpts' and 'quarantined'")
    given = list(cast("Collection[object]", include))
    unknown = [name for name in given if name not in names and name != "quarantined"]
    if unknown:
        raise UsageError(f"include knows 'memories', 'excerpts' and 'quarantined', not {unknown!r:.80}")
    spaces: tuple[Space, ...] = tuple(names[name] for name in names if name in given)
    if not spaces:
        raise UsageError("include says 'quarantined' beside 'memories' or 'excerpts', or both")
    return spaces


def _fingerprint(
    scope: Scope,
    messages: Collection[Any],
    options: Options,
    infer: bool,
    observed_at: Time | None,
    prompt: str | None,
) -> str:
    """Equal for calls that ask the same; the time of a call that gives none does not count."""
    asked = {
        "scope": [scope.user_id, scope.agent_id, scope.run_id],
        "messages": [[m.role, m.actor_id, m.content] for m in messages],
        "metadata": dict(options.metadata),
        "expires_at": options.expires_at,
        **({} if options.memory_type is None else {"memory_type": options.memory_type}),
        "infer": infer,
        "observed_at": None if observed_at is None else parse_time(observed_at, "observed_at"),
    }
    if prompt is not None:
        asked["prompt"] = prompt
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode("utf-8")).hexdigest()


def _page_mark(scope: Scope, where: Filter | None, at: tuple[Micros | None, Micros | None]) -> str:
    return hashlib.sha256(f"{scope!r} {where!r} {at!r}".encode()).hexdigest()[:16]


def _cursor(last: MemoryRecord, mark: str) -> str:
    text = json.dumps([mark, last.created_at, last.memory_id])
    return base64.urlsafe_b64encode(text.encode("utf-8")).decode("ascii")


def _read_cursor(cursor: object, mark: str) -> tuple[Micros, str]:
    problem = "cursor is not one that get_all() returned as next_cursor"
    if not isinstance(cursor, str):
        raise UsageError(problem)
    try:
        made_for, created_at, memory_id = json.loads(base64.urlsafe_b64decode(cursor.encode("ascii")))
    except (ValueError, TypeError, binascii.Error, RecursionError):
        raise UsageError(problem) from None
    if not isinstance(created_at, int) or not isinstance(memory_id, str):
        raise UsageError(problem)
    if made_for != mark:
        raise UsageError("cursor belongs to another scope, filter or as_of: page with the same arguments")
    return created_at, memory_id
