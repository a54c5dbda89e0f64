"""The one exception for what the user can mend."""


class MukiError(Exception):
    """Something in the user's files, settings or arguments is wrong and can be put right.

    Args:
        what: What is wrong, with the offending value.
        where: The file, row, key or teacher it is wrong in.
        fix: What to do about it, as an imperative.
    """

    def __init__(self, what: str, *, where: str, fix: str) -> None:
        super().__init__(" ".join(f"{where}: {what}. {fix}.".split()))  # libraries' own messages may have many lines
        self.what, self.where, self.fix = what, where, fix


def first(values: list[str], limit: int = 3) -> str:
    """The first few of `values`, quoted, with a count of the rest: what an error message has room for."""
    shown = ", ".join(repr(value) for value in values[:limit])
    return shown if len(values) <= limit else f"{shown} and {len(values) - limit} more"
