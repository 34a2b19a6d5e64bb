"""buddyctl explain."""

import json
from collections.abc import Iterator

import msgspec
import pytest

from buddyd.domain.answers import Answer, Everything
from tests.support import gallery
from tests.support.buddyctl import buddyctl
from tests.support.peer import Asked, Peer, running


@pytest.fixture
def peer() -> Iterator[Peer]:
    with running(gallery.script) as peer:
        yield peer


def namesake(asked: Asked) -> Answer:
    """As the gallery, with a tool that is called like an agent."""
    answer = gallery.script(asked)
    if isinstance(answer, Everything):
        profile = msgspec.structs.replace(answer.learning.tool_profiles[2], tool_name="scout")
        learning = msgspec.structs.replace(answer.learning, tool_profiles=[profile])
        return msgspec.structs.replace(answer, learning=learning)
    return answer


@pytest.mark.parametrize(
    ("words", "title"),
    [
        (["python"], "Tool python"),
        (["tool", "python"], "Tool python"),
        (["scout"], "Agent scout"),
        (["agent", "scout"], "Agent scout"),
    ],
)
def test_a_name_is_explained(peer: Peer, words: list[str], title: str) -> None:
    done = buddyctl("explain", *words, socket=peer.socket)
    assert done.returncode == 0
    assert done.stdout.splitlines()[0] == title


def test_a_name_of_both_has_to_be_told_apart() -> None:
    with running(namesake) as peer:
        done = buddyctl("explain", "scout", socket=peer.socket)
        assert done.returncode == 2
        assert done.stderr == (
            "buddyctl: A tool and an agent are called 'scout': say `buddyctl explain tool scout` "
            "or `buddyctl explain agent scout`. See `buddyctl explain --help`.\n"
        )
        assert buddyctl("explain", "tool", "scout", socket=peer.socket).returncode == 0
        assert buddyctl("explain", "agent", "scout", socket=peer.socket).returncode == 0


def test_a_name_that_nobody_has_is_an_error_that_knows_the_next(peer: Peer) -> None:
    done = buddyctl("explain", "scuot", socket=peer.socket)
    assert done.returncode == 1
    assert done.stderr == (
        "buddyctl: Neither a tool nor an agent is called 'scuot'; did you mean scout?\n"
    )
    done = buddyctl("explain", "tool", "scout", socket=peer.socket)
    assert done.stderr.startswith("buddyctl: No tool is called 'scout'; ")


def test_json_has_the_sentences(peer: Peer) -> None:
    document = json.loads(buddyctl("explain", "scout", "--json", socket=peer.socket).stdout)
    assert (document["kind"], document["name"]) == ("agent", "scout")
    assert document["explanation"]["Status"][0].startswith("scout is BUSY: it is working on t-77")
