"""A chat model that records the replies of a real one, and replays them without it. Needs LangChain."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import threading
from collections.abc import Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any, Final, cast

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import Runnable, RunnableLambda, RunnableMap, RunnablePassthrough
from langchain_core.utils.function_calling import convert_to_json_schema, convert_to_openai_tool
from pydantic import BaseModel, Field, PrivateAttr

FORMAT: Final = "memkit-recorded-chat-1"
#: Arguments of a model that change what it replies. Nothing else of it is kept: the rest may hold secrets.
_SAMPLING: Final = (
    "model", "model_name", "model_id", "temperature", "top_p", "top_k", "min_p", "seed", "max_tokens",
    "max_completion_tokens", "max_output_tokens", "num_predict", "stop", "frequency_penalty",
    "presence_penalty", "repeat_penalty", "reasoning_effort", "logit_bias",
)  # fmt: skip
#: What a request cannot be helped by being sent again: these refusals are recorded like replies.
_LASTING_STATUS: Final = frozenset({400, 404, 413, 415, 422, 501})
_LASTING_NAMES: Final = frozenset({"LengthFinishReasonError", "ContentFilterFinishReasonError"})
#: Parts of a reply's metadata that differ each time and mean nothing later.
_FLEETING: Final = frozenset({"id", "created", "headers", "timings"})
_SHAPE: Final = "recorded_shape"


class RecordingMissingError(AssertionError):
    """A recorded model was asked something that nobody has recorded; nothing was sent anywhere.

    Attributes:
        request_hash: The request's key in the recording, empty if there is no recording at all.
    """

    def __init__(self, message: str, *, request_hash: str = "") -> None:
        self.request_hash = request_hash
        super().__init__(message)


class RecordedCallError(Exception):
    """A refusal of the provider, as it was recorded. The class carries the name of the original.

    Attributes:
        status_code: The HTTP status of the original, None if it had none.
    """

    status_code: int | None = None


class RecordedChatModel(BaseChatModel):
    """A chat model that replays recorded replies, and records those that are missing if it has a model.

    A reply is found by a hash of its request: messages, tools, the shape asked for, and the sampling
    parameters of the model. Ids of messages and tool calls and the order of keys do not matter. Replies come
    back with their tool calls, usage and metadata. Refusals that would come again are recorded too; failures
    of the moment, such as a timeout, are raised and not recorded.

    One request has one reply: a model that is asked the same twice says the same twice. Every new reply is
    written at once, so that a recording that was interrupted goes on where it stopped. Safe to call from
    several threads of one process.

    Args:
        path: The JSON file of the recording.
        model: A LangChain chat model that answers what is not recorded yet. None: only replay.

    Raises:
        RecordingMissingError: There is no such file and no model.
        ValueError: The file is no recording, or ``model`` differs from the recorded one in its sampling
            parameters or in the ways in which it can be asked.
    """

    path: Path
    model: Any = Field(default=None, exclude=True, repr=False)

    _header: Any = PrivateAttr(default_factory=dict[str, Any])
    _replies: Any = PrivateAttr(default_factory=dict[str, Any])
    _used: Any = PrivateAttr(default_factory=dict[str, None])
    _missing: Any = PrivateAttr(default_factory=dict[str, None])
    _lock: Any = PrivateAttr(default_factory=threading.Lock)

    def __init__(self, path: str | os.PathLike[str], model: BaseChatModel | None = None) -> None:
        file = Path(path)
        header, replies = _read(file)
        if model is None and header is None:
            raise RecordingMissingError(f"there is no recording at {file}; {_HOW}")
        current = header if model is None else _header(model)
        if header is not None and current != header:
            raise ValueError(f"{file} was recorded with another model: {header}, not {current}; delete it")
        assert current is not None
        fields: dict[str, Any] = {"path": file, "model": model, "profile": current["profile"]}
        super().__init__(**fields)
        self._header = current
        self._replies = replies

    @property
    def used(self) -> tuple[str, ...]:
        """Hashes of the requests that had a reply so far, each once, in order."""
        with self._lock:
            return tuple(self._used)

    @property
    def missing(self) -> tuple[str, ...]:
        """Hashes of the requests that had none, in order; memkit reports such an ``add`` as pending."""
        with self._lock:
            return tuple(self._missing)

    @property
    def unused(self) -> tuple[str, ...]:
        """Hashes of the recorded replies that nobody has asked for yet."""
        with self._lock:
            return tuple(sorted(self._replies.keys() - self._used.keys()))

    def drop_unused(self) -> None:
        """Take the replies that nobody has asked for yet out of the file."""
        with self._lock:
            self._replies = {key: self._replies[key] for key in self._used}
            self._write()

    @property
    def _llm_type(self) -> str:
        return "recorded"

    @property
    def _identifying_params(self) -> Mapping[str, Any]:
        return dict(self._header["parameters"])

    def bind_tools(
        self, tools: Sequence[Any], *, tool_choice: str | None = None, **kwargs: Any
    ) -> Runnable[Any, AIMessage]:
        """The model made to answer by a tool call.

        Raises:
            NotImplementedError: The recorded model cannot.
        """
        if not self._header["profile"]["tool_calling"]:
            raise NotImplementedError
        formatted = [convert_to_openai_tool(tool) for tool in tools]
        return self.bind(tools=formatted, tool_choice=tool_choice, **kwargs)

    def with_structured_output(
        self, schema: dict[str, Any] | type, *, include_raw: bool = False, **kwargs: Any
    ) -> Runnable[Any, Any]:
        """The model made to answer in the shape of a schema.

        Raises:
            NotImplementedError: The recorded model knows neither this nor tools.
        """
        if not self._header["profile"]["structured_output"]:
            return super().with_structured_output(schema, include_raw=include_raw, **kwargs)
        asked = self.bind(**{_SHAPE: {"schema": schema, "options": kwargs}})

        def parse(message: AIMessage) -> Any:
            return _parsed(message, schema)

        if not include_raw:
            return asked | RunnableLambda(parse)
        parsed = RunnablePassthrough.assign(
            parsed=itemgetter("raw") | RunnableLambda(parse), parsing_error=lambda _: None
        )
        failed = RunnablePassthrough.assign(parsed=lambda _: None)
        return RunnableMap(raw=asked) | parsed.with_fallbacks([failed], exception_key="parsing_error")

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,  # noqa: ARG002 - the base class names it
        **kwargs: Any,
    ) -> ChatResult:
        key = self._key(messages, stop, kwargs)
        entry = self._known(key, messages)
        if entry is None:
            try:
                reply = self._asked(kwargs).invoke(messages, stop=stop)
            except Exception as error:  # whatever a provider raises
                if not _lasting(error):
                    raise
                entry = self._keep(key, _refusal(error))
            else:
                entry = self._keep(key, {"message": _saved(reply)})
        return _result(entry)

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,  # noqa: ARG002 - the base class names it
        **kwargs: Any,
    ) -> ChatResult:
        key = self._key(messages, stop, kwargs)
        entry = self._known(key, messages)
        if entry is None:
            try:
                reply = await self._asked(kwargs).ainvoke(messages, stop=stop)
            except Exception as error:  # whatever a provider raises
                if not _lasting(error):
                    raise
                entry = self._keep(key, _refusal(error))
            else:
                entry = self._keep(key, {"message": _saved(reply)})
        return _result(entry)

    def _key(self, messages: list[BaseMessage], stop: list[str] | None, bound: Mapping[str, Any]) -> str:
        request = {
            "parameters": self._header["parameters"],
            "messages": _normal(messages),
            "stop": stop,
            "options": {
                name: _shape(value) if name == _SHAPE else value
                for name, value in bound.items()
                if value is not None
            },
        }
        text = json.dumps(request, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
        return hashlib.sha256(text.encode("ascii")).hexdigest()

    def _known(self, key: str, messages: list[BaseMessage]) -> dict[str, Any] | None:
        """The recorded reply; None if the model is to be asked."""
        with self._lock:
            entry: dict[str, Any] | None = self._replies.get(key)
            if entry is not None:
                self._used[key] = None
            elif self.model is None:
                self._missing[key] = None
        if entry is None and self.model is None:
            end = messages[-1].text[-300:] if messages else ""
            raise RecordingMissingError(
                f"{self.path} holds no reply to this request ({key[:12]}…, it ends with {end!r}); {_HOW}",
                request_hash=key,
            )
        return entry

    def _asked(self, bound: Mapping[str, Any]) -> Runnable[Any, Any]:
        """The real model, bound as this one is."""
        options = {name: value for name, value in bound.items() if value is not None}
        model: BaseChatModel = self.model
        shape: dict[str, Any] | None = options.pop(_SHAPE, None)
        if shape is not None:
            given = cast("dict[str, Any]", shape["options"])
            return model.with_structured_output(shape["schema"], include_raw=True, **given)
        tools = options.pop("tools", None)
        if tools is not None:
            return model.bind_tools(tools, **options)
        return model.bind(**options) if options else model

    def _keep(self, key: str, entry: dict[str, Any]) -> dict[str, Any]:
        with self._lock:
            kept: dict[str, Any] = self._replies.setdefault(key, entry)
            self._used[key] = None
            self._write()
        return kept

    def _write(self) -> None:
        """Replace the file as a whole. The lock is held."""
        content = {"format": FORMAT, "model": self._header, "replies": self._replies}
        text = json.dumps(content, sort_keys=True, ensure_ascii=False, indent=1) + "\n"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        number, name = tempfile.mkstemp(dir=self.path.parent, prefix=self.path.name)
        try:
            with os.fdopen(number, "w", encoding="utf-8", newline="\n") as file:
                file.write(text)
            Path(name).chmod(0o644)
            Path(name).replace(self.path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise


_HOW: Final = (
    "to record it, run the same once with RecordedChatModel(path, model=...), where the model is the "
    "LangChain chat model whose replies you want to keep"
)


def _read(file: Path) -> tuple[dict[str, Any] | None, dict[str, Any]]:
    """The header and the replies of a recording, None and nothing if there is none."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None, {}
    if not isinstance(content, dict) or content.get("format") != FORMAT:  # pyright: ignore[reportUnknownMemberType]
        raise ValueError(f"{file} is no recording of chat replies")
    fields = cast("dict[str, dict[str, Any]]", content)
    return fields["model"], fields["replies"]


def _header(model: BaseChatModel) -> dict[str, Any]:
    """What decides how a model can be asked and what it replies, as plain JSON."""
    identifying: Any = model._identifying_params  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - LangChain's hook
    known: dict[str, Any] = {**vars(model), **identifying}
    parameters = {name: known[name] for name in _SAMPLING if known.get(name) is not None}
    claimed = cast("dict[str, Any]", getattr(model, "profile", None) or {})
    profile = {
        name: claimed.get(name) is not False and _overrides(model, method)
        for name, method in (("structured_output", "with_structured_output"), ("tool_calling", "bind_tools"))
    }
    if "tool_choice" in claimed:
        profile["tool_choice"] = claimed["tool_choice"]
    return cast("dict[str, Any]", _plain({"parameters": parameters, "profile": profile}))


def _overrides(model: BaseChatModel, method: str) -> bool:
    return getattr(type(model), method) is not getattr(BaseChatModel, method)


def _plain(value: Any) -> Any:
    """A value as JSON gives it back; what JSON does not know is left to pydantic, else to its text."""

    def other(thing: Any) -> Any:
        return thing.model_dump(mode="json") if isinstance(thing, BaseModel) else str(thing)

    return json.loads(json.dumps(value, default=other))


def _normal(messages: Sequence[BaseMessage]) -> list[dict[str, Any]]:
    """What a model is sent of its messages; ids of tool calls become numbers in the order of the calls."""
    rows: list[dict[str, Any]] = []
    numbers: dict[str, str] = {}
    for message in messages:
        row: dict[str, Any] = {"type": message.type, "content": message.content}
        if message.name is not None:
            row["name"] = message.name
        if isinstance(message, AIMessage):
            calls = [*message.tool_calls, *message.invalid_tool_calls]
            for call in calls:
                if call["id"]:
                    numbers.setdefault(call["id"], f"call {len(numbers)}")
            row["calls"] = [{"name": c["name"], "args": c["args"], "id": c["id"]} for c in calls]
        elif isinstance(message, ToolMessage):
            row |= {"call": message.tool_call_id, "status": message.status}
        rows.append(row)
    return cast("list[dict[str, Any]]", _renamed(_plain(rows), numbers))


def _renamed(value: Any, names: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        return names.get(value, value)
    if isinstance(value, list):
        return [_renamed(item, names) for item in value]  # pyright: ignore[reportUnknownVariableType]
    if isinstance(value, dict):
        return {key: _renamed(item, names) for key, item in cast("dict[str, Any]", value).items()}
    return value


def _shape(shape: Mapping[str, Any]) -> Any:
    return _plain({"schema": convert_to_json_schema(shape["schema"]), "options": shape["options"]})


def _saved(reply: Any) -> dict[str, Any]:
    """A reply as JSON, without what differs each time."""
    message: AIMessage = cast("Any", reply)["raw"] if isinstance(reply, Mapping) else reply
    metadata = {key: value for key, value in message.response_metadata.items() if key not in _FLEETING}
    extra = {key: value for key, value in message.additional_kwargs.items() if key != "parsed"}
    fields = {
        "content": message.content,
        "tool_calls": message.tool_calls,
        "invalid_tool_calls": message.invalid_tool_calls,
        "usage_metadata": message.usage_metadata,
        "response_metadata": metadata,
        "additional_kwargs": extra,
    }
    return cast("dict[str, Any]", _plain({key: value for key, value in fields.items() if value}))


def _lasting(error: Exception) -> bool:
    """Whether the same request would fail in the same way."""
    return getattr(error, "status_code", None) in _LASTING_STATUS or type(error).__name__ in _LASTING_NAMES


def _refusal(error: Exception) -> dict[str, Any]:
    status = getattr(error, "status_code", None)
    return {"error": {"type": type(error).__name__, "status": status, "message": str(error)}}


def _result(entry: Mapping[str, Any]) -> ChatResult:
    if "error" in entry:
        known = entry["error"]
        error = type(known["type"], (RecordedCallError,), {"status_code": known["status"]})(known["message"])
        raise error
    message = AIMessage(**{"content": "", **json.loads(json.dumps(entry["message"]))})
    return ChatResult(generations=[ChatGeneration(message=message)])


def _parsed(message: AIMessage, schema: dict[str, Any] | type) -> Any:
    """The structured answer: the arguments of the first tool call, else the JSON of the text."""
    value: Any = message.tool_calls[0]["args"] if message.tool_calls else json.loads(message.text)
    if isinstance(schema, type) and issubclass(schema, BaseModel):
        return schema.model_validate(value)
    return value
