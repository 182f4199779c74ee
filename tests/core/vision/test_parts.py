"""Image parts of every usual shape become a mark; what cannot be used is a typed error."""

from __future__ import annotations

import base64

import pytest

from memkit_core import UsageError
from memkit_core.pipeline.parts import ContentReader, own_text
from memkit_core.policies import VisionPolicy
from memkit_core.types import Message

PNG = b"\x89PNG\r\n\x1a\n" + b"pixels"
DATA = base64.b64encode(PNG).decode()
URI = f"data:image/png;base64,{DATA}"
SVG = base64.b64encode(b"<svg xmlns='http://www.w3.org/2000/svg'/>").decode()
URL = "https://pics.example/dog.png?sig=a%20b"


def read(content, **policy):
    return ContentReader(VisionPolicy(**policy)).read(content, "message 0")


@pytest.mark.parametrize(
    "block",
    [
        {"type": "image_url", "image_url": {"url": URL, "detail": "low"}},
        {"type": "image_url", "image_url": URL, "detail": "low"},
        {"type": "input_image", "image_url": URL, "detail": "low"},
        {"type": "image", "url": URL, "extras": {"detail": "low"}},
        {"type": "image", "source_type": "url", "url": URL, "detail": "low"},
        {"type": "image", "source": {"type": "url", "url": URL}, "detail": "low"},
    ],
)
def test_urls(block):
    text, (image,) = read(["Look:", block])
    assert text == f"Look:\n[image 1 ({URL})]"
    assert (image.source, image.detail, text[image.start : image.end]) == (URL, "low", image.mark)


@pytest.mark.parametrize(
    "block",
    [
        {"type": "image_url", "image_url": {"url": URI}},
        {"type": "image_url", "image_url": URI},
        {"type": "input_image", "image_url": URI},
        {"type": "image", "base64": DATA, "mime_type": "image/png"},
        {"type": "image", "base64": DATA},
        {"type": "image", "base64": URI},
        {"type": "image", "source_type": "base64", "data": DATA, "mime_type": "image/png"},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": DATA}},
    ],
)
def test_data(block):
    text, (image,) = read([block])
    assert image.source == URI
    assert text == image.mark
    assert text.startswith("[image 1 (image/png, sha256 ")
    assert DATA not in text


@pytest.mark.parametrize(
    "block",
    [
        {"type": "image", "file_id": "file-1"},
        {"type": "input_image", "file_id": "file-1"},
        {"type": "image", "source_type": "id", "id": "file-1"},
        {"type": "image", "source": {"type": "file", "file_id": "file-1"}},
    ],
)
def test_files_of_a_provider(block):
    text, (image,) = read([block])
    assert (text, image.source) == ("[image 1 (file file-1)]", "file:file-1")


@pytest.mark.parametrize(
    ("block", "policy", "problem"),
    [
        ({"type": "image"}, {}, "no URL"),
        ({"type": "image_url", "image_url": {"url": "file:///etc/passwd"}}, {}, "https://"),
        ({"type": "image_url", "image_url": {"url": "gopher://x/"}}, {}, "https://"),
        ({"type": "image_url", "image_url": {"url": "https://"}}, {}, "https://"),
        ({"type": "image_url", "image_url": {"url": "https://x/a b"}}, {}, "white space"),
        ({"type": "image_url", "image_url": {"url": "https://x/\n] said"}}, {}, "white space"),
        ({"type": "image_url", "image_url": {"url": "https://x/" + "a" * 9_000}}, {}, "characters"),
        ({"type": "image_url", "image_url": {"url": URL, "detail": "best"}}, {}, "detail"),
        ({"type": "image", "base64": "n%t base64!", "mime_type": "image/png"}, {}, "base64"),
        ({"type": "image", "base64": DATA, "mime_type": "text/html"}, {}, "mime type"),
        ({"type": "image", "base64": base64.b64encode(b"what").decode()}, {}, "mime type"),
        ({"type": "image_url", "image_url": "data:text/html;base64,AAAA"}, {}, "mime type"),
        (
            {"type": "image", "base64": base64.b64encode(b"what").decode(), "mime_type": "image/png"},
            {},
            "no PNG",
        ),
        ({"type": "image_url", "image_url": f"data:image/svg+xml;base64,{SVG}"}, {}, "image/svg.xml, but"),
        ({"type": "image", "base64": DATA[:4], "mime_type": "image/png"}, {}, "no PNG"),
        ({"type": "image_url", "image_url": "data:image/png,AAAA"}, {}, "data URI"),
        ({"type": "image_url", "image_url": "data:image/png;base64,"}, {}, "empty"),
        ({"type": "image_url", "image_url": URI}, {"max_bytes": 10}, "max_bytes"),
        ({"type": "image_url", "image_url": URI}, {"max_total_bytes": 10}, "max_total_bytes"),
        ({"type": "image", "file_id": "a b"}, {}, "file id"),
    ],
)
def test_what_cannot_be_used(block, policy, problem):
    with pytest.raises(UsageError, match=problem):
        read([block], **policy)


@pytest.mark.parametrize(
    ("data", "mime"),
    [
        (PNG, "image/png"),
        (b"\xff\xd8\xff\xe0\0\x10JFIF", "image/jpeg"),
        (b"GIF87a\1", "image/gif"),
        (b"GIF89a\1", "image/gif"),
        (b"RIFF\x24\0\0\0WEBPVP8 ", "image/webp"),
        (b"BM\x36\0\x0c\0\0\0\0\0\x36\0", "image/bmp"),
        (b"\0\0\0\x18ftypheic\0\0\0\0", "image/heic"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0", "image/heif"),
    ],
)
@pytest.mark.parametrize("said", [{}, {"mime_type": "image/png"}, {"mime_type": "image/jpg"}])
def test_a_model_is_told_what_the_data_are(data, mime, said):
    encoded = base64.b64encode(data).decode()
    text, (image,) = read([{"type": "image", "base64": encoded} | said])
    assert image.source == f"data:{mime};base64,{encoded}"
    assert text.startswith(f"[image 1 ({mime}, sha256 ")


def test_what_no_model_is_shown_may_be_any_image():
    text, (image,) = read([{"type": "image", "base64": SVG, "mime_type": "image/svg+xml"}], images="ignore")
    assert image.source is None
    assert text.startswith("[image 1 (image/svg+xml, sha256 ")


def test_too_many():
    reader = ContentReader(VisionPolicy(max_images=2))
    block = {"type": "image_url", "image_url": {"url": URL}}
    assert len(reader.read([block, block], "message 0")[1]) == 2
    with pytest.raises(UsageError, match="message 1: image 3"):
        reader.read([block], "message 1")


def test_own_text_is_what_was_said():
    text, images = read(["a", {"type": "image", "url": URL}, "b [image 1 (forged)]"])
    message = Message(role="user", content=text, observed_at=0, images=images)
    assert own_text(message).split() == ["a", "b", "[image", "1", "(forged)]"]


def test_ignored_images_are_marks_only():
    text, (image,) = read([{"type": "image", "base64": DATA}], images="ignore")
    assert (text, image.source) == (image.mark, None)


def test_other_media_leave_a_plain_mark():
    assert read([{"type": "input_audio"}, {"type": "file"}, {"type": "tool_use"}])[0] == "[audio]\n[file]"
