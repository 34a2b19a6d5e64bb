"""Let atheris look for bytes that the framer and the decoder do not stand.

    pip install atheris
    python -m tests.faults.fuzz_decoder -max_total_time=3600 -timeout=5 -rss_limit_mb=2048 [CORPUS]

Any option of libFuzzer can be given. It ends at the first bytes that raise what they should not,
take longer than five seconds, or are cut otherwise when they come in other pieces.
"""

import sys
from typing import Any

from buddyd.errors import InvalidParams
from buddyd.protocol.framing import (
    Encoding,
    Framer,
    MessageTooLarge,
    ProtocolError,
    decode_params,
    decode_request,
    encode_error,
)
from buddyd.protocol.messages import METHODS, ErrorData, ErrorObject

LIMIT = 4096


def cut(pieces: list[bytes]) -> tuple[list[bytes], bool, Encoding | None]:
    """The messages in a stream, whether one was too large, and the stream's encoding."""
    framer, messages, too_large = Framer(LIMIT), [], False
    try:
        for piece in pieces:
            for message in framer.feed(piece):
                messages.append(message)  # noqa: PERF402 - it may raise in the middle
    except MessageTooLarge:
        too_large = True
    else:
        messages += filter(None, [framer.finish()])
    return messages, too_large, framer.encoding


def decode(encoding: Encoding, message: bytes) -> None:
    """What a session does with a message, up to its answer's bytes."""
    try:
        request = decode_request(encoding, message)
        method = METHODS.get(request.method)
        if method is not None:
            decode_params(encoding, request, method.params)
        answer_id = request.answer_id
        error = ErrorObject(code=-32601, message="", data=ErrorData())
    except ProtocolError as refused:
        answer_id = refused.request_id
        data = ErrorData(reason=refused.reason)
        error = ErrorObject(code=refused.code, message=str(refused), data=data)
    except InvalidParams as refused:
        answer_id = request.answer_id
        data = ErrorData(reason=refused.reason, path=refused.path)
        error = ErrorObject(code=-32602, message=str(refused), data=data)
    encode_error(encoding, answer_id, error)


def try_bytes(data: bytes) -> None:
    """Cut and decode a stream; raises where something is amiss."""
    whole = cut([data])
    middle = len(data) // 2
    assert cut([data[:middle], data[middle:]]) == whole, "pieces matter"
    assert cut([data[i : i + 1] for i in range(len(data))]) == whole, "pieces matter"
    messages, _, encoding = whole
    for message in messages:
        assert encoding is not None
        decode(encoding, message)


def main() -> None:
    """The command."""
    # Only who fuzzes needs it.
    import atheris  # noqa: PLC0415

    fuzzing: Any = atheris
    fuzzing.instrument_all()
    fuzzing.Setup(sys.argv, try_bytes)
    fuzzing.Fuzz()


if __name__ == "__main__":
    main()
