"""One file for each command, or for the actions of one; `cli.command` shows how to write one.

Every file here is imported to build the parser, so it imports other rooms inside its functions.
"""
