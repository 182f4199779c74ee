"""As much of CrewAI as memkit and its examples use, so that types are checked without its installation."""

from typing import Any

from pydantic import BaseModel

from .llms.base_llm import BaseLLM as BaseLLM
from .memory.unified_memory import Memory as Memory

class Agent(BaseModel):
    def __init__(self, **data: Any) -> None: ...

class Task(BaseModel):
    def __init__(self, **data: Any) -> None: ...

class CrewOutput(BaseModel):
    raw: str

class Crew(BaseModel):
    def __init__(self, **data: Any) -> None: ...
    def kickoff(self, inputs: dict[str, Any] | None = None) -> CrewOutput: ...
