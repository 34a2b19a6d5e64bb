"""What a terminal sends for a key."""

import codecs
import re

# A cursor key or the like: CSI or SS3, parameters, and the byte that ends it.
_SEQUENCE = re.compile(r"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|O[@-~])")
_INCOMPLETE = re.compile(r"\x1b(?:\[[0-9;?]*[ -/]*|O)?\Z")

_NAMES = {
    "A": "up",
    "B": "down",
    "C": "right",
    "D": "left",
    "H": "home",
    "F": "end",
    "Z": "back-tab",
    "1~": "home",
    "4~": "end",
    "5~": "page-up",
    "6~": "page-down",
    "7~": "home",
    "8~": "end",
}
_CONTROLS = {
    "\r": "enter",
    "\n": "enter",
    "\t": "tab",
    "\x7f": "backspace",
    "\x08": "backspace",
    "\x1b": "escape",
    "\x0c": "redraw",
}


class Keys:
    """Cuts what comes into keys: their names, or the character that was typed."""

    def __init__(self) -> None:
        self._decode = codecs.getincrementaldecoder("utf-8")("ignore").decode
        self._text = ""

    @property
    def waiting(self) -> bool:
        """Whether what has come may be the beginning of something, or the escape key."""
        return bool(self._text)

    def feed(self, data: bytes) -> list[str]:
        """The keys that are complete with `data`."""
        self._text += self._decode(data)
        found = []
        while self._text and not _INCOMPLETE.match(self._text):
            found += self._cut()
        return found

    def flush(self) -> list[str]:
        """Nothing more came: what waits stands for itself."""
        text, self._text = self._text, ""
        return ["escape"] if text else []

    def _cut(self) -> list[str]:
        if sequence := _SEQUENCE.match(self._text):
            self._text = self._text[sequence.end() :]
            # With Shift or Ctrl held there are parameters, which do not matter here.
            code = sequence[0][2:]
            number = code.partition(";")[0].rstrip("~")
            name = _NAMES.get(f"{number}~" if code.endswith("~") else code[-1])
            return [name] if name else []
        key, self._text = self._text[0], self._text[1:]
        if key in _CONTROLS:
            return [_CONTROLS[key]]
        return [key] if key.isprintable() else []
