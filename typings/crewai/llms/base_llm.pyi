from typing import Any

from pydantic import BaseModel

class BaseLLM(BaseModel):
    model: str
    def __init__(self, **data: Any) -> None: ...
    def call(
        self,
        messages: str | list[dict[str, Any]],
        tools: list[dict[str, Any]] | None = None,
        callbacks: list[Any] | None = None,
        available_functions: dict[str, Any] | None = None,
        from_task: Any | None = None,
        from_agent: Any | None = None,
        response_model: type[BaseModel] | None = None,
    ) -> Any: ...
    def supports_function_calling(self) -> bool: ...
