"""`python -m geodamage`."""

from geodamage.cli import main

if __name__ == "__main__":
    main()
