"""What the library raises: its own message, and the exception of Python that means the same."""

__all__ = [
    "CancelledError",
    "Error",
    "FormatError",
    "HalftoneWarning",
    "IoError",
    "UnsupportedError",
    "UsageError",
]


class Error(Exception):
    """Anything that a file, an argument or the machine can cause."""


class UsageError(Error, ValueError):
    """The caller asked for something that does not exist or cannot be combined."""


class FormatError(Error, ValueError):
    """A file breaks its own format."""


class UnsupportedError(Error, NotImplementedError):
    """A valid input that this version cannot handle."""


class IoError(Error, OSError):
    """The operating system refused: missing file, full disk, no memory to map."""


class CancelledError(Error):
    """The work was told to end."""


class HalftoneWarning(UserWarning):
    """A remark that a person should see, such as a fallback that was taken."""
