"""Whose word a fact is, and what it may do."""

from __future__ import annotations

from pathlib import Path

import pytest

from memkit_core.filters import parse_filter
from memkit_core.pipeline.trust import hides_untrusted, least_trusted, screen, trust_of
from memkit_core.pipeline.voices import Voices
from memkit_core.policies import TrustPolicy
from memkit_core.types import Fact, Message, Scope


def said(*turns: tuple[str, str]) -> list[tuple[int, Message]]:
    roles = {"document": "tool", "image": "user"}
    return [
        (n, Message(role=roles.get(origin, origin), content=text, observed_at=0, origin=origin))  # type: ignore[arg-type]
        for n, (origin, text) in enumerate(turns)
    ]


@pytest.mark.parametrize(
    ("origin", "user", "without"),
    [
        ("user", "trusted", "trusted"),
        ("image", "trusted", "trusted"),
        ("assistant", "untrusted", "trusted"),
        ("system", "untrusted", "trusted"),
        ("tool", "untrusted", "untrusted"),
        ("document", "untrusted", "untrusted"),
        ("something new", "untrusted", "untrusted"),
    ],
)
def test_trust_goes_by_origin_and_scope(origin: str, user: str, without: str) -> None:
    assert trust_of(origin, user_id="u") == user
    assert trust_of(origin, user_id=None) == without


def test_the_least_trusted_origin_decides() -> None:
    assert least_trusted(["user", "image", "tool", "assistant"]) == "tool"
    assert least_trusted(["user", "document", "tool"]) == "document"
    assert least_trusted(["tool", "something new"]) == "something new"


@pytest.mark.parametrize(
    ("fact", "cites", "turns", "origin"),
    [
        ("Ana lives in Rome", [0], [("user", "I live in Rome")], "user"),
        ("Ana lives in Rome", [0, 1], [("user", "I live in Rome"), ("tool", "Rome: sunny")], "tool"),
        ("Ana lives in Rome", [], [("user", "I live in Rome"), ("assistant", "Nice!")], "assistant"),
        ("Ana lives in Rome", [], [("user", "Hi"), ("document", "x"), ("tool", "y")], "document"),
        # An answer is its user's, also where the question has the words.
        ("Ana lives in Rome", [1], [("assistant", "Do you live in Rome?"), ("user", "Yes")], "user"),
        ("Ana lives in Rome", [0, 1], [("assistant", "Do you live in Rome?"), ("user", "Yes")], "user"),
        ("Ana lives in Rome", [0, 1], [("assistant", "You live in Rome."), ("user", "Ok")], "assistant"),
        ("Ana lives in Rome", [1], [("tool", "Does Ana live in Rome?"), ("user", "Yes")], "tool"),
        # Citations may be false.
        ("Ana owes Eve 900", [0], [("user", "Look it up"), ("tool", "Ana owes Eve 900")], "tool"),
        ("Ana owes Eve 900", [0], [("user", "Look it up"), ("document", "Ana owes Eve 900")], "document"),
        ("Ana owes Eve 900", [0], [("user", "Hm"), ("assistant", "Ana owes Eve 900")], "assistant"),
        ("Ana owes Eve 900", [0], [("user", "I, Ana, owe Eve 900"), ("tool", "Ana owes Eve 900")], "user"),
        # An assistant that says again, in other words, what its user said is no source.
        (
            "Ana moved to Lyon for a job",
            [0],
            [("user", "I relocated to Lyon, new job"), ("assistant", "So you moved to Lyon for a job, Ana!")],
            "user",
        ),
    ],
)
def test_origin(fact: str, cites: list[int], turns: list[tuple[str, str]], origin: str) -> None:
    assert Voices(said(*turns)).origin(fact, cites) == origin


def test_what_was_said_before_can_be_a_source_too() -> None:
    before = [(-1, message) for _, message in said(("tool", "Ana owes Eve 900"))]
    voices = Voices([*before, *said(("user", "Look it up"))])
    assert voices.origin("Ana owes Eve 900", [0]) == "tool"


def cases(name: str) -> list[tuple[str, bool, list[tuple[str, str]], int]]:
    """A fact, whether it is its user's, what was said, and the message it cites."""
    found: list[tuple[str, bool, list[tuple[str, str]], int]] = []
    for line in (Path(__file__).parent / "citations.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            continue
        kind, sign, turns, fact = line.split(" | ")
        parts = [part.partition(": ") for part in turns.split(" // ")]
        (cited,) = (n for n, part in enumerate(parts) if part[0].startswith(">"))
        if kind == name:
            found.append((fact, sign == "+", [(one.lstrip(">"), text) for one, _, text in parts], cited))
    return found


@pytest.mark.parametrize(("fact", "own", "turns", "cited"), cases("tuned"))
def test_false_citations(fact: str, own: bool, turns: list[tuple[str, str]], cited: int) -> None:
    assert (Voices(said(*turns)).origin(fact, [cited]) == "user") == own


def test_what_the_documentation_says_of_false_citations(source_root: Path) -> None:
    told = (source_root / "docs" / "howto" / "trust.md").read_text(encoding="utf-8")
    for name, label in (("tuned", "tuned"), ("held", "held out")):
        seen = [
            (own, Voices(said(*turns)).origin(fact, [cited]) == "user")
            for fact, own, turns, cited in cases(name)
        ]
        alarms, mine = sum(own and not kept for own, kept in seen), sum(own for own, _ in seen)
        caught, theirs = sum(not own and not kept for own, kept in seen), sum(not own for own, _ in seen)
        assert f"| {label} | {alarms} of {mine} | {caught} of {theirs} |" in told


def test_an_own_word_in_another_message_of_the_user_is_no_borrowed_one() -> None:
    turns = said(
        ("user", "My sister is called Clara"), ("user", "She marries in May"), ("tool", "Clara: 5 hits")
    )
    assert Voices(turns).origin("Ana's sister Clara marries in May", [1]) == "user"


def test_a_filter_on_trust_asks_for_what_is_untrusted() -> None:
    quarantine, flag, reject = (TrustPolicy(untrusted=name) for name in ("quarantine", "flag", "reject"))  # type: ignore[arg-type]
    assert hides_untrusted(quarantine, None)
    assert hides_untrusted(reject, None)
    assert not hides_untrusted(flag, None)
    assert not hides_untrusted(quarantine, None, asked=True)
    assert hides_untrusted(quarantine, parse_filter({"metadata.trust": "untrusted"}))
    assert not hides_untrusted(quarantine, parse_filter({"OR": [{"kind": "plan"}, {"NOT": {"trust": "x"}}]}))
    assert not hides_untrusted(quarantine, parse_filter({"trust": {"exists": True}}))


def test_reject_reports_what_it_leaves_out() -> None:
    facts = (Fact(text="a"), Fact(text="b", origin="tool"), Fact(text="c", origin="assistant"))
    kept, rejected = screen(facts, Scope(user_id="u"), TrustPolicy(untrusted="reject"))
    assert [fact.text for fact in kept] == ["a"]
    assert [one.item for one in rejected] == ["b", "c"]
    kept, rejected = screen(facts, Scope(agent_id="a"), TrustPolicy(untrusted="reject"))
    assert [fact.text for fact in kept] == ["a", "c"]
    assert screen(facts, Scope(user_id="u"), TrustPolicy()) == (facts, ())


@pytest.mark.parametrize(
    ("question", "answer", "fact", "own"),
    [
        # Asked, and not answered.
        ("So you live in Paris?", "No.", "The user lives in Paris", False),
        ("So you live in Paris?", "No, I don't", "User lives in Paris", False),
        ("Should I note that Ana moved to Moscow in 2019?", "No.", "Ana moved to Moscow in 2019", False),
        ("Did you know that Ana moved to Moscow?", "Find me a film", "Ana moved to Moscow", False),
        ("Did you know that Ana moved to Moscow?", "Find the right film", "Ana moved to Moscow", False),
        ("Did you know that Ana moved to Moscow?", "Not sure", "Ana moved to Moscow", False),
        ("Ana moved to Moscow, right?", "That's not right", "Ana moved to Moscow", False),
        ("Ana moved to Moscow, right?", "Yeah, no.", "Ana moved to Moscow", False),
        ("Ana moved to Moscow, right?", "I love tea", "Ana loves tea and moved to Moscow", False),
        ("Ana moved to Moscow, right?", "Right now I need a film", "Ana moved to Moscow", False),
        ("Since Ana moved to Moscow, which food do you like?", "Sushi", "Ana moved to Moscow", False),
        ("Why did you move to Moscow?", "Find me a film", "Ana moved to Moscow", False),
        ("You no longer live in Paris?", "No.", "Ana no longer lives in Paris", False),
        ("So you are not a vegetarian?", "I am a vegetarian", "Ana is not a vegetarian", False),
        ("¿Vives en París?", "No.", "El usuario vive en París", False),
        ("¿Ana vive en Moscú, verdad?", "Si puedes, busca una película", "Ana vive en Moscú", False),
        ("Wohnst du in Paris?", "Nein", "Der Nutzer wohnt in Paris", False),
        ("你住在巴黎吗？", "不是", "用户住在巴黎", False),
        ("你住在巴黎吗？", "对花生过敏的人能吃什么", "用户住在巴黎", False),
        # Not asked at all.
        ("Is there anything else I should know?", "My son hates fish", "Ana's son hates fish", True),
        # Taken for granted, or stated beside what is asked.
        ("As you live in Rome now, shall I book a table?", "Yes please", "Ana lives in Rome", False),
        ("Shall I book a table, since you live in Rome?", "Yes", "Ana lives in Rome", False),
        ("既然你住在罗马，要我订餐厅吗？", "是的", "用户住在罗马", False),
        ("Ana owes Eve 900. Do you live in Rome?", "Yes", "Ana owes Eve 900", False),
        ("That sounds lovely! Do you live in Rome?", "Yes!", "Ana lives in Rome", True),
        ("As an aside, do you live in Rome?", "Yes", "Ana lives in Rome", True),
        ("Which do you like: jazz, opera or polka?", "None of them", "Ana likes jazz", False),
        # A plain yes.
        ("Do you live in Rome?", "Yes", "Ana lives in Rome", True),
        ("Do you live in Rome?", "Oh yes, I do!", "Ana lives in Rome", True),
        ("Do you live in Rome?", "I do.", "Ana lives in Rome", True),
        ("You live in Rome, right?", "That's right, near the river", "Ana lives in Rome", True),
        ("¿Vives en Roma?", "Sí, claro", "Ana vive en Roma", True),
        ("Wohnst du in Rom?", "Genau, seit Mai", "Ana wohnt in Rom", True),
        ("你住在罗马吗？", "是的", "用户住在罗马", True),
        ("Are you vegan?", "Of course I am", "Ana is vegan", True),
        ("Are you vegan?", "Of course not", "Ana is vegan", False),
        ("Do you work at Acme?", "👍", "Ana works at Acme", True),
        ("¿Comes carne?", "si claro", "Ana come carne", True),
        ("你吃肉吗？", "吃", "用户吃肉", True),
        ("你吃肉吗？", "不吃", "用户吃肉", False),
        ("你吃肉还是吃素？", "吃素", "用户吃肉", False),
        ("Shall I save that you are allergic to nuts?", "Go ahead", "Ana is allergic to nuts", True),
        ("Shall I save that you are allergic to nuts?", "Ok", "Ana is allergic to nuts", True),
        ("Do you work at Bosch?", "Hi! Yes, for ten years.", "Ana works at Bosch", True),
        ("Do you work at Bosch?", "uh-huh", "Ana works at Bosch", True),
        ("Do you work at Bosch?", "okra", "Ana works at Bosch", False),
        ("¿Vives en Madrid?", "Efectivamente", "Ana vive en Madrid", True),
        ("¿Guardo que eres alérgica a las nueces?", "Vale", "Ana es alérgica a las nueces", True),
        ("Wohnst du in Köln?", "Jo", "Ana wohnt in Köln", True),
        ("要我记住你对坚果过敏吗？", "好的", "用户对坚果过敏", True),
        # A plain no.
        ("Do you eat meat?", "Not really", "Ana does not eat meat", True),
        ("Trinkst du Kaffee?", "Nie.", "Ana trinkt keinen Kaffee", True),
        ("¿Fumas?", "Para nada", "Ana no fuma", True),
        ("你抽烟吗？", "从来不", "用户不抽烟", True),
        ("Do you live in Paris?", "No.", "Ana does not live in Paris", True),
        ("Do you live in Paris?", "No, in Rome", "Ana lives in Rome", True),
        ("Is your dog called Rex?", "No, Max", "Ana's dog is called Max", True),
        ("Isst du Fleisch?", "Nein", "Ana isst kein Fleisch", True),
        # What was asked for.
        ("Where do you live?", "Paris", "The user lives in Paris", True),
        ("What is the name of your sister's dog?", "Rex", "The dog of Ana's sister is named Rex", True),
        ("What is your daughter's favourite school subject?", "Maths",
         "Her daughter's favourite school subject is maths", True),
        ("How many children do you have?", "two", "Ana has 2 children", True),
        ("And how old is your dog Rex now?", "Five", "The user's dog Rex is five years old", True),
        ("Have you been to Paris?", "I went there two years ago", "Ana went to Paris two years ago", True),
        ("¿Dónde vives?", "En París", "El usuario vive en París", True),
        ("Wie heißt der Hund deiner Schwester?", "Rex", "Der Hund von Anas Schwester heißt Rex", True),
        ("你住在哪里？", "巴黎", "用户住在巴黎", True),
    ],
)  # fmt: skip
def test_a_question_is_its_users_word_if_the_answer_says_so(
    question: str, answer: str, fact: str, own: bool
) -> None:
    turns = said(("assistant", question), ("user", answer))
    for cites in ([1], [0, 1]):
        assert Voices(turns).origin(fact, cites) == ("user" if own else "assistant")


@pytest.mark.parametrize(
    ("question", "answer", "fact", "assented"),
    [
        ("Shall I tell Eva that Lena moved to Oslo?", "Yes", "Lena moved to Oslo", True),
        ("Lena moved to Oslo, so shall I book a flight?", "Yes.", "Lena moved to Oslo", True),
        ("Shall I book a hotel in Oslo, where Lena lives?", "Yes", "Lena lives in Oslo", True),
        ("Would you like a hotel in Oslo, Lena's home?", "Yes", "Lena lives in Oslo", True),
        ("¿Sabías que Lena se mudó a Oslo?", "Sí", "Lena se mudó a Oslo", True),
        ("Lena moved to Oslo, shall I book for you?", "Yes", "Lena moved to Oslo", True),
        ("Lena wohnt in Rom, soll ich dir dort ein Hotel buchen?", "Ja", "Lena wohnt in Rom", True),
        ("Lena搬到了奥斯陆，要我给你订酒店吗？", "好的", "Lena搬到了奥斯陆", True),
        ("Shall I save that you are allergic to nuts?", "Ok", "Ana is allergic to nuts", False),
        ("要我记住你对坚果过敏吗？", "好的", "用户对坚果过敏", False),
        ("Lena hat gekündigt - soll ich ihr schreiben?", "Ja", "Lena hat gekündigt", True),
        ("Lena搬到了奥斯陆，要订酒店吗？", "好", "Lena搬到了奥斯陆", True),
        ("Did Lena move to Oslo?", "Yes, Lena moved to Oslo", "Lena moved to Oslo", False),
        ("Do you live in Rome?", "Yes", "Ana lives in Rome", False),
        ("Is your sister called Lena?", "Yes", "Ana's sister is called Lena", False),
        ("¿Vives en Roma?", "Sí", "Ana vive en Roma", False),
        ("Wohnst du in Rom?", "Ja", "Ana wohnt in Rom", False),
        ("你住在罗马吗？", "是的", "用户住在罗马", False),
        ("Where do you live?", "Rome", "Ana lives in Rome", False),
        ("Do you want me to note that you live in Rome?", "Yes", "Ana lives in Rome", False),
        ("Lena moved to Oslo, so shall I book?", "Yes, a flight to Oslo please.", "Lena moved to Oslo", True),
        ("Lena moved to Oslo, so shall I book?", "Yes. And I'll call Lena.", "Lena moved to Oslo", True),
        (
            "Lena ist nach Oslo gezogen, soll ich buchen?",
            "Ja, nach Oslo.",
            "Lena ist nach Oslo gezogen",
            True,
        ),
        ("Lena se mudó a Oslo, ¿reservo?", "Sí, reserva para Lena.", "Lena se mudó a Oslo", True),
        ("Lena搬到了奥斯陆，要订酒店吗？", "好的，订奥斯陆的酒店", "Lena搬到了奥斯陆", True),
        ("Do you know that Lena moved to Oslo?", "Yes", "Lena moved to Oslo", True),
        ("Are you happy that Lena moved to Oslo?", "Yes", "Lena moved to Oslo", True),
        ("¿Quieres visitar a Lena, que se mudó a Oslo?", "Sí", "Lena se mudó a Oslo", True),
        ("Lena moved to Oslo, so shall I book?", "Yes, she moved last week.", "Lena moved to Oslo", False),
        ("Lena moved to Oslo, so shall I book?", "No, she lives in Bergen.", "Lena lives in Bergen", False),
        ("Lena, did you move to Oslo?", "Yes, last week", "Lena moved to Oslo", False),
        ("Should I save that you moved to Oslo?", "Yes please", "Lena moved to Oslo", False),
        ("Does your daughter live in Oslo?", "Yes", "Lena's daughter lives in Oslo", False),
        (
            "Lena works at SAP now, shall I draft a note?",
            "Yes, that works for me.",
            "Lena works at SAP",
            True,
        ),
        ("Your sister moved to Oslo, so shall I book?", "Yes. Lena can help.", "Lena moved to Oslo", True),
        ("Lena is in Oslo, do you need a hotel there?", "Yes", "Lena is in Oslo", True),
        ("Lena lives in Oslo, do you live near her?", "Yes", "Lena lives in Oslo", True),
        ("Your wife works at SAP now, do you need a note?", "Yes", "User's wife works at SAP", True),
        ("Lena wohnt in Oslo, brauchst du ein Hotel?", "Ja, von wo ich wohne.", "Lena wohnt in Oslo", True),
        ("Lena vive en Oslo ¿te reservo un vuelo?", "Sí", "Lena vive en Oslo", True),
        ("Lena住在奥斯陆，你需要酒店吗？", "是的", "Lena住在奥斯陆", True),
        ("Do you live in Oslo and work at SAP?", "Yes", "Ana works at SAP", False),
        ("Did you and Bo get married?", "Yes", "Ana is married to Bo", False),
        ("You now live in Oslo, right?", "Right", "Ana lives in Oslo", False),
        ("So Ana, you live in Oslo now?", "Yes", "Ana lives in Oslo", False),
        ("Thanks, Ana. Do you now live in Oslo?", "Yes", "Ana lives in Oslo", False),
        ("Wohnst du in Oslo und arbeitest bei SAP?", "Ja", "Ana arbeitet bei SAP", False),
        ("¿Ahora vives en Oslo y trabajas en SAP?", "Sí", "Ana trabaja en SAP", False),
        ("你现在住在奥斯陆，在SAP工作吗？", "是的", "Ana在SAP工作", False),
    ],
)
def test_a_yes_to_what_is_said_of_others_is_told_from_an_answer(
    question: str, answer: str, fact: str, assented: bool
) -> None:
    assert Voices(said(("assistant", question), ("user", answer))).assented(fact, [1]) is assented


def answers(name: str) -> list[tuple[str, str, str, str]]:
    lines = (Path(__file__).parent / name).read_text(encoding="utf-8").splitlines()
    rows = [line.split(" | ") for line in lines if not line.startswith("#")]
    return [(sign, question, answer.replace("\\n", "\n"), fact) for sign, question, answer, fact in rows]


@pytest.mark.parametrize(
    ("sign", "question", "answer", "fact"), [*answers("yes.txt"), *answers("yes_fresh.txt")]
)
def test_a_yes_confirms_what_was_asked(sign: str, question: str, answer: str, fact: str) -> None:
    voices = Voices(said(("assistant", question), ("user", answer)))
    counts = voices.origin(fact, [1]) == "user" and not voices.assented(fact, [1])
    assert counts is ((sign[0] == "+") != sign.endswith("!"))


@pytest.mark.parametrize(
    ("first", "assented"),
    [
        ("I'm Lena, any plans?", True),
        ("What does a flight to Oslo cost?", True),
        ("My friend Lena moved to Oslo.", False),
    ],
)
def test_what_was_said_before_the_yes_counts_if_it_says_the_fact(first: str, assented: bool) -> None:
    question = "Lena moved to Oslo, so shall I book a flight?"
    turns = said(("user", first), ("assistant", question), ("user", "Yes"))
    assert Voices(turns).assented("Lena moved to Oslo", [0, 2]) is assented


def test_only_the_part_of_a_long_message_that_asks_is_answered() -> None:
    parts = said(("assistant", "Ana moved to Moscow."), ("assistant", "Do you like tea?"), ("user", "Yes"))
    numbered = [(0, parts[0][1]), (0, parts[1][1]), (1, parts[2][1])]
    assert Voices(numbered).origin("Ana moved to Moscow", [0, 1]) == "assistant"
    assert Voices(numbered[1:]).origin("Ana likes tea", [0, 1]) == "user"
