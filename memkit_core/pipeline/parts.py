"""Content blocks of a message to its text: what is said stays, an image leaves a mark that names it.

OpenAI's, Anthropic's and LangChain's shapes are read. Nothing is fetched, here or elsewhere in memkit.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Final, cast
from urllib.parse import urlsplit

from ..errors import UsageError
from ..policies import VisionPolicy
from ..types import Image, Message

MAX_URL_CHARS: Final = 8_192
DETAILS: Final = ("auto", "low", "high")
#: Hexadecimal digits of an image's SHA-256 that its mark shows.
SHOWN_HASH: Final = 16

_MIME: Final = re.compile(r"image/[a-z0-9][a-z0-9.+-]{0,80}")
_UNSEEN: Final = re.compile(r"[\s\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_FILE_ID: Final = re.compile(r"[\w.:/-]{1,512}", re.ASCII)
#: How files of the formats begin that models take.
_MAGIC: Final = (
    (re.compile(rb"\x89PNG\r\n\x1a\n"), "image/png"),
    (re.compile(rb"\xff\xd8\xff"), "image/jpeg"),
    (re.compile(rb"GIF8[79]a"), "image/gif"),
    (re.compile(rb"RIFF.{4}WEBP", re.DOTALL), "image/webp"),
    (re.compile(rb"BM.{4}\0\0\0\0", re.DOTALL), "image/bmp"),
    (re.compile(rb".{4}ftyp(?:heic|heix|heim|heis|hevc|hevx)", re.DOTALL), "image/heic"),
    (re.compile(rb".{4}ftyp(?:mif1|msf1)", re.DOTALL), "image/heif"),
)
_TEXTS: Final = ("text", "input_text", "output_text")
_IMAGES: Final = ("image", "image_url", "input_image")


class ContentReader:
    """Reads the contents of one ``add``; its images are numbered from 1 in the order they come.

    Args:
        policy: How many images there may be, how large, and whether a model is to see them.
    """

    def __init__(self, policy: VisionPolicy) -> None:
        self._policy = policy
        self._number = 0
        self._bytes = 0

    def read(self, content: object, where: str) -> tuple[str, tuple[Image, ...]]:
        """A content's text, and the images whose marks stand in it.

        Raises:
            UsageError: It is neither a string nor a list of blocks, or an image cannot be used.
        """
        if content is None:
            return "", ()
        if isinstance(content, str):
            return content, ()
        if not isinstance(content, list | tuple):
            raise UsageError(
                f"{where}: content is a string or a list of content blocks, not {type(content).__name__}"
            )
        text, images = "", list[Image]()
        for block in cast("Iterable[object]", content):
            if isinstance(block, str):
                part: str | Image = block
            elif isinstance(block, Mapping):
                part = self._block(cast("Mapping[str, Any]", block), where)
            else:
                raise UsageError(
                    f"{where}: a content block is a string or a dict, not {type(block).__name__}"
                )
            words = part.mark if isinstance(part, Image) else part
            if not words:
                continue
            text += "\n" if text else ""
            if isinstance(part, Image):
                images.append(replace(part, start=len(text), end=len(text) + len(words)))
            text += words
        return text, tuple(images)

    def stored(self, item: object, role: str, text: str) -> str:  # noqa: ARG002 - a subclass reads them
        """What is stored of a message: here the text of its content. ``item``: as the caller gave it."""
        return text

    def _block(self, block: Mapping[str, Any], where: str) -> str | Image:
        kind = block.get("type")
        if kind in _TEXTS:
            return block["text"] if isinstance(block.get("text"), str) else ""
        if kind in _IMAGES:
            return self._image(block, where)
        if isinstance(kind, str) and any(word in kind for word in ("image", "audio", "video", "file")):
            return f"[{kind.removeprefix('input_').removesuffix('_url')}]"
        return ""  # anything else (tool calls, reasoning) is the model's own business, not something said

    def _image(self, block: Mapping[str, Any], where: str) -> Image:
        self._number += 1
        what = f"{where}: image {self._number}"
        if self._number > self._policy.max_images:
            raise UsageError(
                f"{what}: one add takes {self._policy.max_images} images (vision.max_images): split it"
            )
        reference, source = self._source(_found(block, what), what)
        return Image(
            number=self._number,
            reference=reference,
            source=source if self._policy.images == "describe" else None,
            detail=_detail(block, what),
        )

    def _source(self, found: tuple[str, str, object], what: str) -> tuple[str, str]:
        """What the mark says of the image, and what a model is given."""
        kind, value, mime = found
        if kind == "file":
            if not _FILE_ID.fullmatch(value):
                raise UsageError(f"{what}: a file id is 1 to 512 letters, digits and -_.:/")
            return f"file {value}", f"file:{value}"
        if kind == "url" and value[:5].lower() != "data:":
            return _checked_url(value, what), value
        if value[:5].lower() == "data:":
            head, comma, value = value.partition(",")
            mime, *options = head[5:].split(";")
            if not comma or "base64" not in (option.strip().lower() for option in options):
                raise UsageError(f"{what}: a data URI is 'data:image/png;base64,…'")
        raw = self._decoded(value, what)
        seen = next((name for magic, name in _MAGIC if magic.match(raw)), None)
        name = mime.strip().lower() if isinstance(mime, str) else seen or ""
        if not _MIME.fullmatch(name):
            raise UsageError(f"{what}: its mime type is one of image/…, such as image/png")
        if self._policy.images == "describe":
            if seen is None:
                raise UsageError(
                    f"{what} is said to be {name}, but its data are no PNG, JPEG, GIF, WebP, BMP or HEIC: "
                    "convert it, no model reads anything else"
                )
            name = seen  # providers refuse data that are something else than is said
        digest = hashlib.sha256(raw).hexdigest()[:SHOWN_HASH]
        return f"{name}, sha256 {digest}", f"data:{name};base64,{value}"

    def _decoded(self, value: str, what: str) -> bytes:
        policy = self._policy
        size = len(value) * 3 // 4 - value[-2:].count("=")
        if size > policy.max_bytes:
            raise UsageError(
                f"{what} has {size:,} bytes; the limit is {policy.max_bytes:,} (vision.max_bytes): scale it "
                "down, or give its URL"
            )
        self._bytes += size
        if self._bytes > policy.max_total_bytes:
            raise UsageError(
                f"{what}: the images of one add have more than {policy.max_total_bytes:,} bytes "
                "(vision.max_total_bytes): split it"
            )
        try:
            raw = base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError):
            raise UsageError(f"{what} is not valid base64") from None
        if not raw:
            raise UsageError(f"{what} is empty")
        return raw


def _found(block: Mapping[str, Any], what: str) -> tuple[str, str, object]:
    """Where a block has its image: ``url``, ``data`` or ``file``, the value, the mime type if it says one."""
    inner: Mapping[str, Any] = block
    for key in ("image_url", "source"):
        if isinstance(block.get(key), Mapping):
            inner = block[key]
    mime = inner.get("mime_type", inner.get("media_type"))
    data = inner.get("base64") or inner.get("data")
    url = inner.get("url") or block.get("image_url")
    ident = inner.get("file_id") or (inner.get("id") if inner.get("source_type") == "id" else None)
    for kind, value in (("url", url), ("data", data), ("file", ident)):
        if isinstance(value, str) and value:
            return kind, value, mime
    raise UsageError(
        f"{what} has no URL, base64 data or file id: write {{'type': 'image_url', 'image_url': "
        "{'url': 'https://…'}} or {'type': 'image', 'base64': '…', 'mime_type': 'image/png'}"
    )


def _checked_url(url: str, what: str) -> str:
    if len(url) > MAX_URL_CHARS or _UNSEEN.search(url):
        raise UsageError(f"{what}: a URL has at most {MAX_URL_CHARS:,} characters and no white space")
    try:
        parts = urlsplit(url)
        known = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        known = False
    if not known:
        raise UsageError(
            f"{what}: its URL begins with https://, http:// or data:image/, nothing else is passed on"
        )
    return url


def _detail(block: Mapping[str, Any], what: str) -> str | None:
    for holder in (block.get("image_url"), block, block.get("extras")):
        if isinstance(holder, Mapping):
            detail: object = cast("Mapping[str, Any]", holder).get("detail")
            if detail is not None:
                if detail not in DETAILS:
                    raise UsageError(f"{what}: detail is one of {', '.join(DETAILS)}, not {detail!r:.40}")
                return str(detail)
    return None


def own_text(message: Message) -> str:
    """A message's text without the marks and descriptions of its images."""
    text = message.content
    for image in reversed(message.images):
        text = f"{text[: image.start]} {text[image.end :]}"
    return text
