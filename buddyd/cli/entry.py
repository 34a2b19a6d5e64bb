"""Where the program `buddyctl` begins: `buddyctl hook` is too often called to load all the rest."""

import sys


def main() -> None:
    """Run buddyctl and exit."""
    words = sys.argv[1:]
    if words[:1] == ["hook"] and not {"-h", "--help"} & set(words):
        from buddyd.cli import hooking  # noqa: PLC0415 -- one of the two is loaded.

        hooking.run(words[1:])
    from buddyd.cli.main import main as buddyctl  # noqa: PLC0415 -- the other one.

    buddyctl()


if __name__ == "__main__":
    main()
