"""What the configuration allows, the arithmetic bears: each setting at its least and its most."""

import math
from collections.abc import Iterator
from functools import reduce
from typing import Any

import msgspec
import pytest
from hypothesis import given
from msgspec import inspect

from buddyd.config import Settings
from buddyd.domain.risk import Risks
from buddyd.domain.settings import DomainSettings
from tests.domain.test_projections import KINDS, Life
from tests.oracle import Oracle
from tests.support.workloads import Workload, examples, workloads

SECTIONS = ("retention", "agents", "learning", "capacity", "cost", "risk")
"""Those that the arithmetic depends on; budgets have tests of their own."""


def bounds(kind: Any) -> tuple[Any, Any]:  # noqa: ANN401 - of two kinds of number
    """The least and the most that a number may be."""
    least = kind.ge if kind.gt is None else math.nextafter(kind.gt, math.inf)
    return (kind.ge, kind.le) if isinstance(kind, inspect.IntType) else (float(least), kind.le)


def numbers() -> Iterator[tuple[str, str, int | float]]:
    """Every setting at each of its bounds: section, key, value."""
    root = inspect.type_info(Settings)
    assert isinstance(root, inspect.StructType)
    for section in root.fields:
        if section.name in SECTIONS:
            assert isinstance(section.type, inspect.StructType)
            for field in section.type.fields:
                for value in bounds(field.type):
                    yield section.name, field.name, value


ALL = list(numbers())


def changed(settings: Settings, number: tuple[str, str, int | float]) -> Settings:
    section, key, value = number
    changed_section = msgspec.structs.replace(getattr(settings, section), **{key: value})
    return msgspec.structs.replace(settings, **{section: changed_section})


CASES = {
    "all at the least": reduce(changed, ALL[::2], Settings()),
    "all at the most": reduce(changed, ALL[1::2], Settings()),
} | {f"{number[1]} = {number[2]}": changed(Settings(), number) for number in ALL}


def test_every_section_has_bounds() -> None:
    assert {section for section, _, _ in ALL} == set(SECTIONS)
    assert all(math.isfinite(value) for _, _, value in ALL)


@pytest.mark.parametrize("case", CASES)
@examples(5)
@given(workload=workloads())
def test_each_projection_folds_and_answers(case: str, workload: Workload) -> None:
    settings = msgspec.structs.replace(CASES[case], timezone=workload.settings.timezone)
    oracle = Oracle(settings)
    lives = [Life(kind, settings) for kind in KINDS.values()]
    for step in workload.steps:
        before = len(oracle.entries)
        oracle.send(step.at, step.request)
        for life in lives:
            life.fold(oracle.entries[before:], step.at)
            life.put_away(step.at)
            life.crash(step.at)
    for kind, life in zip(KINDS.values(), lives, strict=True):
        assert msgspec.json.encode(kind.answers(life.projection, workload.end))
        if isinstance(life.projection, Risks):
            tell_alarms(life.projection, workload.end)


def tell_alarms(risks: Risks, now: float) -> None:
    assert risks.next_alarm(now, now) > now
    risks.take_alarms(now, -math.inf)
    assert not risks.has_untold_alarms(now, -math.inf)


def test_a_silence_too_short_to_make_a_difference_to_the_time_is_waited_for_in_vain() -> None:
    """The configuration does not allow it, but a moment that never comes is no error either."""
    risks = Risks(DomainSettings(offline_after_seconds=1e-8))
    assert risks.next_alarm(1.8e9, 0.0) == 1.8e9 + 3600
