"""LangChain's own suites for retrievers and tools."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.retrievers import BaseRetriever
from langchain_core.tools import BaseTool
from langchain_tests.integration_tests import RetrieversIntegrationTests, ToolsIntegrationTests
from langchain_tests.unit_tests import ToolsUnitTests

from memkit_core import Memory
from memkit_langchain import MemoryRetriever, create_memory_tools


class TestRetriever(RetrieversIntegrationTests):
    @pytest.fixture(autouse=True)
    def _memories(self, memory: Memory) -> None:
        for number in range(5):
            memory.add(f"Ann's plant number {number} is a fern.", user_id="ann", infer=False)
        self.memory = memory

    @property
    def retriever_constructor(self) -> type[BaseRetriever]:
        return MemoryRetriever

    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        return {"memory": self.memory, "user_id": "ann"}

    @property
    def retriever_query_example(self) -> str:
        return "Which plants does Ann have?"


class _Tool:
    name = "save_memory"
    example: dict[str, Any] = {"content": "Ann has a fern."}  # noqa: RUF012

    @pytest.fixture(autouse=True)
    def _tools(self, memory: Memory) -> None:
        tools = create_memory_tools(memory, user_id="ann", update=True, delete=True)
        self.made = {tool.name: tool for tool in tools}

    @property
    def tool_constructor(self) -> BaseTool:
        return self.made[self.name]

    @property
    def tool_constructor_params(self) -> dict[str, Any]:
        return {}

    @property
    def tool_invoke_params_example(self) -> dict[str, Any]:
        return self.example


class _Search(_Tool):
    name = "search_memory"
    example: dict[str, Any] = {"query": "plants", "limit": 3}  # noqa: RUF012


class _Update(_Tool):
    name = "update_memory"
    example: dict[str, Any] = {"memory_id": "unknown", "content": "Ann has a cactus."}  # noqa: RUF012


class _Delete(_Tool):
    name = "delete_memory"
    example: dict[str, Any] = {"memory_id": "unknown"}  # noqa: RUF012


class TestSaveUnit(_Tool, ToolsUnitTests):
    pass


class TestSave(_Tool, ToolsIntegrationTests):
    pass


class TestSearchUnit(_Search, ToolsUnitTests):
    pass


class TestSearch(_Search, ToolsIntegrationTests):
    pass


class TestUpdateUnit(_Update, ToolsUnitTests):
    pass


class TestUpdate(_Update, ToolsIntegrationTests):
    pass


class TestDeleteUnit(_Delete, ToolsUnitTests):
    pass


class TestDelete(_Delete, ToolsIntegrationTests):
    pass
