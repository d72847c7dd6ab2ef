"""The version, in one place: read by the build, the command line and the User-Agent."""

__version__ = "0.1.0"
