"""OpenAI's real LangChain class against canned responses: what it sends and how its answers are read."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from memkit_core.errors import ModelCallError, ModelOutputError
from memkit_core.types import Usage

httpx = pytest.importorskip("httpx")
langchain_openai = pytest.importorskip("langchain_openai")

Ask = Callable[..., Any]
GOOD_TEXT = '{"facts": [{"text": "likes tea", "cites": [0]}], "note": null}'


def body(content: str | None, *, stop: str = "stop", **message: Any) -> dict[str, Any]:
    return {
        "id": "x",
        "object": "chat.completion",
        "created": 1,
        "model": "gpt-5-mini",
        "choices": [
            {
                "index": 0,
                "finish_reason": stop,
                "message": {"role": "assistant", "content": content, "refusal": None, **message},
            }
        ],
        "usage": {"prompt_tokens": 11, "completion_tokens": 5, "total_tokens": 16},
    }


class Server:
    """Answers each request with the next (status, body), and keeps what was asked."""

    def __init__(self, *answers: tuple[int, Any]) -> None:
        self.answers = list(answers)
        self.asked: list[dict[str, Any]] = []

    def __call__(self, request: Any) -> Any:
        self.asked.append(json.loads(request.content))
        status, answer = self.answers[len(self.asked) - 1]
        return httpx.Response(status, json=answer)

    def model(self) -> Any:
        transport = httpx.MockTransport(self)
        return langchain_openai.ChatOpenAI(
            model="gpt-5-mini",
            api_key="sk-canary-0123456789",
            max_retries=0,
            http_client=httpx.Client(transport=transport),
            http_async_client=httpx.AsyncClient(transport=transport),
        )


def test_native_structured_output(put: Ask) -> None:
    server = Server((200, body(GOOD_TEXT)))
    answer = put(server.model())
    assert answer.value.facts[0].text == "likes tea"
    assert answer.usage == Usage(chat_calls=1, input_tokens=11, output_tokens=5)
    sent = server.asked[0]
    assert sent["response_format"]["json_schema"]["strict"] is True
    assert sent["response_format"]["json_schema"]["name"] == "Found"
    assert sent["response_format"]["json_schema"]["schema"]["properties"].keys() == {"facts", "note"}
    assert "tools" not in sent
    assert [message["role"] for message in sent["messages"]] == ["system", "user"]


def test_a_cut_reply_keeps_its_cost(put: Ask) -> None:
    server = Server((200, body(GOOD_TEXT[:20], stop="length")))
    with pytest.raises(ModelOutputError) as caught:
        put(server.model())
    assert caught.value.reason == "truncated"
    assert caught.value.usage == Usage(chat_calls=1, input_tokens=11, output_tokens=5)


def test_refusals(put: Ask) -> None:
    for answer in (body(None, refusal="I cannot help."), body("", stop="content_filter")):
        with pytest.raises(ModelOutputError) as caught:
            put(Server((200, answer)).model())
        assert caught.value.reason == "refused"


def test_partly_bad_and_repaired(put: Ask) -> None:
    mixed = '{"facts": [{"text": "likes tea"}, {"text": 7}]}'
    answer = put(Server((200, body("no JSON")), (200, body(mixed))).model())
    assert len(answer.value.facts) == 1
    assert len(answer.rejected) == 1
    assert answer.usage.chat_calls == 2


def test_what_the_client_could_not_read_is_kept(put: Ask) -> None:
    with pytest.raises(ModelOutputError) as caught:
        put(Server((200, body("no JSON")), (200, body("again none"))).model())
    assert (caught.value.reason, caught.value.raw) == ("unparsable", "again none")


@pytest.mark.filterwarnings("ignore::UserWarning")  # the class says so too
def test_a_model_without_structured_output_is_asked_by_tool(put: Ask) -> None:
    refusal = {
        "error": {"message": "Invalid parameter: 'response_format' of type 'json_schema' is not supported"}
    }
    call = {"id": "1", "type": "function", "function": {"name": "Found", "arguments": GOOD_TEXT}}
    server = Server((400, refusal), (200, body(None, stop="tool_calls", tool_calls=[call])))
    answer = put(server.model())
    assert answer.value.facts[0].text == "likes tea"
    assert server.asked[1]["tool_choice"] == "required"


def test_rejected_keys_are_a_failed_call_without_the_key(put: Ask) -> None:
    refusal = {"error": {"message": "Incorrect API key provided: sk-canary-0123456789"}}
    with pytest.raises(ModelCallError, match="status 401") as caught:
        put(Server((401, refusal)).model())
    assert "canary" not in str(caught.value)
    assert caught.value.__cause__ is not None
