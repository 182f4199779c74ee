"""Images to text: the chat model describes them once, and the descriptions take the places of their marks.

memkit fetches nothing: what the model is shown goes to its provider as it was given.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, fields, replace
from typing import Any, Final, cast

from .. import analysis
from ..errors import ModelCallError, ModelOutputError, VisionUnsupportedError
from ..models.calling import models_of
from ..models.structured import ask
from ..prompts import vision as prompt
from ..protocols import Runtime, StoredBatch
from ..results import Rejection
from ..types import MAX_TEXT_CHARS, Fact, Image, Message, MessageRecord, clean_text
from .parts import own_text
from .services import Services

#: Images, and characters of their data, in one call.
IMAGES_PER_CALL: Final = 8
CHARS_PER_CALL: Final = 20_000_000
#: From this claim on each image is asked about by itself, and one without a usable answer waits no longer.
LAST_ATTEMPT: Final = 3
#: How much of a description, and of the words that stand in an image, is kept.
_DESCRIPTION_CHARS: Final = 1_000
_WORDS_CHARS: Final = 1_000

#: An image as the job of a batch keeps it.
_FIELDS: Final = tuple(one.name for one in fields(Image))

_REFUSING: Final = ("not support", "only support", "unsupported", "no endpoints", "invalid content type")
_ONLY_THIS_ONE: Final = ("format", "mime", "media type", "media_type", "too large", "size", "download")
_BAD_REQUEST: Final = frozenset({None, 400, 404, 415, 422, 500, 501})


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """The messages with what their images show; ``rejected``: images that could not be described."""

    messages: tuple[Message, ...]
    rejected: tuple[Rejection, ...] = ()


def waiting(messages: Sequence[Message]) -> list[Image]:
    """The images that a model is still to see."""
    return [image for message in messages for image in message.images if image.source is not None]


def check_sight(chat: Any, messages: Sequence[Message]) -> None:
    """Refuse images that nobody can describe, as far as that is known without asking.

    Raises:
        VisionUnsupportedError: There is no chat model, or it says that it takes no images.
    """
    images = waiting(messages)
    if not images:
        return
    without = "say vision={'images': 'ignore'} to keep the text alone"
    if chat is None:
        raise VisionUnsupportedError(f"images need a chat model that can see: pass one as llm, or {without}")
    profiles = [_profile(model) for model in models_of(chat)]
    if all(profile.get("image_inputs") is False for profile in profiles):
        raise VisionUnsupportedError(f"the chat model takes no images: use one that does, or {without}")
    linked = any(image.source is not None and image.source.startswith("http") for image in images)
    if linked and all(profile.get("image_url_inputs") is False for profile in profiles):
        raise VisionUnsupportedError(
            f"the chat model takes no URLs of images: give them as base64 data, or {without}"
        )


def _profile(model: object) -> Mapping[str, object]:
    profile = getattr(model, "profile", None)
    return cast("Mapping[str, object]", profile) if isinstance(profile, Mapping) else {}


# ---------------------------------------------------------------- the job of a batch


def job_of(messages: Sequence[Message]) -> list[list[Any]]:
    """The images of a batch as its job keeps them: the message's position, then the image's fields."""
    return [
        [_place(message, at), *astuple(image)]
        for at, message in enumerate(messages)
        for image in message.images
    ]


def _place(message: Message, at: int) -> int:
    """A message's position in its batch, of which others may have been deleted meanwhile."""
    return int(message.message_id.rpartition(":")[2]) if isinstance(message, MessageRecord) else at


def restored(rows: Iterable[list[Any]], messages: Iterable[MessageRecord]) -> tuple[Message, ...]:
    """The messages with the images that a job has kept for them, ``rows`` as ``job_of`` made them."""
    found: dict[int, Message] = {_place(message, 0): message for message in messages}
    for position, *values in rows:
        message = found.get(int(position))
        if message is not None:
            image = Image(**dict(zip(_FIELDS, values, strict=True)))
            found[int(position)] = replace(message, images=(*message.images, image))
    return tuple(found.values())


# ---------------------------------------------------------------- describing


async def describe(
    rt: Runtime, services: Services, batch: StoredBatch, messages: Sequence[Message]
) -> Described:
    """The messages with the descriptions that one call gives, durable in the store.

    Call it again until nothing is ``waiting``; images that no call could describe do not wait any more. Where
    answers could not be used before, each image is asked about by itself in the end, and goes without.

    Args:
        messages: Those of the batch, in the order of ``batch.units``.

    Raises:
        VisionUnsupportedError: The model takes no images. Nothing was changed.
        ModelError: The call failed, or its answer could not be used and there are attempts left. Nothing was
            changed.
        StorageError: The descriptions could not be stored.
    """
    detail = services.policies.vision.detail
    last = batch.attempts >= LAST_ATTEMPT
    group = _next_group(messages, detail, most=1 if last else IMAGES_PER_CALL)
    try:
        told = await _ask(rt, services, group)
    except ModelOutputError:
        if not last:
            raise
        told = dict.fromkeys(group)  # the text is worth more than to wait for ever
    after = tuple(_completed(message, told, detail) for message in messages)
    await _store(rt, services, batch, messages, after)
    return Described(messages=after, rejected=tuple(_undescribed(messages, after)))


def _next_group(messages: Sequence[Message], detail: str, *, most: int) -> list[tuple[str, str]]:
    """What the next call shows: each image once, however often it comes, and how closely."""
    group: dict[tuple[str, str], None] = {}
    chars = 0
    for image in waiting(messages):
        source = image.source or ""
        key = (source, image.detail or detail)
        if key in group:
            continue
        if group and (len(group) == most or chars + len(source) > CHARS_PER_CALL):
            break
        group[key] = None
        chars += len(source)
    return list(group)


async def _ask(
    rt: Runtime, services: Services, group: Sequence[tuple[str, str]]
) -> dict[tuple[str, str], str | None]:
    """What each image of the group shows; None for one that the model left out."""
    try:
        answer = await ask(
            rt,
            services.chat,
            prompt.Descriptions,
            prompt.build(group),
            item_field="images",
            name="memkit.vision",
        )
    except ModelCallError as error:
        if not _refuses_images(error.__cause__):
            raise
        refusal = VisionUnsupportedError(
            "the chat model or its provider takes no images: use one that does, or say "
            "vision={'images': 'ignore'} to keep the text alone"
        )
        refusal.usage = error.usage
        raise refusal from error
    told = {
        group[item.image - 1]: _phrase(item)
        for item in reversed(answer.value.images)  # the first of several on one image counts
        if 1 <= item.image <= len(group)
    }
    if not told:
        raise ModelOutputError("none of the images is described", reason="wrong_shape", raw=answer.raw)
    return {key: told.get(key) for key in group}


def _refuses_images(cause: BaseException | None) -> bool:
    text = str(cause).lower()
    if getattr(cause, "status_code", None) not in _BAD_REQUEST or any(w in text for w in _ONLY_THIS_ONE):
        return False
    about = any(word in text for word in ("image", "vision", "multimodal", "multi-modal"))
    return about and any(word in text for word in _REFUSING)


def _phrase(item: prompt.DescribedImage) -> str:
    """What an image shows, in one line that cannot end its mark; words in it stand in quotes."""
    phrase = _line(item.description, _DESCRIPTION_CHARS)
    words = _line(item.text or "", _WORDS_CHARS)
    return f"{phrase} Text in it: {json.dumps(words, ensure_ascii=False)}" if words else phrase


def _line(text: str, limit: int) -> str:
    line = " ".join(clean_text(text).split()).translate(str.maketrans("[]", "()"))
    return line if len(line) <= limit else line[: limit - 1] + "…"


def _completed(message: Message, told: Mapping[tuple[str, str], str | None], detail: str) -> Message:
    """The message after a call: what was shown is described, or keeps its mark for good."""
    keys = [(image.source or "", image.detail or detail) for image in message.images]
    if not any(key in told for key in keys):
        return message
    text, images, done = "", list[Image](), 0
    room = MAX_TEXT_CHARS - len(message.content)
    for image, key in zip(message.images, keys, strict=True):  # in the order of their marks
        words = message.content[image.start : image.end]
        phrase = told.get(key)
        if phrase is not None and len(phrase) + 2 <= room:
            room -= len(phrase) + 2
            words = f"{words[:-1]}: {phrase}]"
        text += message.content[done : image.start]
        source = None if key in told else image.source
        images.append(replace(image, source=source, start=len(text), end=len(text) + len(words)))
        text, done = text + words, image.end
    return replace(message, content=text + message.content[done:], images=tuple(images))


def _undescribed(before: Sequence[Message], after: Sequence[Message]) -> list[Rejection]:
    """Images that were shown and have kept their bare marks."""
    return [
        Rejection(item=new.mark, reason="the image was not described, or its message has no room for it")
        for one, other in zip(before, after, strict=True)
        for old, new in zip(one.images, other.images, strict=True)
        if old.source is not None and new.source is None and not described(new)
    ]


async def _store(
    rt: Runtime,
    services: Services,
    batch: StoredBatch,
    before: Sequence[Message],
    after: Sequence[Message],
) -> None:
    pairs = zip(batch.units, before, after, strict=True)
    texts = {unit: new.content for unit, old, new in pairs if old.content != new.content}
    job = json.loads(batch.job or "{}")
    job["images"] = job_of(after)
    await rt.call(
        lambda: services.store.annotate_batch(
            batch.batch_id,
            batch.lease,
            texts=texts,
            job=json.dumps(job, ensure_ascii=False),
            now=services.clock(),
            indexes=services.indexes,
        )
    )


# ---------------------------------------------------------------- what rests on images


def described(image: Image) -> bool:
    """Whether more than its mark stands in the text."""
    return image.end - image.start > len(image.mark)


def from_images(facts: Sequence[Fact], messages: Sequence[Message]) -> tuple[Fact, ...]:
    """The facts, of origin ``image`` where one says what only a description of a user's image says."""
    if not any(described(image) for message in messages for image in message.images):
        return tuple(facts)
    return tuple(
        replace(fact, origin="image") if fact.origin == "user" and _rests_on_images(fact, messages) else fact
        for fact in facts
    )


def _rests_on_images(fact: Fact, messages: Sequence[Message]) -> bool:
    span = range(*fact.context) if fact.context is not None else range(len(messages))
    cited = [messages[position] for position in fact.cites or span]
    said, shown = set[str](), set[str]()
    for message in cited:
        said.update(analysis.unit_terms(own_text(message)))
        for image in message.images:
            if described(image):
                words = message.content[image.start + len(image.mark) : image.end]
                shown.update(analysis.unit_terms(words))
    return bool(analysis.unit_terms(fact.text).keys() & (shown - said))
