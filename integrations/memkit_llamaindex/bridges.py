"""LlamaIndex's models where memkit takes LangChain's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.embeddings import Embeddings
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGeneration, ChatResult
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.base.llms.base import BaseLLM
from llama_index.core.base.llms.types import ChatMessage, ChatResponse, ImageBlock, MessageRole, TextBlock

from memkit_core.errors import UsageError

_ROLES = {"human": MessageRole.USER, "ai": MessageRole.ASSISTANT, "system": MessageRole.SYSTEM}
#: Where providers' integrations for LlamaIndex put what they count, and under which names.
_COUNTS = (("prompt_tokens", "completion_tokens"), ("input_tokens", "output_tokens"))
_REASONS = ("finish_reason", "stop_reason", "done_reason")


class LlamaIndexChatModel(BaseChatModel):
    """A LlamaIndex LLM as the chat model that drives memkit: ``Memory(llm=LlamaIndexChatModel(llm))``.

    It is asked in text, with the JSON schema in the prompt. Token counts and the reason why a reply ended are
    passed on where the LLM's integration tells them.

    Args:
        llm: Any LLM of LlamaIndex.
    """

    llm: Any

    def __init__(self, llm: BaseLLM) -> None:
        if not isinstance(cast("object", llm), BaseLLM):
            raise UsageError(f"a {type(llm).__name__} is no LLM of LlamaIndex")
        fields: dict[str, Any] = {"llm": llm}
        super().__init__(**fields)

    @property
    def _llm_type(self) -> str:
        return "llama_index"

    @property
    def model_name(self) -> str:
        """The model's name, as the LLM tells it."""
        return str(self.llm.metadata.model_name)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,  # noqa: ARG002 - LangChain's
        **kwargs: Any,
    ) -> ChatResult:
        return _result(self.llm.chat(_messages(messages), **_options(stop, kwargs)))

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,  # noqa: ARG002 - LangChain's
        **kwargs: Any,
    ) -> ChatResult:
        return _result(await self.llm.achat(_messages(messages), **_options(stop, kwargs)))


class LlamaIndexEmbeddings(Embeddings):
    """A LlamaIndex embedding as memkit's: ``Memory(embedder=LlamaIndexEmbeddings(embedding))``.

    Args:
        embedding: Any embedding model of LlamaIndex. The store records its ``model_name``.
    """

    def __init__(self, embedding: BaseEmbedding) -> None:
        if not isinstance(cast("object", embedding), BaseEmbedding):
            raise UsageError(f"a {type(embedding).__name__} is no embedding model of LlamaIndex")
        self._embedding = embedding
        name = embedding.model_name
        self.model = name if name != "unknown" else embedding.class_name()

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """A vector for each text."""
        return self._embedding.get_text_embedding_batch(texts)

    def embed_query(self, text: str) -> list[float]:
        """The vector of a question."""
        return self._embedding.get_query_embedding(text)

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        """See ``embed_documents``."""
        return await self._embedding.aget_text_embedding_batch(texts)

    async def aembed_query(self, text: str) -> list[float]:
        """See ``embed_query``."""
        return await self._embedding.aget_query_embedding(text)


def _options(stop: list[str] | None, more: Mapping[str, Any]) -> dict[str, Any]:
    return {**more, **({"stop": stop} if stop else {})}


def _messages(messages: Sequence[BaseMessage]) -> list[ChatMessage]:
    return [
        ChatMessage(role=_ROLES.get(message.type, MessageRole.USER), blocks=_blocks(message))
        for message in messages
    ]


def _blocks(message: BaseMessage) -> list[Any]:
    blocks: list[Any] = []
    for part in cast("list[Any]", message.content_blocks):
        if part["type"] == "text":
            blocks.append(TextBlock(text=part["text"]))
        elif part["type"] == "image":
            image = part["base64"].encode() if part.get("base64") else None
            blocks.append(ImageBlock(image=image, url=part.get("url"), image_mimetype=part.get("mime_type")))
        else:
            raise UsageError(f"a block of type {part['type']!r} cannot be handed to an LLM of LlamaIndex")
    return blocks


def _result(response: ChatResponse) -> ChatResult:
    raw = _fields(response.raw)
    more = cast("Any", response).additional_kwargs
    sources = (raw, _fields(raw.get("usage")), _fields(more), response.message.additional_kwargs)
    message = AIMessage(
        response.message.content or "",
        usage_metadata=_usage(sources),
        response_metadata=_reasons([*sources, *_choices(raw)]),
    )
    return ChatResult(generations=[ChatGeneration(message=message)])


def _usage(sources: Sequence[Mapping[str, Any]]) -> UsageMetadata | None:
    for fields in sources:
        for asked, told in _COUNTS:
            before, after = fields.get(asked), fields.get(told)
            if isinstance(before, int) and isinstance(after, int):
                return UsageMetadata(input_tokens=before, output_tokens=after, total_tokens=before + after)
    return None


def _reasons(sources: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {name: str(fields[name]) for fields in sources for name in _REASONS if fields.get(name)}


def _choices(raw: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    found: object = raw.get("choices")
    return [_fields(choice) for choice in cast("list[object]", found)] if isinstance(found, list) else []


def _fields(value: object) -> Mapping[str, Any]:
    """What a provider's object holds, whichever kind of object it is."""
    if isinstance(value, Mapping):
        return cast("Mapping[str, Any]", value)
    return vars(value) if hasattr(value, "__dict__") else {}
