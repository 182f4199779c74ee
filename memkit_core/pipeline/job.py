"""What a stored batch keeps for a later attempt, beside its messages. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..types import Message, MessageRecord
from .planned import Options


def job_of(options: Options, prompt: str | None, messages: Sequence[Message]) -> dict[str, Any]:
    """What an extraction needs to know that no row of a message says."""
    job: dict[str, Any] = {
        "metadata": dict(options.metadata),
        "expires_at": options.expires_at,
        "memory_type": options.memory_type,
    }
    if prompt is not None:
        job["prompt"] = prompt
    zones = {str(position): message.zone for position, message in enumerate(messages) if message.zone}
    if zones:
        job["zones"] = zones
    return job


def read_job(text: str | None) -> dict[str, Any]:
    """A stored job; empty for a batch without one."""
    job: dict[str, Any] = json.loads(text or "{}")
    return job


def options_of(job: Mapping[str, Any]) -> Options:
    """The options that the job was asked with."""
    return Options(
        metadata=job.get("metadata") or {},
        expires_at=job.get("expires_at"),
        memory_type=job.get("memory_type"),
    )


def zoned(record: MessageRecord, job: Mapping[str, Any]) -> MessageRecord:
    """The message with its speaker's clock, which its row does not keep."""
    zone = job.get("zones", {}).get(record.message_id.rpartition(":")[2], 0)
    return replace(record, zone=zone) if zone else record
