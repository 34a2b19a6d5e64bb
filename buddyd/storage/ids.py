"""How an execution's id is kept."""

_UUID_LENGTH = 36
_UUID_BYTES = 16


def id_key(execution_id: str) -> str | bytes:
    """An id as it is kept: 16 bytes for a UUID in its usual form, which is half its size."""
    if len(execution_id) != _UUID_LENGTH or execution_id[8:24:5] != "----":
        return execution_id
    digits = execution_id.replace("-", "")
    try:
        value = bytes.fromhex(digits)
    except ValueError:
        return execution_id
    # What is kept must be this id and no other: no capitals, no blanks, no dash more.
    return value if len(value) == _UUID_BYTES and value.hex() == digits else execution_id
