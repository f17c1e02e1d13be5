"""``python -m realgrain``."""

from realgrain.faces.cli import entry

if __name__ == "__main__":
    entry()
