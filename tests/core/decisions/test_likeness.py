"""Whether a memory says a fact in other words, if a model takes it for known."""

from __future__ import annotations

from pathlib import Path

import pytest

from memkit_core import Memory
from memkit_core.engine import resolve_embedder
from memkit_core.pipeline.known import says
from memkit_core.testing import ScriptedChatModel
from memkit_core.types import Fact, MemoryRecord

SAME = [
    ("Kai lives in Bern.", "Kai's home is Bern."),
    ("Kai resides in Bern.", "Kai lives in Bern."),
    ("Kai lives in Bern.", "Bern is where Kai lives."),
    ("Kai's employer is Acme.", "Kai works for Acme."),
    ("Kai's dog is called Rex.", "Kai has a dog named Rex."),
    ("Kai's birthday is 3 May 1990.", "Kai was born on 1990-05-03."),
    ("Eva is Kai's wife.", "Kai's wife is Eva."),
    ("Kai plays chess with Eva.", "Eva plays chess with Kai."),
    ("Kai is married to Eva.", "Eva is married to Kai."),
    ("In Bern lives Kai.", "Kai lives in Bern."),
    ("Eva was hired by Kai.", "Kai hired Eva."),
    ("Kai wants to visit Oslo.", "Kai plans to visit Oslo."),
    ("Kai hates flying.", "Kai dislikes flying."),
    ("Kai has to be at the gym on Monday.", "Kai has gym on Monday."),
    ("Kai ist Lehrer.", "Kai arbeitet als Lehrer."),
    ("Kai mag Tee.", "Kai trinkt gern Tee."),
    ("Kai ist mit Eva verheiratet.", "Eva ist mit Kai verheiratet."),
    ("Kai vive en Berna.", "Kai reside en Berna."),
    ("Kai es profesor.", "Kai trabaja de profesor."),
    ("凯喜欢喝茶", "凯爱喝茶"),
    ("凯住在上海", "凯现在住在上海"),
]
#: What only embeddings tell: no half of the words is the same.
CLOSE = [
    ("Kai's wife is Eva.", "Kai is married to Eva."),
    ("Kai is married.", "Kai has a spouse."),
    ("Kai dislikes loud music.", "Kai hates noisy music."),
    ("Kai purchased a bike.", "Kai bought a bicycle."),
]
APART = [
    ("Kai likes Eva.", "Eva likes Kai."),
    ("Kai is taller than Eva.", "Eva is taller than Kai."),
    ("Kai is Eva's boss.", "Eva is Kai's boss."),
    ("Kai owes Eva 20 euros.", "Eva owes Kai 20 euros."),
    ("Kai mag Eva.", "Eva mag Kai."),
    ("李雷喜欢韩梅梅", "韩梅梅喜欢李雷"),
    ("Kai plans to visit Oslo.", "Kai visited Oslo."),
    ("Kai wants a Volvo.", "Kai owns a Volvo."),
    ("Kai will nach Rom ziehen.", "Kai zog nach Rom."),
    ("Kai quiere comprar un coche.", "Kai compró un coche."),
    ("凯打算去罗马", "凯去了罗马"),
    ("Kai is a smoker.", "Kai was a smoker."),
    ("Kai started smoking.", "Kai stopped smoking."),
    ("Kai likes summer.", "Kai hates summer."),
    ("凯喜欢猫", "凯讨厌猫"),
    ("凯有猫", "凯有狗"),
    ("Kai's flight is on Monday.", "Kai's flight is on Tuesday."),
    ("Kai's wife is Eva.", "Kai's sister is Eva."),
    ("Kai's mother is German.", "Kai is German."),
    ("Kai's parents live in Bern.", "Kai lives in Bern."),
    ("Kai's brother has a boat.", "Kai has a boat."),
    ("Kai is vegetarian.", "Kai does not eat meat."),
    ("Kai was in Oslo in 2019.", "Kai was in Oslo in 2020."),
    ("Eva lives in Bern.", "Kai lives in Bern."),
]


def known(path, memory, fact, embedder="none", target=0):
    """The event of a fact that a model takes for said by a memory, and whether that was refused."""
    facts = ({"facts": [{"text": text, "cites": [0]}]} for text in (memory, fact))
    model = ScriptedChatModel([*facts, {"decisions": [{"fact": 0, "op": "NONE", "target": target}]}])
    with Memory(llm=model, embedder=embedder, store=path / "m.db") as opened:
        opened.add("…", user_id="u", observed_at="2026-01-01")
        result = opened.add("…", user_id="u", observed_at="2026-02-01")
    return result.results[0].event, bool(result.rejected)


@pytest.mark.parametrize(("memory", "fact"), SAME)
def test_what_a_memory_says_in_other_words_is_known(tmp_path, memory, fact):
    assert known(tmp_path, memory, fact) == ("NONE", False)


@pytest.mark.parametrize("embedder", ["none", "embedded"])
@pytest.mark.parametrize(("one", "other"), APART)
def test_what_says_something_else_is_added(tmp_path, one, other, embedder):
    for path, memory, fact in ((tmp_path / "a", one, other), (tmp_path / "b", other, one)):
        path.mkdir()
        assert known(path, memory, fact, embedder) == ("ADD", True)


@pytest.mark.parametrize(("memory", "fact"), CLOSE)
def test_embeddings_bear_a_model_out_where_words_do_not(tmp_path, memory, fact):
    for embedder, event in (("none", "ADD"), ("embedded", "NONE")):
        path = tmp_path / embedder
        path.mkdir()
        assert known(path, memory, fact, embedder)[0] == event
    # Of a memory that it did not name only words tell.
    assert known(tmp_path, memory, fact, "embedded", None)[0] == "ADD"


def test_the_line_lies_above_what_differs_in_more_than_words():
    embedder = resolve_embedder("embedded")
    assert embedder.scale.same == 0.93
    for one, other in CLOSE:
        first, second = embedder.embed_documents([one, other])
        assert float(first @ second) > embedder.scale.same, (one, other)
    for one, other in (
        ("Kai is married.", "Kai is divorced."),
        ("Kai is engaged.", "Kai is married."),
        ("Kai has a dog.", "Kai has a cat."),
        ("Kai has a son.", "Kai has a daughter."),
        ("Kai is a teacher.", "Kai is a nurse."),
        ("Kai is single.", "Kai is married."),
    ):
        first, second = embedder.embed_documents([one, other])
        assert float(first @ second) < embedder.scale.same, (one, other)


def test_paraphrases_in_turn_leave_one_memory(tmp_path):
    said = ["Kai lives in Bern.", "Kai's home is Bern.", "Kai resides in Bern.", "Bern is where Kai lives."]
    said += ["Kai has his flat in Bern.", "Kai dwells in the city of Bern."]
    turn = iter(said * 5)

    def model(messages):
        if "facts:\n" in messages[-1].text:
            return {"decisions": [{"fact": 0, "op": "NONE", "target": 0}]}
        return {"facts": [{"text": next(turn), "cites": [0]}]}

    with Memory(llm=ScriptedChatModel(model), embedder="none", store=tmp_path / "m.db") as memory:
        for _ in range(30):
            assert memory.add("…", user_id="u").status == "complete"
        assert memory.count(user_id="u") == 1


def record(text: str) -> MemoryRecord:
    told = dict.fromkeys(MemoryRecord.__dataclass_fields__)
    return MemoryRecord(**told | {"text": text, "valid_from": 1_767_225_600_000_000})


def test_what_is_taken_for_known_is_as_measured():
    """The figures of docs/concepts/how-memkit-decides.md."""
    lines = (Path(__file__).parent / "wordings.txt").read_text(encoding="utf-8").splitlines()[1:]
    pairs = [line.split(" | ") for line in lines]
    embedder = resolve_embedder("embedded")
    vectors = embedder.embed_documents([text for _, *texts in pairs for text in texts])
    figures: dict[str, list[int]] = {}
    for number, (group, one, other) in enumerate(pairs):
        similar = float(vectors[2 * number] @ vectors[2 * number + 1]) >= embedder.scale.same
        for memory, text in ((one, other), (other, one)):
            fact = Fact(text=text, cites=(0,))
            counted = figures.setdefault(group, [0, 0, 0])
            counted[0] += 1
            counted[1] += says(record(memory), fact)
            counted[2] += says(record(memory), fact, similar=similar)
    assert figures == {
        "same": [128, 92, 101],
        "other": [194, 56, 58],
        "later same": [100, 75, 77],
        "later other": [116, 8, 8],
    }
