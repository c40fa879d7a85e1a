"""Reads the file .env beside manage.py."""
import os


def load(path):
    """Sets what the file says, except what the environment says already."""
    if not path.exists():
        return
    for line in path.read_text().splitlines():
        name, separator, value = line.partition("=")
        if separator and not line.lstrip().startswith("#"):
            os.environ.setdefault(name.strip(), value.strip())
