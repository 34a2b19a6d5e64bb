"""How an execution's id is kept."""

from collections.abc import Sequence

_LENGTH = 36
_DASHES = (8, 13, 18, 23)
_BYTES = 16


def id_key(execution_id: str) -> str | bytearray:
    """An id as it is kept: 16 bytes for a UUID in its usual form, which is half its size."""
    uuids = _of_uuids([execution_id])
    return execution_id if uuids is None else uuids[0]


def id_keys(execution_ids: Sequence[str]) -> Sequence[str | bytearray]:
    """The same for each of many ids."""
    # As nearly always, where all are UUIDs.
    return _of_uuids(execution_ids) or [id_key(each) for each in execution_ids]


def _of_uuids(execution_ids: Sequence[str]) -> list[bytearray] | None:
    """The bytes of UUIDs; None where not all are UUIDs in their usual form."""
    if set(map(len, execution_ids)) != {_LENGTH}:
        return None
    text = "".join(execution_ids)
    dashes = "-" * len(execution_ids)
    if any(text[place::_LENGTH] != dashes for place in _DASHES):
        return None
    digits = text.replace("-", "")
    try:
        value = bytearray.fromhex(digits)
    except ValueError:
        return None
    # What is kept must be these ids and no others: no capitals, no blanks, no dash more.
    if value.hex() != digits or len(value) != _BYTES * len(execution_ids):
        return None
    return [value[begin : begin + _BYTES] for begin in range(0, len(value), _BYTES)]
