"""What a coding agent says to its hooks about the use of a tool.

The agents agree on the members `session_id`, `hook_event_name`, `tool_name`, `tool_input` and
`tool_response`, and differ in the rest: some write camelCase, some have a failure as an event of
its own, others as a member of the response. What is told nowhere is left open.
"""

from collections.abc import Mapping
from typing import NamedTuple

Event = Mapping[str, object]

_BEGUN = ("pre", "before")
_FINISHED = ("post", "after")
_LONGEST_NAME = 256
_LONGEST_ERROR = 128


class ToolUse(NamedTuple):
    """One event in the life of a tool's use."""

    tool_name: str
    task_id: str
    """The session."""
    use_id: str
    """What tells it from others of its session; empty where the agent says nothing of the kind."""
    finished: bool
    error_type: str | None
    duration_seconds: float | None
    tokens: int


def tool_use(event: Event) -> ToolUse | None:
    """What an event says; None where it is about something else."""
    tool = _text(event, "tool_name", "toolName")
    kind = _text(event, "hook_event_name", "hookEventName", "event").lower()
    if not tool or (kind and not kind.startswith((*_BEGUN, *_FINISHED))):
        return None
    response = _response(event)
    return ToolUse(
        tool_name=_name(tool) or "tool",
        task_id=_name(_text(event, "session_id", "sessionId", "conversation_id")) or "session",
        use_id=_text(event, "tool_use_id", "toolUseId", "tool_call_id"),
        finished=not kind.startswith(_BEGUN),
        error_type=_error_type(kind, event, response),
        duration_seconds=_duration(event, response),
        tokens=int(_number(response, "totalTokens", "total_tokens")),
    )


def _response(event: Event) -> Event:
    for name in ("tool_response", "toolResponse", "tool_result", "tool_output"):
        value = event.get(name)
        if isinstance(value, dict):
            return value
    return {}


def _error_type(kind: str, event: Event, response: Event) -> str | None:
    """A class of failures with few members; None for a success."""
    error = event.get("error") or response.get("error")
    if (code := _exit_code(response)) or (code := _exit_code_in(error)):
        return f"exit_{code}"
    if event.get("is_interrupt") or response.get("interrupted"):
        return "interrupted"
    if "timed out" in str(error):
        return "timeout"
    if isinstance(error, dict) and (named := _text(error, "type", "name")):
        return _name(named)[:_LONGEST_ERROR] or "error"
    flags = (response.get("success") is False, response.get("is_error"), response.get("isError"))
    return "error" if error or kind.endswith("failure") or any(flags) else None


def _exit_code(response: Event) -> int:
    return int(_number(response, "exit_code", "exitCode", "return_code", "returnCode"))


def _exit_code_in(error: object) -> int:
    """The `7` of an error whose first line says `Exit code 7`."""
    words = str(error).partition("\n")[0].split()
    told = len(words) > 2 and [word.lower() for word in words[:2]] == ["exit", "code"]  # noqa: PLR2004
    return int(words[2]) if told and words[2].isdecimal() else 0


def _duration(event: Event, response: Event) -> float | None:
    names = ("duration_ms", "durationMs", "totalDurationMs", "duration")
    milliseconds = _number(event, *names) or _number(response, *names)
    return milliseconds / 1000 if milliseconds > 0 else None


def _number(event: Event, *names: str) -> float:
    for name in names:
        value = event.get(name)
        if isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e12:  # noqa: PLR2004
            return value
    return 0


def _text(event: Event, *names: str) -> str:
    for name in names:
        value = event.get(name)
        if isinstance(value, str) and value:
            return value
    return ""


def _name(text: str) -> str:
    """As much of a text as can be a name: neither control characters nor halves of characters."""
    whole = text.encode(errors="replace").decode()
    printable = "".join(c for c in whole if not ("\x7f" <= c <= "\x9f" or c < " "))
    return printable[:_LONGEST_NAME]
