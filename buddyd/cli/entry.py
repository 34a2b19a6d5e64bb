"""What the command `buddyctl` calls first: Ctrl-C is quiet from here on, also while all loads."""

import sys

EXIT_INTERRUPTED = 130


def main() -> None:
    """Run buddyctl and exit."""
    try:
        from buddyd.cli.main import main as run  # noqa: PLC0415 -- That is what takes its time.

        run()
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)


if __name__ == "__main__":
    main()
