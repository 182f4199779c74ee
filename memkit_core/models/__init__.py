"""The rooms that know LangChain's models: resolving, asking, embedding."""
