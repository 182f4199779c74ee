"""Bytes made small before they are stored."""

from __future__ import annotations

import zlib
from typing import Final

from memkit_core.errors import IntegrityError

_PLAIN, _DEFLATED, _WITH_WORDS = b"\0", b"\1", b"\2"
#: No stored piece is larger than this when it is unpacked: what says otherwise was not written by memkit.
_LARGEST: Final = 1 << 31
#: What small pieces have in common. Pieces that were stored need it for ever: never change it.
_WORDS: Final = (
    b"pending_sends\x90\xaachannel_values\xa9task_path\xb2langgraph_triggers\xa9thread_id\xacassistant_i"
    b"d\xa7user_id\xa6run_id\xb1langgraph_version\xb6langgraph_auth_user_id\xbdcounters_since_delta_snap"
    b"shot\xc8\x01\xbdlangchain_core.messages.tool\xabToolMessage\xa8artifact\xc0\xa6status\xa7success"
    b"\xactool_call_id\xd9\x1dcall_\xaatool_calls\x91\x84\xa4name\xa4args\x81\xa5query\xa2id\xaccall_"
    b"\xa4type\xa9tool_call\xc8\x05\x94\xbflangchain_core.messages.system\xadSystemMessage\xabtoken_usag"
    b"e\xb1completion_tokens\xadprompt_tokens\xadfinish_reason\xa4stop\xaamodel_name\xaemodel_provider"
    b"\xa6openai\xaeusage_metadata\x83\xacinput_tokens\xadoutput_tokens\xactotal_tokens\xb3input_token_d"
    b"etails\x81\xaacache_read\xb4output_token_details\x81\xa9reasoning__interrupt____resume____error___"
    b"_no_writes____pregel_tasks\xafbranch:to:agent\xafbranch:to:tools\x82\xa4role\xa4user\xa7content"
    b"\xa9assistant\x92\xa7msgpack\x91\xc4\x81\xa8messages\x91\x92\xa4user\x92\xa7msgpack\x91\x81\xa8mes"
    b"sages\x91\x92\xa7msgpack\x93\xc4\x01\x92\x01\xc5\x01\xc8\x01\x05\x94\xbdlangchain_core.messages.hu"
    b"man\xacHumanMessage\x86\xa7content\xda\xb1additional_kwargs\x80\xb1response_metadata\x80\xa4type"
    b"\xa5human\xa4name\xc0\xa2id\xd9$\xb3model_validate_json\x92\xa7msgpack\x91\xc5\x01\x91\xc8\x01\x05"
    b"\x94\xbalangchain_core.messages.ai\xa9AIMessage\x89\xa7content\xda\xb1additional_kwargs\x80\xb1res"
    b"ponse_metadata\x80\xa4type\xa2ai\xa4name\xc0\xa2id\xd9.lc_run--01-0\xaatool_calls\x90\xb2invalid_t"
    b"ool_calls\x90\xaeusage_metadata\xc0\xb3model_validate_json\x84\xa6source\xa5input\x83\xa6source"
    b"\xa6update\xa6source\xa4fork\xa5step\xff\x92\xa7msgpack\x91\xc5\x02\x92\x86\xa1v\x04\xa2ts\xd9 202"
    b".000000+00:00\xa2id\xd9$1f-6\xb0channel_versions\x83\xa9__start__\xd910000000000000000000000000000"
    b"000010.0.\xa8messages\xd90000000000000000000000000000000000.0.\xafbranch:to:model\xd90000000000000"
    b"00000000000000000000\xadversions_seen\x83\xa9__input__\x80\xa9__start__\x81\xa9__start__\xd9100000"
    b"0000000000000000000000000001.0.\xa5model\x81\xafbranch:to:model\xd90000000000000000000000000000000"
    b"00\xb0updated_channels\x91\xa9__start__\xb0updated_channels\x92\xafbranch:to:model\xa8messages\xb0"
    b"updated_channels\x91\xa8messages\x84\xa6source\xa4loop\xa4step\xa7parents\x80\xaels_integration"
    b"\xb6langchain_create_agent\x83\xa6source\xa4loop\xa4step\xa7parents\x80"
)


def pack(data: bytes) -> bytes:
    """The same bytes, smaller if that is possible."""
    if len(data) < 24:
        return _PLAIN + data
    small = len(data) <= 4_096
    maker = (
        zlib.compressobj(6, zlib.DEFLATED, -15, 9, zlib.Z_DEFAULT_STRATEGY, _WORDS)
        if small
        else zlib.compressobj(6, zlib.DEFLATED, -15)
    )
    packed = maker.compress(data) + maker.flush()
    if len(packed) >= len(data):
        return _PLAIN + data
    return (_WITH_WORDS if small else _DEFLATED) + packed


def unpack(packed: bytes) -> bytes:
    """The bytes that were packed.

    Raises:
        IntegrityError: They cannot have been.
    """
    kind = packed[:1]
    if kind == _PLAIN:
        return packed[1:]
    if kind not in (_DEFLATED, _WITH_WORDS):
        raise IntegrityError("a stored piece is in no form that this memkit knows")
    maker = zlib.decompressobj(-15, _WORDS) if kind == _WITH_WORDS else zlib.decompressobj(-15)
    try:
        data = maker.decompress(packed[1:], _LARGEST)
    except zlib.error as error:
        raise IntegrityError("a stored piece cannot be unpacked") from error
    if not maker.eof or maker.unused_data:
        raise IntegrityError("a stored piece cannot be unpacked")
    return data
