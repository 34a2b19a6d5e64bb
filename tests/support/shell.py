"""A shell with job control for one job: run as a program, on a terminal whose session it leads.

It runs its arguments as the foreground job, says `stopped` when the job stops and continues it,
and says at last how the job ended.
"""

import os
import signal
import sys


def main() -> None:
    # A shell is in the background while its job has the terminal, and may write all the same.
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    job = os.fork()
    if job == 0:
        os.setpgid(0, 0)
        os.tcsetpgrp(0, os.getpid())
        signal.signal(signal.SIGTTOU, signal.SIG_DFL)
        os.execvp(sys.argv[1], sys.argv[1:])
    while True:
        _, status = os.waitpid(job, os.WUNTRACED)
        if not os.WIFSTOPPED(status):
            break
        print("stopped", flush=True)
        os.killpg(job, signal.SIGCONT)
    print(f"ended {os.waitstatus_to_exitcode(status)}", flush=True)


if __name__ == "__main__":
    main()
