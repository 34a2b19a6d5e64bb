"""How an execution's id is kept."""

import uuid

_UUID_LENGTH = 36


def id_key(execution_id: str) -> str | bytes:
    """An id as it is kept: 16 bytes for a UUID in its usual form, which half its size."""
    if len(execution_id) == _UUID_LENGTH:
        try:
            value = uuid.UUID(execution_id)
        except ValueError:
            return execution_id
        if str(value) == execution_id:
            return value.bytes
    return execution_id
