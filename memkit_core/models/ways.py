"""The ways in which a chat model can be asked for a structured answer, best first.

What a model can do is worked out from its profile and from which methods it overrides; what it then
refuses is remembered for as long as the model object lives.
"""

from __future__ import annotations

import json
import logging
import threading
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Generic, Literal, TypeAlias, TypeVar, cast

from pydantic import BaseModel, ValidationError, create_model, model_validator

Way: TypeAlias = Literal["native", "tools", "text"]
V = TypeVar("V")
Prompt: TypeAlias = list[Any]

_log = logging.getLogger(__name__)

_ORDER: Final[tuple[Way, ...]] = ("native", "tools", "text")
_FEATURE_WORDS: Final = (
    "response_format", "json_schema", "json schema", "structured output", "structured_output", "tool",
    "function",
)  # fmt: skip
_BAD_REQUEST: Final = frozenset({400, 404, 415, 422, 501})


@dataclass(frozen=True, slots=True)
class Attempt:
    """One way to ask: what to invoke, and with which prompt."""

    way: Way
    runnable: Any
    prompt: Prompt


def attempt(model: Any, schema: type[BaseModel], prompt: Prompt, way: Way) -> Attempt | None:
    """How to ask ``model`` in this way, None if it cannot be asked so. Nothing is sent."""
    if way == "text":
        return Attempt(way, model, extended(prompt, _schema_note(schema)))
    bind = _native if way == "native" else _tools
    if way in _refused.get(model) or not _claims(model, way):
        return None
    try:
        return Attempt(way, bind(model, schema), prompt)
    except (NotImplementedError, TypeError, ValueError, AttributeError, ImportError) as error:
        # Refusing to be bound is how a model says that it cannot; the next way is asked instead.
        _log.debug("%s cannot be asked by %s: %s", type(model).__name__, way, type(error).__name__)
        _refuse(model, way)
        return None


def ways() -> tuple[Way, ...]:
    """Every way, best first."""
    return _ORDER


def rejected_way(model: Any, way: Way, error: Exception) -> bool:
    """Whether a failed call says that the model cannot be asked in this way; it is not asked so again."""
    if way == "text" or not _unsupported(error):
        return False
    if "failed_generation" not in str(error):  # this one reply was a misshapen tool call: no general refusal
        _refuse(model, way)
    _log.debug("%s refused %s: %s", type(model).__name__, way, type(error).__name__)
    return True


def takes_system(model: Any) -> bool:
    """Whether the model may be sent a system message; True until it has refused one."""
    return "system" not in _refused.get(model)


def refused_system(model: Any) -> None:
    """Remember that a model has refused a system message."""
    _refuse(model, "system")


def room_of(model: Any, most: int) -> int:
    """How much text to send a model at once, at most ``most``, in estimated tokens."""
    return min(most, _rooms.get(model) or most)


def found_too_long(model: Any, tokens: int) -> None:
    """Remember that a model could not take so much text at once: from now on it is half of that."""
    _rooms.change(model, lambda room: max(1, min(tokens // 2, room or tokens)))


def extended(prompt: Prompt, note: str) -> Prompt:
    """The prompt with a note at the end of its last message, or behind it if that is not the user's.

    Two user messages in a row are an error for some models.
    """
    if prompt and isinstance(prompt[-1], tuple):
        role, text = cast("tuple[str, Any]", prompt[-1])
        if role in ("user", "human") and isinstance(text, list):  # content blocks, such as images
            return [*prompt[:-1], (role, [*text, {"type": "text", "text": note}])]
        if role in ("user", "human"):
            return [*prompt[:-1], (role, f"{text}\n\n{note}")]
    return [*prompt, ("user", note)]


def _native(model: Any, schema: type[BaseModel]) -> Any:
    return model.with_structured_output(_unresisting(schema), include_raw=True)


@lru_cache(maxsize=64)
def _unresisting(schema: type[BaseModel]) -> type[BaseModel]:
    """A class of the same name and JSON schema that accepts any object.

    Some clients validate a reply themselves and raise, and with that the reply, its good items and its cost
    would be lost. What was replied is validated afterwards, with the schema itself.
    """

    def accept(cls: type[BaseModel], value: Any, check: Callable[[Any], BaseModel]) -> BaseModel:
        try:
            return check(value)
        except ValidationError:
            return cls.model_construct()

    validators: dict[str, Any] = {"accept_anything": model_validator(mode="wrap")(accept)}
    return create_model(schema.__name__, __base__=schema, __doc__=schema.__doc__, __validators__=validators)


def _tools(model: Any, schema: type[BaseModel]) -> Any:
    """The model, bound to a tool; bound once and kept, as applications keep theirs."""
    kept = _bound.get(model).get(schema)
    if kept is not None:
        return kept.model_copy(update={"bound": model})
    binding = _with_tool(model, schema)
    shell = _shell(binding, model)
    if shell is not None:
        _bound.change(model, lambda known: {**dict([*known.items()][-_KEPT:]), schema: shell})
    return binding


def _shell(binding: Any, model: Any) -> Any:
    """What LangChain's plain binding adds to a model; without the model, which it would keep alive.

    None for anything else that ``bind_tools`` may return.
    """
    from langchain_core.runnables import RunnableBinding

    if not isinstance(binding, RunnableBinding) or cast("Any", binding).bound is not model:
        return None
    return cast("Any", binding).model_copy(update={"bound": None})


def _with_tool(model: Any, schema: type[BaseModel]) -> Any:
    tool = json.loads(_tool(schema))  # a copy: a model may write into what it is given
    if _profile(model, "tool_choice") is not False:
        try:
            return model.bind_tools([tool], tool_choice="any")
        except (NotImplementedError, TypeError, ValueError):
            pass  # it may know tools without knowing how to be made to call one
    return model.bind_tools([tool])


@lru_cache(maxsize=64)
def _tool(schema: type[BaseModel]) -> str:
    """The schema in the form that every provider's integration takes, as JSON; to make it costs 2 ms."""
    from langchain_core.utils.function_calling import convert_to_openai_tool

    return json.dumps(convert_to_openai_tool(schema))


def _claims(model: object, way: Way) -> bool:
    """Whether the model can be expected to do it, without trying."""
    from langchain_core.language_models import BaseChatModel
    from langchain_core.runnables.base import RunnableBindingBase

    if _profile(model, "structured_output" if way == "native" else "tool_calling") is False:
        return False
    name = "with_structured_output" if way == "native" else "bind_tools"
    method = getattr(type(model), name, None)
    if method is None:
        # A wrapper lends its model's methods. What ``with_retry()`` or ``bind()`` lend has lost the wrapping,
        # and with it the retries: such a model is asked in text, which keeps it.
        return not isinstance(model, RunnableBindingBase) and callable(getattr(model, name, None))
    # LangChain's own with_structured_output is a tool call, which is better made directly.
    return method is not getattr(BaseChatModel, name)


def _profile(model: object, key: str) -> object:
    profile = getattr(model, "profile", None)
    return cast("dict[str, object]", profile).get(key) if isinstance(profile, dict) else None


def _unsupported(error: Exception) -> bool:
    if isinstance(error, NotImplementedError):
        return True
    text = str(error).lower()
    if isinstance(error, TypeError):
        return "unexpected keyword argument" in text
    status = getattr(error, "status_code", None)
    named = type(error).__name__ in ("BadRequestError", "InvalidRequestError", "ModelInvalidRequestError")
    if status not in _BAD_REQUEST and not named:
        return False
    return any(word in text for word in _FEATURE_WORDS)


@lru_cache(maxsize=64)
def _schema_note(schema: type[BaseModel]) -> str:
    shape = json.dumps(_untitled(schema.model_json_schema()), ensure_ascii=False, separators=(",", ":"))
    return f"Answer with one JSON object and nothing else. It must match this JSON schema:\n{shape}"


def _untitled(node: Any) -> Any:
    """A schema without the titles that pydantic makes from names: tokens that say nothing."""
    if isinstance(node, list):
        return [_untitled(item) for item in node]  # pyright: ignore[reportUnknownVariableType]
    if not isinstance(node, dict):
        return node
    fields = cast("dict[str, Any]", node)
    return {
        key: _untitled(item) for key, item in fields.items() if key != "title" or not isinstance(item, str)
    }


class _OfModels(Generic[V]):
    """What was learnt about model objects, by identity: models compare by value and cannot be hashed."""

    def __init__(self, unknown: V) -> None:
        self._unknown = unknown
        self._lock = threading.Lock()
        self._known: dict[int, tuple[weakref.ref[Any], V]] = {}

    def get(self, model: Any) -> V:
        reference, known = self._known.get(id(model), (None, self._unknown))
        return known if reference is not None and reference() is model else self._unknown

    def change(self, model: Any, to: Callable[[V], V]) -> None:
        key = id(model)

        def forget(reference: weakref.ref[Any]) -> None:
            # No lock: it may run inside ``change`` on the same thread, when the collector does.
            entry = self._known.get(key)
            if entry is not None and entry[0] is reference:
                self._known.pop(key, None)

        try:
            reference = weakref.ref(model, forget)
        except TypeError:
            return  # it cannot be watched; it will be tried again
        with self._lock:
            self._known[key] = (reference, to(self.get(model)))


#: So many schemas are kept bound per model; applications use two or three.
_KEPT: Final = 15
_bound: Final = _OfModels[Mapping[type[BaseModel], Any]]({})
_refused: Final = _OfModels(frozenset[str]())
_rooms: Final = _OfModels[int | None](None)


def _refuse(model: Any, what: str) -> None:
    _refused.change(model, lambda known: known | {what})
