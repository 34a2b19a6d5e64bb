"""Values as a person reads them: with units, relative to now, and safe to print."""

import math
from datetime import UTC, datetime

from buddyd.cli.render.view import Cell, Interval, Plain, Series, Tone
from buddyd.domain.answers import Level
from buddyd.domain.wording import significant

_MINUTE, _HOUR, _DAY = 60, 3600, 86_400
_ROUNDS_TO_A_SECOND = 0.9995
_KILOBYTE = 1024
_LEAST = 0.0001
_BROAD_POINTS = 2
_GOOD_RATE, _FAIR_RATE = 0.95, 0.80

_LEVEL_TONES: dict[Level, Tone] = {"HIGH": "good", "MEDIUM": "warning", "LOW": "bad"}

NOTHING = Cell("\N{EN DASH}", None, "quiet")
"""There is nothing to tell."""


def printable(text: str) -> str:
    r"""`text` with everything escaped that could drive a terminal or hide: ESC becomes `\x1b`."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def name(text: str | None, tone: Tone | None = None) -> Cell:
    """A word that a client chose."""
    return NOTHING if text is None else Cell(printable(text), text, tone)


def names(texts: list[str]) -> Cell:
    """Some of them."""
    return name(", ".join(texts)) if texts else NOTHING


def foremost(texts: list[str]) -> Cell:
    """The first of them, and how many more there are; machines are told all."""
    if not texts:
        return NOTHING
    more = f" +{len(texts) - 1}" if len(texts) > 1 else ""
    return Cell(f"{printable(texts[0])}{more}", ", ".join(texts))


def word(text: str, tones: dict[str, Tone] | None = None) -> Cell:
    """A word of the daemon's, in the tone that `tones` gives it."""
    return Cell(printable(text), text, (tones or {}).get(text))


def count(number: int, tone: Tone | None = None) -> Cell:
    """How many; thousands are set apart, and zero is quiet."""
    return Cell(f"{number:,}", number, tone if number else "quiet")


def rate(share: float, of: int) -> Cell:
    """A success rate in percent; there is none where nothing was tried."""
    if not of:
        return NOTHING
    return Cell(percent(share), share, rate_tone(share))


def rate_tone(share: float) -> Tone:
    """What a success rate looks like."""
    return "good" if share >= _GOOD_RATE else "warning" if share >= _FAIR_RATE else "bad"


def percent(share: float) -> str:
    """A share of 1 in percent. Only the whole is said to be 100 %, and only nothing 0 %."""
    tenths = round(share * 1000)
    if share < 1.0:
        tenths = min(tenths, 999)
    if share > 0.0:
        tenths = max(tenths, 1)
    return f"{tenths / 10:g} %" if tenths in {0, 1000} else f"{tenths / 10:.1f} %"


def between(low: float, high: float, value: tuple[Plain, ...] | None = None) -> Cell:
    """An interval of percentages; machines are told `value`, or else these bounds."""
    places = 0 if high - low >= _BROAD_POINTS or low == high else 1
    return Cell(f"{low:.{places}f}\N{EN DASH}{high:.{places}f} %", value or (low, high))


def interval(low: float, value: float, high: float, tone: Tone | None = None) -> Cell:
    """A bar for shares of 1."""
    return Cell("", None, tone, Interval(low, value, high))


def series(values: list[float], text: str, tone: Tone | None = None) -> Cell:
    """A sparkline, and what it says."""
    return Cell(text, text, tone, Series(values))


def level(which: Level, probability: float) -> Cell:
    """A tool's confidence, and how probable it is that it is the true one."""
    return Cell(f"{which} ({percent(probability)})", (which, probability), _LEVEL_TONES[which])


def money(dollars: float) -> Cell:
    """US dollars: cents, and below one dollar as many places as tell something."""
    if not dollars or dollars >= 1:
        text = f"${dollars:,.2f}"
    elif dollars >= _LEAST:
        text = f"${dollars:.4f}"
    else:
        text = f"<${_LEAST:.4f}"
    return Cell(text, dollars, None if dollars else "quiet")


def seconds(duration: float) -> Cell:
    """How long, in the unit that suits it."""
    return Cell(span(duration), duration)


def span(duration: float) -> str:
    """`duration` seconds as `840 ms`, `1.23 s`, `12.3 s`, `2.5 min`, `3 h 5 min` or `2 d 4 h`."""
    if duration < _MINUTE:
        return _below_a_minute(duration)
    minutes = round(duration / _MINUTE)
    if minutes < _MINUTE:
        return f"{duration / _MINUTE:.2g} min"
    if minutes < _DAY // _MINUTE:
        return _two(minutes // _MINUTE, "h", minutes % _MINUTE, "min")
    hours = round(duration / _HOUR)
    return _two(hours // 24, "d", hours % 24, "h")


def _below_a_minute(duration: float) -> str:
    if 0 < duration < _ROUNDS_TO_A_SECOND:
        return f"{significant(duration * 1000)} ms"
    return f"{significant(duration)} s"


def _two(large: int, large_unit: str, small: int, small_unit: str) -> str:
    return f"{large} {large_unit} {small} {small_unit}" if small else f"{large} {large_unit}"


def ago(then: str, now: str) -> Cell:
    """How long before `now`; both are RFC 3339."""
    gone = (_parsed(now) - _parsed(then)).total_seconds()
    return Cell("now" if gone < 1 else f"{_whole(gone)} ago", then)


def due(then: str | None, now: str) -> Cell:
    """How long after `now`; both are RFC 3339."""
    if then is None:
        return NOTHING
    left = (_parsed(then) - _parsed(now)).total_seconds()
    return Cell("now" if left < 1 else f"in {_whole(left)}", then)


def _whole(duration: float) -> str:
    """A distance in time in one unit, as it is said in passing."""
    for unit, length in (("d", _DAY), ("h", _HOUR), ("min", _MINUTE)):
        if duration >= length:
            return f"{int(duration // length)} {unit}"
    return f"{int(duration)} s"


def hour(start: str) -> Cell:
    """An hour of the day, in UTC."""
    return Cell(f"{_parsed(start).astimezone(UTC):%H:%M}", start)


def size(bytes_: float) -> Cell:
    """Bytes, in the unit that suits them."""
    power = min(int(math.log(max(bytes_, 1), _KILOBYTE)), 4)
    scaled, unit = bytes_ / _KILOBYTE**power, ("B", "KiB", "MiB", "GiB", "TiB")[power]
    return Cell(f"{scaled:,.0f} {unit}" if power == 0 else f"{scaled:,.1f} {unit}", bytes_)


def said(text: str, value: Plain = None, tone: Tone | None = None) -> Cell:
    """A text of one's own."""
    return Cell(printable(text), text if value is None else value, tone)


def _parsed(moment: str) -> datetime:
    return datetime.fromisoformat(moment)
