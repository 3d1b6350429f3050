"""The command line. Each file in ``commands/`` registers one command, or the actions of one.

``main`` parses and dispatches, ``command`` holds the registrations, ``options`` the options that
several commands share, ``terminal`` progress bars and tables. Commands may import every other room;
they do so inside their functions, so that ``--help`` is quick and works on a broken install.
"""
