"""The one exception that every room's mistakes of the user derive from."""


class UsageError(Exception):
    """What the user asked for cannot be done as asked.

    The message is one sentence a problem, naming the file, the place and the remedy; the command
    line prints it and exits with code 2.
    """
