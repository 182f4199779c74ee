"""How the pipeline behaves: every choice that a user may make, in groups, each with a default.

``MemoryConfig`` holds one of each; the pipeline reads them. Nothing here opens or calls anything.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import Any, Final, Literal, Protocol, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic_core import SchemaError, SchemaValidator, core_schema

from .checks import check_text
from .errors import ConfigError, MissingDependencyError

#: The kinds of facts that every memory knows.
KINDS: Final = (
    "preference",
    "personal",
    "plan",
    "activity",
    "health",
    "professional",
    "relationship",
    "other",
)


class Part(BaseModel):
    """A group of settings, checked when it is made."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    def __init__(self, **values: Any) -> None:
        """Check the values.

        Raises:
            ConfigError: A name is unknown or a value does not fit; the values themselves are not shown.
        """
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise ConfigError(explain(error, type(self).model_fields)) from None


_WRONG: Final = "the configuration is wrong: "


def explain(error: ValidationError, known: Iterable[str]) -> str:
    """Pydantic's findings without the values, which may be secrets; of a group's findings the innermost."""
    parts = [_finding(dict(item)) for item in error.errors()]
    keys = "" if all("(keys are" in part for part in parts) else f" (keys are {', '.join(known)})"
    return f"{_WRONG}{'; '.join(parts)}{keys}"


def _finding(item: dict[str, Any]) -> str:
    """What is wrong with one setting: where, and what; what a group of settings says of itself goes on."""
    where = ".".join(str(part) for part in item["loc"])
    inner = item.get("ctx", {}).get("error")
    if not isinstance(inner, ConfigError):
        return f"{where}: {item['msg']}"
    said = str(inner).removeprefix(_WRONG)
    return f"{where}.{said}" if where else said


#: Longest custom prompt, in characters.
MAX_PROMPT_CHARS: Final = 50_000
#: How many kinds of their own users may define: the model reads all of them, every time.
MAX_KINDS: Final = 32
#: Longest JSON schema of a kind's fields, in characters.
_MAX_FIELDS_CHARS: Final = 4_000


def _instructions(text: str) -> str:
    if not text.strip():
        raise ValueError("it says nothing")
    return check_text(text, "it")


@lru_cache(maxsize=256)
def searcher(expression: str) -> Callable[[str], bool]:
    """Whether a regular expression is found in a text, in time that grows with the text and no faster.

    Raises:
        ValueError: The expression is none, is too large, or looks around or back, which takes longer.
    """
    try:
        shape = SchemaValidator(core_schema.str_schema(pattern=expression, regex_engine="rust-regex"))
    except SchemaError as error:
        reason = str(error).strip().rpartition("\n")[2]
        raise ValueError(f"the pattern {expression!r:.80} cannot be used: {reason:.200}") from None
    return lambda text: shape.isinstance_python(text)


def _patterns(schema: object) -> Iterator[str]:
    """The regular expressions of a JSON schema."""
    if isinstance(schema, dict):
        for key, value in cast("dict[str, object]", schema).items():
            if key == "pattern" and isinstance(value, str):
                yield value
            yield from _patterns(value)
    elif isinstance(schema, list):
        for value in cast("list[object]", schema):
            yield from _patterns(value)


def _check_fields(fields: dict[str, Any]) -> None:
    """Whether a JSON schema describes an object, in one piece and in moderate size."""
    try:
        import jsonschema
    except ImportError as error:
        raise MissingDependencyError("a kind with fields", extra="models") from error
    try:
        text = json.dumps(fields, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        raise ValueError("it is not JSON") from None
    if len(text) > _MAX_FIELDS_CHARS:
        raise ValueError(f"it has {len(text):,} characters; the limit is {_MAX_FIELDS_CHARS:,}")
    if fields.get("type") != "object" or not isinstance(fields.get("properties"), dict):
        raise ValueError('it begins {"type": "object", "properties": {…}}')
    if '"$ref"' in text or '"$dynamicRef"' in text:
        raise ValueError("references are not followed: write the schema in one piece")
    if '"patternProperties"' in text:
        raise ValueError("patternProperties are not known here: name the properties")
    for expression in _patterns(fields):
        searcher(expression)
    try:
        jsonschema.Draft202012Validator.check_schema(fields)
    except jsonschema.SchemaError as error:
        raise ValueError(f"it is no JSON schema: {error.message[:200]}") from None


class Kind(Part):
    """A kind of fact of your own.

    Attributes:
        description: What belongs to it; the model reads this.
        fields: JSON schema (``{"type": "object", "properties": …}``, draft 2020-12, without ``$ref`` and
            ``patternProperties``) of what such a fact states beside its text; it ends up in
            ``item.attributes``. A ``pattern`` neither looks around nor back. None: text alone. Needs the
            extra ``models``.
    """

    description: str = Field(min_length=1, max_length=500)
    fields: dict[str, Any] | None = None

    @field_validator("description")
    @classmethod
    def _says_something(cls, description: str) -> str:
        return _instructions(description)

    @field_validator("fields")
    @classmethod
    def _is_schema(cls, fields: dict[str, Any] | None) -> dict[str, Any] | None:
        if fields is not None:
            _check_fields(fields)
        return fields


class ExtractionPolicy(Part):
    """What is drawn from messages.

    Attributes:
        kinds: Kinds of your own beside the eight that are always known, by name.
        assistant: Whether assistant turns are a source of facts. ``auto``: where the scope has no user, or
            no user speaks.
        tools: Whether tool turns are a source of facts; such facts are untrusted.
        chunk_tokens: Estimated tokens of conversation in one model call.
        carry_tokens: Estimated tokens of the turns before a chunk that are shown with it, for context alone.
    """

    kinds: dict[str, Kind] = Field(default_factory=dict[str, Kind])
    assistant: Literal["auto", "always", "never"] = "auto"
    tools: bool = False
    chunk_tokens: int = Field(default=6_000, ge=100)
    carry_tokens: int = Field(default=300, ge=0)

    @field_validator("kinds")
    @classmethod
    def _are_names(cls, kinds: dict[str, Kind]) -> dict[str, Kind]:
        if len(kinds) > MAX_KINDS:
            raise ValueError(f"at most {MAX_KINDS} kinds of your own")
        for name in kinds:
            if name in KINDS:
                raise ValueError(f"{name!r} is a kind that every memory knows")
            if not re.fullmatch(r"\w[\w-]{0,63}", name) or name != name.lower():
                raise ValueError(f"{name[:80]!r} is no name in lower case of letters, digits, - and _")
        return kinds


class GroundingPolicy(Part):
    """What becomes of a fact whose names, numbers, dates or negations its cited messages do not bear out.

    Attributes:
        mode: ``flag``: it is kept, with ``support="doubtful"``. ``strict``: it is rejected and reported.
            ``off``: nothing is checked.
    """

    mode: Literal["flag", "strict", "off"] = "flag"


class DecisionPolicy(Part):
    """How facts are compared with memories.

    Attributes:
        candidates_per_fact: Memories recalled for one fact, by meaning and again by keyword.
        small_scope: A scope with at most so many memories is offered as a whole.
        max_candidates: Memories in one call; more of them take more calls.
        max_destructive: Updates and deletions that one ``add`` may carry out.
        slots: Whether what can have one value at a time ("lives in") is resolved in code.
    """

    candidates_per_fact: int = Field(default=5, ge=1, le=50)
    small_scope: int = Field(default=10, ge=0, le=200)
    max_candidates: int = Field(default=80, ge=1, le=500)
    max_destructive: int = Field(default=5, ge=0)
    slots: bool = True


class TrustPolicy(Part):
    """What becomes of facts that nobody in the conversation vouches for: from tools and documents, and from
    the assistant where there is a user.

    Attributes:
        untrusted: ``quarantine``: stored, and found only if asked for, by ``include`` or a filter on
            ``trust``; never shown beside a user's own facts in a decision. ``flag``: found like any other,
            with ``trust="untrusted"``. ``reject``: not stored, but reported.
    """

    untrusted: Literal["quarantine", "flag", "reject"] = "quarantine"


class BackgroundPolicy(Part):
    """How ``wait=False`` works off what was added.

    Attributes:
        batch_tokens: Estimated tokens of one owner's waiting messages that are extracted together.
        batch_seconds: How long an owner's messages wait for more of them, if the tokens are not reached.
        concurrency: Owners that are worked on at once.
    """

    batch_tokens: int = Field(default=6_000, ge=1)
    batch_seconds: float = Field(default=2.0, ge=0)
    concurrency: int = Field(default=4, ge=1, le=64)


class ResiliencePolicy(Part):
    """How models are called.

    Attributes:
        timeout: Seconds that one call of a chat model may take, None: as long as its own client waits.
        attempts: How often one question is asked in all, if the provider fails in a way that may pass.
        max_wait: Seconds to wait before the next attempt at most, also if ``Retry-After`` says more.
        breaker_failures: After so many calls in a row whose attempts all failed, a model is not asked for
            ``breaker_seconds``.
        requests_per_second, tokens_per_minute: Limits on calls of chat models by one ``Memory``, None: none.
    """

    timeout: float | None = Field(default=60.0, gt=0)
    attempts: int = Field(default=3, ge=1, le=10)
    max_wait: float = Field(default=20.0, ge=0)
    breaker_failures: int = Field(default=5, ge=1)
    breaker_seconds: float = Field(default=30.0, ge=0)
    requests_per_second: float | None = Field(default=None, gt=0)
    tokens_per_minute: int | None = Field(default=None, gt=0)


class Tokens(Protocol):
    """What has used tokens, such as the ``usage`` of a result."""

    @property
    def input_tokens(self) -> int:
        """Tokens of prompts."""
        ...

    @property
    def output_tokens(self) -> int:
        """Tokens of answers."""
        ...


class Prices(Part):
    """What a million tokens cost, in any one currency."""

    input: float = Field(ge=0)
    output: float = Field(ge=0)

    def cost(self, usage: Tokens) -> float:
        """What the tokens of a usage cost. Embeddings are not in it, their models report no tokens."""
        return (usage.input_tokens * self.input + usage.output_tokens * self.output) / 1_000_000


class Budget(Part):
    """What may be spent on chat models; a call that finds a limit reached is not made.

    Attributes:
        max_calls, max_tokens, max_cost: The limits; ``max_cost`` needs prices. None: none.
        per: ``owner``: each owner has the whole budget. ``store``: all share it.
        period: Since when spending counts: the present day or month (UTC), or ever.
    """

    max_calls: int | None = Field(default=None, ge=0)
    max_tokens: int | None = Field(default=None, ge=0)
    max_cost: float | None = Field(default=None, ge=0)
    per: Literal["owner", "store"] = "owner"
    period: Literal["day", "month", "ever"] = "day"


class CostPolicy(Part):
    """What calls cost, and how much may be spent."""

    prices: Prices | None = None
    budget: Budget | None = None


class VisionPolicy(Part):
    """What becomes of images in messages.

    Attributes:
        images: ``describe``: the chat model describes them. ``ignore``: they leave a mark in the text and no
            model sees them.
        detail: How closely the model looks, where its provider knows such a setting.
        max_images: Images in one ``add``.
        max_bytes: Size of one image that is given as data. ``max_total_bytes``: of all in one ``add``.
    """

    images: Literal["describe", "ignore"] = "describe"
    detail: Literal["auto", "low", "high"] = "auto"
    max_images: int = Field(default=16, ge=1, le=100)
    max_bytes: int = Field(default=10_000_000, ge=1)
    max_total_bytes: int = Field(default=40_000_000, ge=1)


class Policies(Part):
    """All of them.

    Attributes:
        custom_fact_extraction_prompt: Your instructions in place of memkit's for what is worth remembering;
            the numbered messages and the shape of the answer stay memkit's.
        custom_update_memory_prompt: The same for how facts are compared with memories.
    """

    custom_fact_extraction_prompt: str | None = Field(default=None, min_length=1, max_length=MAX_PROMPT_CHARS)
    custom_update_memory_prompt: str | None = Field(default=None, min_length=1, max_length=MAX_PROMPT_CHARS)
    extraction: ExtractionPolicy = ExtractionPolicy()
    grounding: GroundingPolicy = GroundingPolicy()
    decisions: DecisionPolicy = DecisionPolicy()
    trust: TrustPolicy = TrustPolicy()
    background: BackgroundPolicy = BackgroundPolicy()
    resilience: ResiliencePolicy = ResiliencePolicy()
    costs: CostPolicy = CostPolicy()
    vision: VisionPolicy = VisionPolicy()

    @field_validator("custom_fact_extraction_prompt", "custom_update_memory_prompt")
    @classmethod
    def _say_something(cls, text: str | None) -> str | None:
        return text if text is None else _instructions(text)
