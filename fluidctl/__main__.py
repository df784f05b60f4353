"""``python -m fluidctl``."""

from fluidctl.cli import entry

if __name__ == "__main__":
    entry()
