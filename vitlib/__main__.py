"""`python -m vitlib COMMAND`: the package from a terminal."""

from .cli import main

if __name__ == "__main__":
    main()
