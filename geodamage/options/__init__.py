"""Options: the one list of what the commands may be told, from which all else is made.

A row of `table` makes the option of every command that it names, in the order of the table. It also
makes the column of a list of scenes, the check of a field of a job, and an entry of
`geodamage options --json`. Nothing heavy is imported here: `--help` stands on it.

To add an option, add its row. Give a field of that name to the dataclass that the row names as its
taker. Use the field, and test what it does.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
