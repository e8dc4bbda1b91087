"""What stops a run: a message that says what was wrong and what to do."""


class BenchError(Exception):
    """The run cannot go on, or a figure cannot be believed."""
