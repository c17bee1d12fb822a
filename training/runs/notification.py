"""Notification: a message by e-mail, chat or webhook when a run has ended.

Where to is said by the environment alone, since the addresses hold passwords:

    export GEODAMAGE_NOTIFY="mailto://user:password@example.org ntfy://my-topic json://host/hook"

Addresses are those of apprise (https://github.com/caronc/apprise), apart by spaces or commas. None
of them is ever printed or written.
"""

import os
import re
from collections.abc import Mapping
from typing import Any

from geodamage.errors import GeodamageError, OptionError
from training.extras import optional

VARIABLE = "GEODAMAGE_NOTIFY"
#: A comma may be part of an address, so it parts two only where another scheme follows.
_BETWEEN = re.compile(r"[\s,]+(?=[A-Za-z][A-Za-z0-9+.-]*://)")


class NotificationError(GeodamageError):
    """A notification did not arrive."""


class Notifier:
    """Sends a text to every address; with none it does nothing.

    Parameters
    ----------
    addresses
        URLs of apprise.

    Raises
    ------
    MissingExtraError
        If there are addresses, and apprise is not installed.
    OptionError
        If apprise cannot read one; it is named by its number, for it holds secrets.
    """

    def __init__(self, addresses: list[str]) -> None:
        self._services: list[Any] = []
        if not addresses:
            return
        apprise = optional("apprise", "train")
        for number, address in enumerate(addresses, 1):
            service = apprise.Apprise()
            if not service.add(address):
                raise OptionError(
                    f"{VARIABLE}: address {number} of {len(addresses)} is none that apprise "
                    "knows; write it as SCHEME://..., as apprise's manual says"
                )
            self._services.append(service)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Notifier":
        """Return a notifier for the addresses of `GEODAMAGE_NOTIFY`."""
        text = environment.get(VARIABLE, "").strip(" \t\r\n,")
        return cls(_BETWEEN.split(text) if text else [])

    def send(self, title: str, text: str) -> None:
        """Send a text to every address.

        Raises
        ------
        NotificationError
            If it did not reach all of them; the others have it.
        """
        # Apprise waits four seconds for a connection and four for the answer, then gives up.
        failed = [
            str(number)
            for number, service in enumerate(self._services, 1)
            if not service.notify(title=title, body=text)
        ]
        if failed:
            raise NotificationError(
                f"{VARIABLE}: address {', '.join(failed)} of {len(self._services)} could not be "
                "notified; try it by hand with the command apprise"
            )
