"""LoCoMo files to conversations: both published layouts, with evidence ids made regular.

A sample is a dict with ``conversation`` and ``qa``; or everything is at the top level of one dict. A file
holds one sample or a list of them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, cast

from ..errors import UsageError

#: Categories that count in the totals; 5 asks what the conversation does not answer.
SCORED: Final = (1, 2, 3, 4)

_SESSION: Final = re.compile(r"session_(\d+)")
_TURN_ID: Final = re.compile(r"D?\s*:?\s*0*(\d+)\s*:\s*0*(\d+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One turn of a dialogue. ``text`` holds the caption of a shared photo too."""

    turn_id: str
    speaker: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """What two people said on one occasion, at least one turn."""

    name: str
    observed_at: datetime
    turns: tuple[Turn, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A question and the ids of the turns that hold its answer (possibly none)."""

    text: str
    category: int
    evidence: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """One sample.

    Attributes:
        unknown_evidence: Evidence ids that name no turn of the conversation; they were dropped.
    """

    name: str
    sessions: tuple[Session, ...]
    questions: tuple[Question, ...]
    unknown_evidence: int = 0

    @property
    def session_of(self) -> dict[str, str]:
        """The name of each turn's session, by turn id."""
        return {turn.turn_id: session.name for session in self.sessions for turn in session.turns}


def load_locomo(path: Path) -> list[Conversation]:
    """The conversations of a file, or of all ``.json`` files in a folder in name order.

    Raises:
        UsageError: There is no such file, it is not LoCoMo, or two samples have one name.
    """
    if path.is_dir():
        files = sorted(path.glob("*.json"))
        if not files:
            raise UsageError(f"no .json file in {str(path)!r}")
    elif path.is_file():
        files = [path]
    else:
        raise UsageError(f"there is no file or folder {str(path)!r}")
    conversations = [conversation for file in files for conversation in _read(file)]
    names = [conversation.name for conversation in conversations]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UsageError(f"{str(path)!r} holds more than one sample of the name {twice[0]!r}")
    return conversations


def _read(file: Path) -> Iterator[Conversation]:
    try:
        data: object = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{str(file)!r} cannot be read as JSON: {error}") from error
    samples = cast("list[object]", data) if isinstance(data, list) else [data]
    for number, sample in enumerate(samples):
        where = f"{str(file)!r}, sample {number}" if isinstance(data, list) else repr(str(file))
        if not isinstance(sample, Mapping):
            raise UsageError(f"{where} is not a LoCoMo sample: a dict with sessions and 'qa'")
        default = f"{file.stem}-{number}" if isinstance(data, list) else file.stem
        yield _conversation(cast("Mapping[str, Any]", sample), default, where)


def _conversation(sample: Mapping[str, Any], default: str, where: str) -> Conversation:
    dialogue = sample.get("conversation", sample)
    questions = sample.get("qa")
    if not isinstance(dialogue, Mapping) or not isinstance(questions, list):
        raise UsageError(f"{where} is not a LoCoMo sample: it needs sessions and a list 'qa'")
    try:
        sessions = tuple(_sessions(cast("Mapping[str, Any]", dialogue), where))
        known = {turn.turn_id for session in sessions for turn in session.turns}
        asked = [_question(row, known) for row in cast("list[Mapping[str, Any]]", questions)]
    except UsageError:
        raise
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise UsageError(f"{where} is not a LoCoMo sample: {type(error).__name__}: {error}") from error
    if not sessions:
        raise UsageError(f"{where} has no session with turns")
    return Conversation(
        name=str(sample.get("sample_id") or default),
        sessions=sessions,
        questions=tuple(question for question, _ in asked),
        unknown_evidence=sum(unknown for _, unknown in asked),
    )


def _sessions(dialogue: Mapping[str, Any], where: str) -> Iterator[Session]:
    numbers = sorted(int(match[1]) for key in dialogue if (match := _SESSION.fullmatch(key)))
    for number in numbers:
        name = f"session_{number}"
        turns = tuple(_turns(dialogue[name] or ()))
        if turns:
            said = dialogue.get(f"{name}_date_time")
            yield Session(name=name, observed_at=_moment(said, f"{where}, {name}"), turns=turns)


def _turns(rows: Sequence[Mapping[str, Any]]) -> Iterator[Turn]:
    """The turns that say or show something."""
    for row in rows:
        parts = [str(row.get("text") or "").strip()]
        if row.get("blip_caption"):
            parts.append(f"[shares a photo: {str(row['blip_caption']).strip()}]")
        text = " ".join(part for part in parts if part)
        if text:
            ids = turn_ids(row["dia_id"])
            if len(ids) != 1:
                raise ValueError(f"a turn has the dia_id {row['dia_id']!r}")
            yield Turn(turn_id=ids[0], speaker=str(row["speaker"]), text=text)


def _moment(said: object, where: str) -> datetime:
    from dateutil import parser

    try:
        moment = parser.parse(str(said))
    except (ValueError, OverflowError) as error:
        raise UsageError(f"{where} has no date that can be read: {said!r}") from error
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


def _question(row: Mapping[str, Any], known: set[str]) -> tuple[Question, int]:
    """The question, and how many of its evidence ids name no turn."""
    given = row.get("evidence") or ()
    named: dict[str, None] = {}
    unknown = 0
    for entry in [given] if isinstance(given, str) else given:
        ids = turn_ids(entry)
        unknown += not ids
        named.update(dict.fromkeys(ids))
    evidence = tuple(one for one in named if one in known)
    unknown += len(named) - len(evidence)
    question = Question(text=str(row["question"]), category=int(row.get("category") or 0), evidence=evidence)
    return question, unknown


def turn_ids(entry: object) -> list[str]:
    """The turn ids in an entry in the form ``D8:6``: "D8:6; D9:17" holds two, "D08:06" and "8 : 6" one."""
    return [f"D{int(session)}:{int(turn)}" for session, turn in _TURN_ID.findall(str(entry))]
