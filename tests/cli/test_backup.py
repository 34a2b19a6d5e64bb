"""buddyctl backup."""

import os
import subprocess
from pathlib import Path

from buddyd.protocol.messages import Backup
from tests.support.buddyctl import PROGRAM, environment
from tests.support.peer import running
from tests.support.samples import ANSWERS


def test_the_path_is_the_callers_not_the_daemons(tmp_path: Path) -> None:
    with running(lambda asked: ANSWERS[asked.method]) as peer:
        done = subprocess.run(
            [*PROGRAM, "backup", "../copies/today.db"],
            cwd=tmp_path,
            env=environment(peer.socket),
            capture_output=True,
            text=True,
            check=True,
        )
        asked = peer.asked[0].params
    assert isinstance(asked, Backup)
    assert os.path.normpath(asked.path) == str(tmp_path.parent / "copies/today.db")
    assert "The copy is complete" in done.stdout
    assert "1.2 MiB" in done.stdout
