"""What a segment keeps, whatever happens to its writer."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buddyd.client.segments import HEADER_BYTES, Segment, line_of
from tests.support.workloads import examples

RECORDS = [b'{"n":%d}' % number for number in range(10)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def filled(folder: Path) -> Segment:
    segment = Segment.create(folder)
    segment.append(b"".join(map(line_of, RECORDS)))
    return segment


def records(segment: Segment) -> list[bytes | None]:
    """All that is left to deliver."""
    found: list[bytes | None] = []
    while lines := segment.read(3):
        found += [line.record for line in lines]
        segment.mark(lines[-1].end)
    return found


def only_file(folder: Path) -> Path:
    [file] = folder.iterdir()
    return file


def left(segment: Segment) -> None:
    """The writer is gone, as the kernel sees it; nothing is tidied up."""
    os.close(segment._descriptor)


def test_records_come_out_in_the_order_they_went_in(folder: Path) -> None:
    segment = filled(folder)
    assert records(segment) == RECORDS
    assert segment.done
    segment.close()
    assert list(folder.iterdir()) == []


def test_it_is_private_and_readable_for_a_person(folder: Path) -> None:
    segment = filled(folder)
    file = only_file(folder)
    assert file.stat().st_mode & 0o777 == 0o600
    header, first, *_ = file.read_text().splitlines()
    assert header == f"buddyd spool 1 delivered {HEADER_BYTES:020d}"
    assert first.split(" ", 1)[1] == RECORDS[0].decode()
    segment.close()


def test_nobody_adopts_what_a_living_process_has(folder: Path) -> None:
    segment = filled(folder)
    assert Segment.adopt(only_file(folder)) is None
    segment.close()


def test_what_a_dead_process_left_goes_on_where_it_had_stopped(folder: Path) -> None:
    segment = filled(folder)
    segment.mark(segment.read(4)[-1].end)
    left(segment)
    adopted = Segment.adopt(only_file(folder))
    assert adopted is not None
    assert records(adopted) == RECORDS[4:]
    adopted.close()
    assert list(folder.iterdir()) == []


@examples(100)
@given(cut=st.integers(0, 400), more=st.binary(max_size=40))
def test_a_torn_end_costs_no_other_record(
    tmp_path_factory: pytest.TempPathFactory, cut: int, more: bytes
) -> None:
    folder = tmp_path_factory.mktemp("spool")
    left(filled(folder))
    file = only_file(folder)
    whole = file.read_bytes()
    file.write_bytes(whole[: max(HEADER_BYTES, len(whole) - cut)] + more)
    kept = whole[HEADER_BYTES : len(whole) - cut].count(b"\n") if cut < len(whole) else 0
    adopted = Segment.adopt(file)
    assert adopted is not None
    adopted.append(line_of(b'{"n":"new"}'))
    found = records(adopted)
    adopted.close()
    assert found[-1] == b'{"n":"new"}'
    assert [r for r in found if r is not None][: max(kept, 0)] == RECORDS[: max(kept, 0)]
    assert {r for r in found if r is not None} <= {*RECORDS, b'{"n":"new"}'}


def test_a_flipped_bit_costs_one_record(folder: Path) -> None:
    left(filled(folder))
    file = only_file(folder)
    data = bytearray(file.read_bytes())
    data[data.index(b'{"n":4}') + 5] ^= 1
    file.write_bytes(data)
    adopted = Segment.adopt(file)
    assert adopted is not None
    assert records(adopted) == [*RECORDS[:4], None, *RECORDS[5:]]
    adopted.close()


@pytest.mark.parametrize("mark", [b"x" * 20, b"%020d" % 10**15, b"%020d" % 60, b"0" * 20])
def test_a_mark_that_cannot_be_delivers_all_again(folder: Path, mark: bytes) -> None:
    left(filled(folder))
    file = only_file(folder)
    data = file.read_bytes()
    file.write_bytes(data[: HEADER_BYTES - 21] + mark + data[HEADER_BYTES - 1 :])
    adopted = Segment.adopt(file)
    assert adopted is not None
    assert records(adopted) == RECORDS
    adopted.close()


@pytest.mark.parametrize("size", [0, 7, HEADER_BYTES - 1])
def test_one_that_was_only_begun_can_be_gone_on_with(folder: Path, size: int) -> None:
    left(Segment.create(folder))
    os.truncate(only_file(folder), size)
    adopted = Segment.adopt(only_file(folder))
    assert adopted is not None
    adopted.append(line_of(RECORDS[0]))
    assert records(adopted) == RECORDS[:1]
    adopted.close()


def test_one_in_memory_does_the_same_without_a_file(folder: Path) -> None:
    segment = Segment.in_memory()
    segment.append(b"".join(map(line_of, RECORDS)))
    assert records(segment) == RECORDS
    segment.close()
    assert list(folder.iterdir()) == []


def test_a_link_in_its_place_is_not_followed(folder: Path) -> None:
    target = folder / "elsewhere"
    target.write_bytes(b"")
    link = folder / "1.spool"
    link.symlink_to(target)
    assert Segment.adopt(link) is None
