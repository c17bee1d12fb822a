"""The version, alone in its file so that building reads it without imports."""

__version__ = "0.2.0"
