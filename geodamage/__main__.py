"""`python -m geodamage`."""

from geodamage.cli import run

if __name__ == "__main__":
    run()
