from typing import Any

from pydantic import BaseModel

class Memory(BaseModel):
    llm: Any
    storage: Any
    embedder: Any
    read_only: bool
    root_scope: str | None
    def __init__(self, **data: Any) -> None: ...
