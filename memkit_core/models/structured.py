"""Ask a chat model for an answer of a given shape, and believe it only if it has that shape."""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Generic, Protocol, TypeVar, cast

from pydantic import BaseModel, ValidationError

from ..errors import (
    MemkitError,
    MissingDependencyError,
    ModelCallError,
    ModelError,
    ModelOutputError,
    PromptTooLongError,
)
from ..types import Usage
from .calling import Target, may_fall_back, models_of
from .messages import content_text, reply_usage, stop_state
from .rejections import refuses_system, too_long, without_system
from .replies import check_size, clean_value, decode_json
from .ways import Attempt, Prompt, attempt, extended, refused_system, rejected_way, takes_system, ways

S = TypeVar("S", bound=BaseModel)

_log = logging.getLogger(__name__)

#: How much of an unusable reply is shown to the model when it is asked to repair it, in characters.
_SHOWN_CHARS: Final = 8_000
_MAX_PROBLEMS: Final = 8
_REPAIRABLE: Final = frozenset({"empty", "unparsable", "invalid"})


class ChatRuntime(Protocol):
    """The one thing that asking awaits."""

    async def chat(self, runnable: Any, messages: Any, config: Any = None) -> Any:
        """The reply of a LangChain runnable."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer(Generic[S]):
    """A validated answer.

    Attributes:
        rejected: What was dropped from the list of items, and why, without the items' own text.
        left_out: The same of single fields, whose items were kept.
        usage: All calls that the answer took, a repair included.
        raw: The reply that ``value`` was made from.
    """

    value: S
    rejected: tuple[str, ...]
    usage: Usage
    raw: str
    left_out: tuple[str, ...] = ()


async def ask(
    rt: ChatRuntime,
    model: Any,
    schema: type[S],
    messages: Sequence[Any],
    *,
    item_field: str | None,
    spare: Collection[str] = (),
    name: str = "memkit.ask",
) -> Answer[S]:
    """The model's answer as an instance of ``schema``.

    A model with fallbacks is taken apart: where calling the one fails, the next one is asked.
    It is asked for native structured output if it has that, else for a tool call, else for JSON in text. One
    that takes no system message is told the same in the user's. An
    empty, unreadable or invalid reply is answered once with what is wrong with it. If only some items of
    the list ``item_field`` are invalid, the good ones are kept without asking again.

    Args:
        rt: How the model is called.
        model: A LangChain chat model.
        schema: The shape of the answer; it decides how strictly values are read.
        messages: LangChain messages or (role, text) pairs.
        item_field: The schema's list whose items stand on their own; it must be in the reply. None: all or
            nothing.
        spare: Fields of an item that are left out if they alone do not fit; none that it cannot do without.
        name: Names the call in traces; it is also tagged ``nostream``, so that no graph streams its tokens.

    Raises:
        ModelCallError: The call failed; ``__cause__`` is the provider's error. ``PromptTooLongError``:
            because the prompt does not fit into the model's context.
        BudgetExceededError: The model was not asked.
        ModelOutputError: The reply cannot be used, with the reason and the raw reply.
            All carry the ``usage`` of everything that was tried.
    """
    prompt = list(messages)
    spent = Usage()
    models = models_of(model)
    for number, one in enumerate(models):
        question = _Question(rt, one, schema, item_field, spare, name, spent)
        try:
            return await question.answered(prompt)
        except ModelError as error:
            spent = error.usage = question.usage
            last = number == len(models) - 1 or not isinstance(error, ModelCallError)
            if last or not may_fall_back(model, error):
                raise
            _log.info("%s: %s: asking the fallback", name, type(error).__name__)
    raise AssertionError("the last model returns or raises")


@dataclass(slots=True)
class _Question(Generic[S]):
    """What is asked, and what it has cost so far."""

    rt: ChatRuntime
    model: Any
    schema: type[S]
    item_field: str | None
    spare: Collection[str]
    name: str
    usage: Usage = field(default_factory=Usage)

    async def answered(self, prompt: Prompt) -> Answer[S]:
        """The answer, if need be by way of one repair."""
        try:
            return await self.put(prompt)
        except ModelOutputError as error:
            if error.reason not in _REPAIRABLE:
                raise
            _log.debug("%s: asking for a repair: %s", self.name, error.reason)
            return await self.put(_repair(prompt, error))

    async def put(self, prompt: Prompt) -> Answer[S]:
        """Ask in the best way that the model accepts, and read the reply."""
        if not takes_system(self.model):
            prompt = without_system(prompt)
        for way in ways():
            plan = _planned(self.model, self.schema, prompt, way)
            if plan is None:
                continue
            try:
                reply = await self._call(plan)
            except Exception as error:  # whatever a provider raises becomes one typed error
                if refuses_system(error, prompt):
                    _log.debug("%s takes no system message", type(self.model).__name__)
                    refused_system(self.model)
                    return await self.put(without_system(prompt))
                if rejected_way(self.model, way, error):
                    continue
                if isinstance(error, MemkitError):  # it is typed already
                    raise
                raise _call_error(self.model, error) from error
            return self._read(reply)
        raise AssertionError("text is a way that every model accepts")

    async def _call(self, plan: Attempt) -> Any:
        config = {
            "tags": ["nostream", "memkit"],
            "run_name": self.name,
            "metadata": {"lc_source": "memkit"},
        }
        target = Target(self.model, plan.runnable)
        try:
            reply = await self.rt.chat(target, plan.prompt, config)
        except Exception as error:
            self.usage += target.spent if target.accounted else failed_usage(error)
            raise
        self.usage += target.spent if target.accounted else returned_usage(reply)
        return reply

    def _read(self, reply: Any) -> Answer[S]:
        message = _message(reply)
        raw = _raw(message)
        state = stop_state(message)
        if state == "truncated":
            raise ModelOutputError(
                "the reply was cut off by the model's output limit: raise max_tokens or send less at once",
                reason="truncated",
                raw=raw,
            )
        if state == "refused":
            raise ModelOutputError("the model or its filter refused to answer", reason="refused", raw=raw)
        check_size(raw)
        payload = self._payload(message, raw)
        payload, left_out = without_misfits(self.schema, payload, self.item_field, self.spare)
        value, rejected = validated(self.schema, payload, self.item_field, raw=raw)
        return Answer(value=value, rejected=rejected, usage=self.usage, raw=raw, left_out=left_out)

    def _payload(self, message: Any, raw: str) -> object:
        """What the reply holds: a tool call's arguments, else the JSON of its text."""
        calls = cast("list[Mapping[str, Any]]", getattr(message, "tool_calls", None) or [])
        arguments = [call.get("args") for call in calls if call.get("name") == self.schema.__name__]
        broken = getattr(message, "invalid_tool_calls", None)
        try:
            if broken or (calls and len(arguments) != len(calls)):
                raise ValueError(f"a call of the tool {self.schema.__name__} with valid JSON was expected")
            if arguments:
                return _merged([clean_value(a) for a in arguments], self.item_field)
            if not hasattr(message, "content") and isinstance(message, BaseModel):
                return clean_value(message.model_dump(mode="json"))
            if not hasattr(message, "content") and isinstance(message, Mapping):
                return clean_value(dict(cast("Any", message)))
        except ValueError as error:
            raise ModelOutputError(str(error), reason="unparsable", raw=raw) from None
        return decode_json(content_text(message))


def without_misfits(
    schema: type[BaseModel], payload: object, item_field: str | None, spare: Collection[str]
) -> tuple[object, tuple[str, ...]]:
    """A reply without such fields of its items as are wrong and may be left out, and what was wrong.

    Args:
        spare: Their names. An item in which something else is wrong too stays as it is.
    """
    if item_field is None or not spare:
        return payload, ()
    given: object = payload  # before isinstance narrows it to a container of unknown items
    whole: object = {item_field: given} if isinstance(payload, list) else given
    if not isinstance(whole, dict):
        return given, ()
    fields = cast("dict[str, Any]", whole)
    try:
        schema.model_validate_json(json.dumps(fields, default=str))
    except ValidationError as error:
        wrong: dict[int, list[tuple[tuple[str | int, ...], str]]] = {}
        for path, what in _problems(error):
            if len(path) > 1 and path[0] == item_field and isinstance(path[1], int):
                wrong.setdefault(path[1], []).append((path[2:], what))
    else:
        return given, ()
    items: list[Any] = list(fields[item_field]) if wrong else []
    told: list[str] = []
    for number, problems in wrong.items():
        if all(path and path[0] in spare for path, _ in problems):
            names = {path[0] for path, _ in problems}
            items[number] = {name: value for name, value in items[number].items() if name not in names}
            told.append(f"{item_field}[{number}]: {_told(problems)}")
    return ({**fields, item_field: items}, tuple(told)) if told else (given, ())


def validated(
    schema: type[S], payload: object, item_field: str | None, *, raw: str = ""
) -> tuple[S, tuple[str, ...]]:
    """An instance of ``schema``, and what had to be dropped from the list ``item_field`` for it.

    A bare list is taken as that list.

    Raises:
        ModelOutputError: ``invalid``: nothing usable is left, or something else than an item is wrong.
    """
    if item_field is not None and isinstance(payload, list):
        payload = {item_field: cast("object", payload)}
    if item_field is not None and isinstance(payload, dict) and item_field not in payload:
        # A default would turn an answer about something else into "nothing found".
        raise ModelOutputError(f"the field {item_field!r} is missing", reason="invalid", raw=raw)
    try:
        return schema.model_validate_json(json.dumps(payload, default=str)), ()
    except ValidationError as error:
        problems = _problems(error)
        bad: dict[str | int, list[tuple[tuple[str | int, ...], str]]] = {}
        for path, what in problems:
            if len(path) > 1 and path[0] == item_field:
                bad.setdefault(path[1], []).append((path[2:], what))
        whole = any(len(path) < 2 or path[0] != item_field for path, _ in problems)
    fields = cast("dict[str, Any]", payload if isinstance(payload, dict) else {})
    items: list[Any] | None = None if item_field is None else fields.get(item_field)
    if whole or not isinstance(items, list) or len(bad) >= len(items):
        raise ModelOutputError(_told(problems), reason="invalid", raw=raw)
    kept = [item for number, item in enumerate(items) if number not in bad]
    value, more = validated(schema, {**fields, str(item_field): kept}, item_field, raw=raw)
    return value, (*(f"{item_field}[{number}]: {_told(of_it)}" for number, of_it in bad.items()), *more)


def _planned(model: Any, schema: type[BaseModel], prompt: Prompt, way: Any) -> Attempt | None:
    try:
        return attempt(model, schema, prompt, way)
    except ImportError as error:
        raise MissingDependencyError("a chat model", extra="models") from error


def _message(reply: Any) -> Any:
    """The model's own message: with native structured output it comes as one part of a mapping."""
    if isinstance(reply, Mapping) and "raw" in reply and "parsed" in reply:
        return cast("Any", reply)["raw"]
    return cast("Any", reply)


def _raw(message: Any) -> str:
    """The reply as text: what was said, else the arguments of its tool calls, as received."""
    said = content_text(message)
    calls: list[Any] = [
        call.get("args")
        for key in ("tool_calls", "invalid_tool_calls")
        for call in cast("list[Mapping[str, Any]]", getattr(message, key, None) or [])
    ]
    if not calls:
        return said
    texts = [call if isinstance(call, str) else _as_json(call) for call in calls]
    return "\n".join(texts if not said else [said, *texts])


def _as_json(arguments: Any) -> str:
    try:
        return json.dumps(arguments, ensure_ascii=False, default=str)
    except (ValueError, RecursionError):  # endless digits or nesting, which reading the answer refuses too
        return "arguments that cannot be written as JSON"


def _merged(arguments: list[Any], item_field: str | None) -> object:
    """One answer from tool calls made side by side, as some models spread the items of a list."""
    first = arguments[0]
    if all(other == first for other in arguments):
        return first
    lists = [isinstance(a, dict) and isinstance(cast("Any", a).get(item_field), list) for a in arguments]
    if item_field is None or not all(lists):
        raise ValueError("several different answers were given; exactly one was expected")
    return {**first, item_field: [item for a in arguments for item in a[item_field]]}


def _repair(prompt: Prompt, error: ModelOutputError) -> Prompt:
    shown = error.raw.strip()[:_SHOWN_CHARS]
    note = f"Your reply cannot be used: {error}. Give the whole answer again, corrected."
    # An empty message would be an error of its own for some models.
    return [*prompt, ("assistant", shown), ("user", note)] if shown else extended(prompt, note)


def _problems(error: ValidationError) -> list[tuple[tuple[str | int, ...], str]]:
    details = error.errors(include_input=False, include_url=False, include_context=False)
    return [(tuple(detail["loc"]), detail["msg"]) for detail in details]


def _told(problems: list[tuple[tuple[str | int, ...], str]]) -> str:
    told = "; ".join(f"{_path(path)}: {what}" for path, what in problems[:_MAX_PROBLEMS])
    more = len(problems) - _MAX_PROBLEMS
    return told if more <= 0 else f"{told}; and {more} more"


def _path(path: tuple[str | int, ...]) -> str:
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")
    return text[:200] or "as a whole"


def returned_usage(reply: Any) -> Usage:
    """The cost of a call that returned, whatever its reply is worth."""
    return reply_usage(_message(reply))


def failed_usage(error: BaseException) -> Usage:
    """The cost of a failed call, which some providers' errors report."""
    usage = getattr(getattr(error, "completion", None), "usage", None)
    counts = {
        "input_tokens": getattr(usage, "prompt_tokens", 0),
        "output_tokens": getattr(usage, "completion_tokens", 0),
    }
    return reply_usage(_Counted(counts))


@dataclass(frozen=True, slots=True)
class _Counted:
    usage_metadata: Mapping[str, Any]


def _call_error(model: Any, error: Exception) -> ModelError:
    """The typed error for what a provider raised. Its words may hold prompts or keys: they stay the cause."""
    kind = type(error).__name__
    if kind == "LengthFinishReasonError":  # OpenAI's client raises where others return
        return ModelOutputError("the reply was cut off by the model's output limit", reason="truncated")
    if kind == "ContentFilterFinishReasonError":
        return ModelOutputError("the provider's filter refused the answer", reason="refused")
    reply = _unread_reply(error)
    if reply is not None:
        return ModelOutputError(
            "the reply holds no JSON that the client could read", reason="unparsable", raw=reply
        )
    if too_long(error):
        return PromptTooLongError(f"the prompt does not fit into the context of {type(model).__name__}")
    status = getattr(error, "status_code", None)
    code = f" (status {status})" if isinstance(status, int) else ""
    return ModelCallError(f"{type(model).__name__} failed: {kind}{code}")


def _unread_reply(error: Exception) -> str | None:
    """The reply itself, if a client raised because it could not read it."""
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False)[0]
        return first["input"] if first["type"] == "json_invalid" and isinstance(first["input"], str) else None
    if type(error).__name__ == "OutputParserException":  # LangChain's parsers
        return str(getattr(error, "llm_output", None) or "")
    return None
