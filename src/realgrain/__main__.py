"""``python -m realgrain``."""

import sys

from realgrain.faces.cli import main

if __name__ == "__main__":
    sys.exit(main())
