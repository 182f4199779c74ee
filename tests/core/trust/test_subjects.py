"""Whose a slot is: one key for one person, own keys for people who share a name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from memkit_core import Memory
from memkit_core.pipeline.subjects import slot_key
from memkit_core.types import Message


def said(text: str, actor: str | None = None) -> Message:
    return Message(role="user", content=text, actor_id=actor, observed_at=0)


@pytest.mark.parametrize(
    "about",
    ["", "Ana", "ANA ", "ana.", "Ana's", "ana\u2019s", "user", "The user's", "Ana (user)", "I", "ich"],
)
def test_a_speaker_has_one_key(about: str) -> None:
    cited = [said("I live in Rome", "Ana")]
    assert slot_key("lives_in", about, "Ana", cited=cited) == "lives_in\x1fana"


@pytest.mark.parametrize("about", ["Ana", "Ana L\u00f3pez", "ana l\u00f3pez's"])
def test_a_first_name_is_enough(about: str) -> None:
    cited = [said("I live in Rome", "Ana L\u00f3pez")]
    assert slot_key("lives_in", about, "Ana L\u00f3pez", cited=cited) == "lives_in\x1fana l\u00f3pez"


@pytest.mark.parametrize(
    "text", ["I'm Ana", "My name is Ana, hello", "Ich hei\u00dfe Ana", "Me llamo Ana", "\u6211\u53ebAna"]
)
def test_who_gives_a_name_has_it(text: str) -> None:
    cited = [said("I live in Rome", "u1")]
    shown = [said(text, "u1"), said("I am Max", "u2")]
    assert slot_key("lives_in", "Ana", "u1", cited=cited, shown=shown) == "lives_in\x1fu1"
    assert slot_key("lives_in", "user", "u1", cited=cited, shown=shown) == "lives_in\x1fu1"
    assert slot_key("lives_in", "Max", "u1", cited=cited, shown=shown) == "lives_in\x1fu1\x1fmax"


def test_people_with_one_name_have_own_keys() -> None:
    keys = {
        slot_key("lives_in", "Ana", actor, cited=[said(text, actor)])
        for actor, text in (
            ("Ana", "I live in Paris"),
            ("Bob", "My sister Ana lives in Rome"),
            ("Eva", "Ana, my aunt, lives in Oslo"),
            ("Ana", "My daughter Ana lives in Bonn"),
            (None, "Ana lives in Lyon, I think, but the other one"),
        )
    }
    assert keys == {
        *("lives_in\x1fana", "lives_in\x1fbob\x1fana", "lives_in\x1feva\x1fana", "lives_in\x1fana\x1fana")
    }


def test_of_several_who_speak_one_is_meant_by_a_name() -> None:
    cited = [said("I moved to Rome", "Ana"), said("Congratulations!", "Bob")]
    assert slot_key("lives_in", "Ana", None, cited=cited) == "lives_in\x1fana"
    assert slot_key("lives_in", "user", None, cited=cited) is None
    assert slot_key("lives_in", "Eva", None, cited=cited) is None


def test_what_is_told_of_a_namesake_ends_nothing(open_memory: Callable[..., Memory]) -> None:
    def home(place: str, about: str = "Ana") -> dict[str, object]:
        return {
            "facts": [{"text": f"{about} lives in {place}", "cites": [0], "slot": "lives_in", "about": about}]
        }

    model = [home("Paris"), home("Rome"), {"decisions": [{"fact": 0, "op": "ADD"}]}, home("Oslo", "ana's")]
    memory = open_memory(model)
    for name, text in (
        ("Ana", "I live in Paris"),
        ("Bob", "My sister Ana lives in Rome"),
        ("Ana", "I live in Oslo"),
    ):
        memory.add([{"role": "user", "name": name, "content": text}], user_id="team")
    assert sorted(item.memory for item in memory.get_all(user_id="team")) == [
        "Ana lives in Rome",
        "ana's lives in Oslo",
    ]


def introduced() -> list[tuple[str, bool]]:
    """What somebody says, and whether they introduce themselves as Ana."""
    lines = (Path(__file__).parent / "introductions.txt").read_text(encoding="utf-8").splitlines()
    cases = [line.split(" | ", 2) for line in lines if not line.startswith("#")]
    return [(text.replace("\\n", "\n"), sign == "+") for sign, _, text in cases]


@pytest.mark.parametrize(("text", "own"), introduced())
def test_only_who_introduces_themselves_has_the_name(text: str, own: bool) -> None:
    key = slot_key("lives_in", "Ana", "u1", cited=[said(text, "u1")])
    assert key == ("lives_in\x1fu1" if own else "lives_in\x1fu1\x1fana")


@pytest.mark.parametrize("about", ["\u738b\u4f1f", "Jos\u00e9", "Ana L\u00f3pez"])
@pytest.mark.parametrize("form", ["我叫{}", "我是{}，今年三十岁", "我叫{}，你好"])
def test_a_name_is_the_same_in_any_script_and_with_all_its_words(about: str, form: str) -> None:
    cited = [said(form.format(about), "u1")]
    assert slot_key("lives_in", about, "u1", cited=cited) == "lives_in\x1fu1"
    assert slot_key("lives_in", about + " Ruiz", "u1", cited=cited) != "lives_in\x1fu1"
