"""The public names: complete, sorted, documented and lazily there."""

from __future__ import annotations

import inspect
import re

import pytest

import memkit_core


def test_names_are_sorted_and_unique() -> None:
    assert memkit_core.__all__ == sorted(set(memkit_core.__all__))


@pytest.mark.parametrize("name", memkit_core.__all__)
def test_name_resolves_and_says_what_it_is(name: str) -> None:
    value = getattr(memkit_core, name)
    assert name in dir(memkit_core)
    if inspect.isclass(value) or inspect.isfunction(value):
        assert value.__module__.startswith("memkit_core.")
        assert inspect.getdoc(value)


def test_star_import_gives_exactly_the_public_names() -> None:
    namespace: dict[str, object] = {}
    exec("from memkit_core import *", namespace)
    assert sorted(namespace.keys() - {"__builtins__"}) == memkit_core.__all__


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Memmory'"):
        memkit_core.Memmory  # noqa: B018


def test_every_error_is_public() -> None:
    from memkit_core import errors

    defined = {
        name
        for name, value in vars(errors).items()
        if inspect.isclass(value) and issubclass(value, Exception) and value.__module__ == errors.__name__
    }
    assert defined <= set(memkit_core.__all__)


def test_the_error_tree_in_the_docstring_is_the_real_one() -> None:
    from memkit_core import errors

    drawn = re.findall(r"(\w+(?:Error|Warning))(?:\(| |$)", inspect.getdoc(errors) or "", re.MULTILINE)
    builtin = {"ValueError", "ImportError", "LookupError"}
    defined = {name for name, value in vars(errors).items() if inspect.isclass(value)}
    assert set(drawn) - builtin == defined


def test_the_version_is_the_distribution_s() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*", memkit_core.__version__)
