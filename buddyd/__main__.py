"""`python -m buddyd` runs the daemon."""

from buddyd.program import main

if __name__ == "__main__":
    main()
