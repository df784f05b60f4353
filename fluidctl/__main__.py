"""``python -m fluidctl``."""

import sys

from fluidctl.cli import main

if __name__ == "__main__":
    sys.exit(main())
