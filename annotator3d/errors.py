"""Errors that the command line tells apart. Imports nothing, so it works on a broken install."""


class ConfigError(ValueError):
    """What the user asked for is not a run: the command line or a config is wrong."""
