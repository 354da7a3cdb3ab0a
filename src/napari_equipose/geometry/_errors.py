"""The one error that stands for a user's mistake."""


class InputError(ValueError):
    """Input that can't be used: what came, where from, and what to do about it.

    The command line prints its message as one line and ends with exit code 2; a widget shows
    it as one notification. Any other exception is a fault of ours.
    """
