"""The one exception type of bad input."""


class InputError(ValueError):
    """Input that the user can correct: a file, a key, a value, an id.

    The message is one sentence that names the file or key, what was found and the remedy. The command line prints it
    without a traceback and exits with status 2; nothing has been written when it is raised.
    """
