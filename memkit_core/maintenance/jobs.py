"""What a pending batch keeps for a later attempt, as an export file may hold it."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from ..pipeline.ingest import MAX_METADATA_CHARS, parse_metadata
from ..types import FIRST_MICROS, LAST_MICROS, check_text

MemoryType = Literal["procedural_memory"] | None
#: A job holds images that no model has seen yet.
_MAX_CHARS: Final = 100 * 1024 * 1024
#: Of an image: its message's position, number, reference, source, detail, start and end.
_IMAGE: Final = (int, int, str, str | None, str | None, int, int)


def _image(row: list[int | str | None]) -> list[int | str | None]:
    if len(row) != len(_IMAGE) or not all(map(isinstance, row, _IMAGE)):
        raise ValueError("an image is a position, a number, a reference, a source, a detail and its place")
    return row


class _Job(BaseModel):
    """What a pending batch is to be extracted with."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    metadata: Annotated[
        dict[str, Any], AfterValidator(lambda value: parse_metadata(value, max_chars=2 * MAX_METADATA_CHARS))
    ]
    expires_at: Annotated[int, Field(ge=FIRST_MICROS, le=LAST_MICROS)] | None
    memory_type: MemoryType
    prompt: Annotated[str, AfterValidator(lambda value: check_text(value, "a prompt"))] | None = None
    zones: dict[str, Annotated[int, Field(ge=-1_440, le=1_440)]] = Field(default_factory=dict[str, int])
    images: list[Annotated[list[int | str | None], AfterValidator(_image)]] = Field(
        default_factory=list[list[int | str | None]], max_length=100
    )
    overview: bool = True


def _job(text: str) -> str:
    try:
        _Job.model_validate_json(check_text(text, "a job", max_chars=_MAX_CHARS))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise ValueError(f"it is none of an add: {first['msg']}") from None
    return text


Job = Annotated[str, AfterValidator(_job)]
