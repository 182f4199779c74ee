"""What a hook vetoes has never been told: at any instant memory says what it would say without it."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memkit_core import Memory
from memkit_core.testing import HashEmbeddings, ScriptedChatModel

START = datetime(2010, 1, 1, tzinfo=UTC)
SAID = re.compile(r"^(\d+) .*?: \"(.*)\"$", re.MULTILINE)
TOLD = re.compile(r"(\w+) (lives in|works at) (\w+) on (\S+)\.")


def day(number):
    return (START + timedelta(days=number)).date().isoformat()


def listener(messages):
    prompt = messages[-1].text
    if prompt.startswith("memories:"):
        return {"decisions": []}
    return {
        "facts": [
            {
                "text": f"{who} {what} {where}",
                "cites": [int(number)],
                "when": since,
                "slot": what.replace(" ", "_"),
                "about": who,
            }
            for number, text in SAID.findall(prompt.rpartition("messages:\n")[2])
            for who, what, where, since in TOLD.findall(json.loads(f'"{text}"'))
        ]
    }


def opened(*hooks):
    return Memory(
        llm=ScriptedChatModel(listener), embedder=HashEmbeddings(16), store="sqlite://:memory:", hooks=hooks
    )


def texts(memory, when=None):
    return sorted(item.memory for item in memory.get_all(user_id="u", as_of=when))


def no(*words):
    def veto(proposal):
        unwanted = proposal.operation != "DELETE" and any(word in proposal.text for word in words)
        return None if unwanted else proposal

    return veto


def told(memory, *adds):
    return [memory.add(" ".join(f"Ana {one}." for one in add), user_id="u") for add in adds]


def test_a_veto_elsewhere_leaves_the_past_as_it_became_known():
    with opened(no("Hooli")) as memory:
        told(memory, ["lives in Paris on 2010-01-01"], ["lives in Rome on 2020-01-01"])
        told(memory, ["works at Acme on 2020-01-01"])
        result = told(memory, ["lives in Oslo on 2015-01-01", "works at Hooli on 2021-01-01"])[0]
        assert [(change.event, change.memory) for change in result] == [
            ("ADD", "Ana lives in Oslo"),
            ("AMEND", "Ana lives in Paris"),
        ]
        assert texts(memory, "2017-01-01") == ["Ana lives in Oslo"]
        assert "Ana works at Acme" in texts(memory)


def test_an_update_that_is_edited_back_elsewhere_does_too():
    def acme(proposal):
        return replace(proposal, text=proposal.text.replace("Hooli", "Acme"))

    with opened(acme) as memory:
        told(memory, ["lives in Paris on 2010-01-01"], ["lives in Rome on 2020-01-01"])
        told(memory, ["works at Acme on 2020-01-01"])
        result = told(memory, ["lives in Oslo on 2015-01-01", "works at Hooli on 2021-01-01"])[0]
        assert {change.event for change in result} == {"ADD", "AMEND", "NONE"}
        assert texts(memory, "2017-01-01") == ["Ana lives in Oslo"]


def test_what_was_to_end_with_a_vetoed_value_takes_the_place_of_the_earlier_one():
    seen = []

    def look(proposal):
        seen.append((proposal.operation, proposal.text))
        return no("Rome")(proposal)

    with opened(look) as memory:
        told(memory, ["lives in Paris on 2010-01-01"])
        result = told(memory, ["lives in Oslo on 2015-01-01", "lives in Rome on 2020-01-01"])[0]
        assert [change.event for change in result] == ["ADD", "DELETE"]
        assert ("DELETE", "Ana lives in Paris") in seen
        assert texts(memory, "2012-01-01") == ["Ana lives in Paris"]
        assert texts(memory, "2017-01-01") == texts(memory) == ["Ana lives in Oslo"]


def test_a_value_that_is_edited_back_to_the_earlier_one_still_follows_what_came_in_between():
    def paris(proposal):
        return replace(proposal, text=proposal.text.replace("Rome", "Paris"))

    with opened(paris) as memory:
        told(memory, ["lives in Paris on 2010-01-01"])
        told(memory, ["lives in Oslo on 2015-01-01", "lives in Rome on 2020-01-01"])
        for when, where in (("2012-01-01", "Paris"), ("2017-01-01", "Oslo"), (None, "Paris")):
            assert texts(memory, when) == [f"Ana lives in {where}"]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(
        st.dictionaries(st.integers(0, 9), st.booleans(), min_size=1, max_size=4), min_size=1, max_size=5
    )
)
def test_memory_says_what_it_would_say_without_what_was_vetoed(adds):
    said = [
        [
            (f"lives in {'Veto' if vetoed else 'Town'}{number}x{begin} on {day(10 * begin)}", vetoed)
            for begin, vetoed in add.items()
        ]
        for number, add in enumerate(adds)
    ]
    with opened(no("Veto")) as memory, opened() as other:
        told(memory, *([one for one, _ in add] for add in said))
        told(other, *(left for add in said if (left := [one for one, vetoed in add if not vetoed])))
        for number in range(-1, 10):
            when = day(10 * number + 5)
            assert texts(memory, when) == texts(other, when)
        assert texts(memory) == texts(other)
