"""The exercises' checkers: each takes what a reader wrote and says what is right, or names the mistake."""

import functools
from collections.abc import Callable
from typing import NamedTuple


class Verdict(NamedTuple):
    """Whether an answer is right, and one sentence that says why or where to look."""

    right: bool
    message: str

    def __repr__(self) -> str:
        return ("Right. " if self.right else "Not yet. ") + self.message


def right(message: str) -> Verdict:
    return Verdict(True, message)


def wrong(message: str) -> Verdict:
    return Verdict(False, message)


def exercise(check: Callable[..., Verdict]) -> Callable[..., Verdict]:
    """Make a checker raise nothing: an unfinished or failing answer gets a sentence as well."""

    @functools.wraps(check)
    def checked(*answers) -> Verdict:
        if any(answer is None or answer is Ellipsis for answer in answers):
            return wrong("There is no answer yet: replace None by yours, and run both cells again.")
        try:
            return check(*answers)
        except NotImplementedError:
            return wrong("There is no answer yet: replace the line that raises NotImplementedError, and run both cells again.")
        except Exception as error:  # whatever a reader's code can raise; it is shown, not hidden
            return wrong(f"Your code stopped with {type(error).__name__}: {error}")

    return checked
