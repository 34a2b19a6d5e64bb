"""What a tracker told of a sum that only grows: its course over the last day, in few points."""

from collections.abc import Sequence

from msgspec import Struct

from buddyd.domain.windows import DAY_MINUTES, HOUR, MINUTE

DAY = DAY_MINUTES * MINUTE


class Point(Struct, frozen=True, array_like=True):
    """What the sum was at a time (Unix seconds), in billionths of a dollar."""

    time: float
    value: int
    estimate: int | None = None


def follow(points: Sequence[Point], newest: Point) -> list[Point]:
    """The course with its newest point: about one an hour, over the last day.

    What the newest contradicts is forgotten: points of later times, and all of them where the sum
    has become smaller, because it has begun anew.
    """
    if points and newest.value < points[-1].value:
        return [newest]
    course = [point for point in points if point.time < newest.time]
    if len(course) > 1 and course[-1].time - course[-2].time < HOUR:
        course.pop()
    course.append(newest)
    while len(course) > 2 and course[1].time <= newest.time - DAY:  # noqa: PLR2004 - its ends
        course.pop(0)
    return course
