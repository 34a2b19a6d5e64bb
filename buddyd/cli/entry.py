"""Where the program `buddyctl` begins.

`buddyctl hook` is called too often to load all the rest, and Ctrl-C is quiet while that loads.
"""

import sys

EXIT_INTERRUPTED = 130


def main() -> None:
    """Run buddyctl and exit."""
    try:
        _run(sys.argv[1:])
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)


def _run(words: list[str]) -> None:
    if words[:1] == ["hook"] and not {"-h", "--help"} & set(words):
        from buddyd.cli import hooking  # One of the two is loaded.

        hooking.run(words[1:])
    from buddyd.cli.main import main as buddyctl  # The other one.

    buddyctl()


if __name__ == "__main__":
    main()
