"""Words of messages: a number with its noun."""


def counted(number: int, noun: str, several: str | None = None) -> str:
    """Return a number with its noun, in the singular where it is one.

    Parameters
    ----------
    number
        How many.
    noun
        What follows 1, with its verb where there is one: `scene`, `scene is`.
    several
        What follows every other number; None adds an s.

    Examples
    --------
    >>> counted(1, "scene"), counted(2000, "scene"), counted(0, "is", "are")
    ('1 scene', '2,000 scenes', '0 are')
    """
    return f"{number:,} {noun if number == 1 else several or f'{noun}s'}"
