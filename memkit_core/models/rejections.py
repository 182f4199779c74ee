"""What providers say when they turn a prompt away: it is too long, or may hold no system message."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final, cast

from .transient import is_transient, locks_out

_TOO_LONG: Final = re.compile(
    r"context[_ ]length|context[_ ]size|context[_ ]window|maximum context|maximum prompt length"
    r"|too many (?:input )?tokens|token (?:count|limit)\b.{0,60}exceed|exceed.{0,60}\btokens?\b"
    r"|(?:context|prompt|input|request|message)s? (?:is|are)? ?too (?:long|large)"
    r"|inputs.{0,40}max_new_tokens",
    re.DOTALL,
)
_SYSTEM: Final = re.compile(
    r"\bsystem[ _-]?(?:role|message|prompt|instruction)|\bdeveloper[ _-](?:instruction|message|role)"
    r"|\broles?\b.{0,60}\bsystem\b|\bsystem\b.{0,60}\broles?\b",
    re.DOTALL,
)
_UNKNOWN: Final = re.compile(
    r"not (?:yet )?support|n't (?:yet )?support|unsupported|not (?:enabled|allowed|permitted|accepted)"
    r"|invalid|unknown"
)
#: Of chat templates that know of no system message and therefore do not name it.
_USER_FIRST: Final = re.compile(
    r"roles must alternate|only user,? (?:and )?assistant|first message.{0,40}\buser\b"
)


def too_long(error: BaseException) -> bool:
    """Whether a failed call says that the prompt does not fit into the model's context."""
    if type(error).__name__.endswith("ContextOverflowError"):  # LangChain's
        return True
    return not _of_the_moment(error) and _TOO_LONG.search(_words(error)) is not None


def refuses_system(error: BaseException, prompt: Sequence[Any]) -> bool:
    """Whether a failed call says that the model takes no system message, and the prompt has one."""
    if _of_the_moment(error) or not any(role_of(message) == "system" for message in prompt):
        return False
    words = _words(error)
    if _USER_FIRST.search(words):
        return True
    return _SYSTEM.search(words) is not None and _UNKNOWN.search(words) is not None


def without_system(prompt: Sequence[Any]) -> list[Any]:
    """The prompt with what its system messages say at the beginning of the first message of the user."""
    told = [_content(message) for message in prompt if role_of(message) == "system"]
    rest = [message for message in prompt if role_of(message) != "system"]
    if not told:
        return rest
    note = "\n\n".join(str(text) for text in told)
    if not rest or role_of(rest[0]) != "user":
        return [("user", note), *rest]
    said = _content(rest[0])
    if not isinstance(said, str):  # content blocks, such as images
        blocks: list[Any] = [{"type": "text", "text": note}, *said]
        return [("user", blocks), *rest[1:]]
    return [("user", f"{note}\n\n{said}"), *rest[1:]]


def role_of(message: Any) -> str:
    """Who speaks in a LangChain message or a (role, text) pair: system, user, or another name."""
    role = cast("Any", message)[0] if isinstance(message, tuple) else getattr(message, "type", "")
    return {"human": "user", "developer": "system"}.get(role, str(role))


def _content(message: Any) -> Any:
    return cast("Any", message)[1] if isinstance(message, tuple) else message.content


def _of_the_moment(error: BaseException) -> bool:
    return is_transient(error) or locks_out(error)


def _words(error: BaseException) -> str:
    return f"{getattr(error, 'code', '')} {error}"[:4_000].lower()
