"""A model that mistakes a number cannot change a memory that has nothing to do with the fact."""

from __future__ import annotations

import pytest

from memkit_core import Memory
from memkit_core.engine import resolve_embedder
from memkit_core.testing import ScriptedChatModel

RELATED = [
    ("I'm vegan now", "Loves steak"),
    ("I moved to Madrid", "Lives in Berlin"),
    ("No longer drinks coffee", "Loves espresso"),
    ("Broke up with Tom", "Tom is her boyfriend"),
    ("Started a new job at Acme", "Works at Initech"),
    ("His dog died", "Has a dog called Rex"),
    ("Switched to tea", "Drinks coffee every morning"),
    ("Sold the car", "Drives a Volvo"),
    ("Passed the exam", "Is studying for the bar exam"),
    ("Quit smoking", "Smokes ten cigarettes a day"),
    ("Got divorced in May", "Is married to Tom"),
    ("Prefers the aisle seat", "Prefers a window seat"),
    ("Turned forty", "Is 39 years old"),
    ("The meeting is on Friday", "Has a meeting on Thursday"),
    ("Ich bin nach Hamburg gezogen", "Wohnt in München"),
    ("Trinkt keinen Kaffee mehr", "Liebt Espresso"),
    ("Der Hund ist gestorben", "Hat einen Hund namens Rex"),
    ("Arbeitet jetzt bei Siemens", "Ist bei Bosch angestellt"),
    ("Ernährt sich vegan", "Isst gern Steak"),
    ("Se mudó a Sevilla", "Vive en Madrid"),
    ("Ya no trabaja de camarero", "Trabaja en un bar"),
    ("Dejó el café", "Le encanta el espresso"),
    ("他搬到了上海", "住在北京"),
    ("不再喝咖啡", "喜欢浓缩咖啡"),
]
UNRELATED = [
    ("I have left Berlin", "Works as a nurse"),
    ("My passport expires in May", "Prefers a window seat"),
    ("Likes jazz", "Allergic to nuts"),
]


@pytest.fixture(scope="module")
def embedder():
    return resolve_embedder("embedded")


def test_what_changes_another_is_far_from_the_line(embedder):
    line = embedder.scale.unrelated
    assert line == 0.2
    for one, other in RELATED:
        first, second = embedder.embed_documents([one, other])
        assert float(first @ second) > line + 0.1, (one, other)
    for one, other in UNRELATED:
        first, second = embedder.embed_documents([one, other])
        assert float(first @ second) < line, (one, other)


@pytest.mark.parametrize("operation", ["UPDATE", "DELETE", "NONE"])
@pytest.mark.parametrize("others", [0, 20])
def test_an_unrelated_target_is_refused_and_the_fact_is_kept(tmp_path, operation, others):
    def model(messages):
        prompt = messages[-1].text
        if "memories:" not in prompt:
            text = "I have left Berlin" if "left Berlin" in prompt else "Works as a nurse"
            return {"facts": [{"text": text, "cites": [0]}]}
        numbers = [line.split()[0] for line in prompt.splitlines() if "nurse" in line]
        if "I have left Berlin" not in prompt or not numbers:
            return {"decisions": [{"fact": 0, "op": "ADD", "reason": "new"}]}
        target = int(numbers[0])
        return {"decisions": [{"fact": 0, "op": operation, "target": target, "reason": "mistaken"}]}

    with Memory(llm=ScriptedChatModel(model), embedder="embedded", store=tmp_path / "m.db") as memory:
        for number in range(others):
            memory.add(f"Visited the city of Berlin in {1990 + number}", user_id="u", infer=False)
        memory.add("I work as a nurse", user_id="u")
        result = memory.add("I have left Berlin", user_id="u")
        kept = {item.memory for item in memory.get_all(user_id="u")}
        assert {"Works as a nurse", "I have left Berlin"} <= kept
        if not others:
            assert [r.reason for r in result.rejected] == ["the memory has nothing to do with the fact"]
