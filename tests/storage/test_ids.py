"""How ids are kept: in little space, and each as no other one."""

import uuid

from hypothesis import given
from hypothesis import strategies as st

from buddyd.storage.ids import id_key, id_keys
from tests.support.workloads import examples

UUIDS = st.uuids().map(str)
DASHES = (8, 13, 18, 23)


@st.composite
def almost_uuids(draw: st.DrawFn) -> str:
    """A UUID with one character changed."""
    text, at = draw(UUIDS), draw(st.integers(0, 35))
    return text[:at] + draw(st.sampled_from("-0fFgé \n")) + text[at + 1 :]


IDS = st.one_of(
    UUIDS,
    UUIDS.map(str.upper),
    UUIDS.map(lambda text: text.replace("-", "")),
    almost_uuids(),
    st.text(min_size=1, max_size=64),
)


@examples(300)
@given(ids=st.one_of(st.lists(UUIDS, max_size=9), st.lists(IDS, max_size=9)))
def test_every_id_has_a_key_of_its_own_whichever_come_with_it(ids: list[str]) -> None:
    keys = list(id_keys(ids))
    assert keys == [id_key(each) for each in ids]
    distinct = {key if isinstance(key, str) else bytes(key) for key in keys}
    assert len(distinct) == len(set(ids))


@given(UUIDS)
def test_a_uuid_in_its_usual_form_takes_16_bytes(text: str) -> None:
    assert id_key(text) == uuid.UUID(text).bytes


@given(UUIDS.map(str.upper).filter(lambda text: text != text.lower()))
def test_another_form_of_a_uuid_is_another_id(text: str) -> None:
    assert id_key(text) == text
