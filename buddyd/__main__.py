"""`python -m buddyd` runs the daemon."""

from buddyd.daemon import main

if __name__ == "__main__":
    main()
