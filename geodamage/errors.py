"""Every error and warning that geodamage raises.

GeodamageError                                  exit code 1
├─ OptionError         (ValueError)             2   an option or argument makes no sense
├─ InputError                                   4   an input is refused
│  ├─ SceneError       (ValueError)                 the image pair cannot be used
│  ├─ SceneReadError   (OSError)                    pixels cannot be read
│  ├─ FootprintError   (ValueError)                 the footprints cannot be used
│  ├─ LabelError       (ValueError)                 a label file cannot be used
│  ├─ ScoringError     (ValueError)                 a prediction or target cannot be scored
│  ├─ ManifestError    (ValueError)                 a list of scenes cannot be used
│  ├─ AnswersError     (ValueError)                 what reviewers said cannot be used
│  └─ AdaptationError  (ValueError)                 a result cannot be adapted
├─ ModelError          (ValueError)             5   a model is refused
│  ├─ ModelNotFoundError (FileNotFoundError)
│  ├─ ChecksumError
│  ├─ CheckpointError                               published weights do not fit a network
│  └─ DeviceError                                   the device asked for is not there
├─ OutputError         (OSError)                6   a result cannot be written
│  ├─ OutputExistsError (FileExistsError)
│  └─ LedgerError                                   the record of a batch cannot be used
├─ ResourceError       (MemoryError)            7   a limit on memory or size is too small
└─ MissingExtraError   (ImportError)            2   an optional package is not installed

GeodamageWarning (UserWarning)
├─ GsdWarning                                   the GSD is outside the model's range
└─ SceneWarning                                 the pair is usable, and something about it is odd

Every message is one line: what, which file, why, what to do.
"""

import re
from typing import ClassVar

#: Parameters of signed URLs that are a key, wherever they stand: a text may be no whole URL.
_KEYS = re.compile(
    r"(?P<key>[?&;#](?:[\w-]*(?:signature|credential|token|secret|password|api[_-]?key)|sig|key)=)"
    r"[^\s&;'\"<>]+",
    re.IGNORECASE,
)
#: A path of GDAL's for an object of a store, with what follows the question mark.
_STORES = re.compile(r"(?P<place>/vsi(?:s3|gs|az|adls|oss|swift)/[^\s?'\"<>]*)\?[^\s'\"<>:;,)]*")
#: A user and a password before a host, and what follows the question mark: keys and signatures.
_SECRETS = re.compile(
    r"(?P<scheme>\b[a-z][a-z0-9+.-]*://)(?P<user>[^/\s?#@'\"<>]*@)?(?P<place>[^\s?#'\"<>]*)"
    r"(?P<query>\?[^\s'\"<>]*?(?=[:;,.)\]}]*(?:[\s'\"<>]|$)))?",
    re.IGNORECASE,
)


def without_secrets(text: str) -> str:
    """Return a text whose URLs tell no password, key or signature.

    A signed URL is a key to the file, and results, reports and messages are handed on.
    """
    if "?" not in text and "://" not in text:
        return text
    hidden = _STORES.sub(lambda found: f"{found['place']}?***", _SECRETS.sub(_without, text))
    return _KEYS.sub(lambda found: f"{found['key']}***", hidden)


def _without(found: re.Match[str]) -> str:
    user, query = "***@" if found["user"] else "", "?***" if found["query"] else ""
    return f"{found['scheme']}{user}{found['place']}{query}"


def install(*extras: str) -> str:
    """Return the command that installs extras, for messages: geodamage is in no index yet."""
    return f'pip install ".[{",".join(extras)}]" in your clone of geodamage'


class GeodamageError(Exception):
    """Any error that geodamage raises on purpose; its message tells no secret of a URL."""

    exit_code: ClassVar[int] = 1

    def __init__(self, *words: object) -> None:
        super().__init__(*(without_secrets(w) if isinstance(w, str) else w for w in words))


class OptionError(GeodamageError, ValueError):
    """An option or argument makes no sense."""

    exit_code = 2


class InputError(GeodamageError):
    """An input is refused."""

    exit_code = 4


class SceneError(InputError, ValueError):
    """The image pair cannot be used."""


class SceneReadError(InputError, OSError):
    """Pixels of an image cannot be read."""


class FootprintError(InputError, ValueError):
    """The footprints cannot be used."""


class LabelError(InputError, ValueError):
    """A label file cannot be used."""


class ScoringError(InputError, ValueError):
    """A prediction or target cannot be scored."""


class ManifestError(InputError, ValueError):
    """A list of scenes cannot be used."""


class AnswersError(InputError, ValueError):
    """What reviewers said of buildings cannot be used."""


class AdaptationError(InputError, ValueError):
    """A result cannot be adapted."""


class ModelError(GeodamageError, ValueError):
    """A model is refused."""

    exit_code = 5


class ModelNotFoundError(ModelError, FileNotFoundError):
    """There is no such model."""


class ChecksumError(ModelError):
    """The bytes of a model are not those that its card names."""


class CheckpointError(ModelError):
    """Published weights do not fit a network."""


class DeviceError(ModelError):
    """The device asked for is not there."""


class OutputError(GeodamageError, OSError):
    """A result cannot be written."""

    exit_code = 6


class OutputExistsError(OutputError, FileExistsError):
    """A result would replace a file, and nobody asked for that."""


class LedgerError(OutputError):
    """The record of a batch cannot be used."""


class ResourceError(GeodamageError, MemoryError):
    """A limit on memory or size is too small for the work."""

    exit_code = 7


class MissingExtraError(GeodamageError, ImportError):
    """An optional package is not installed."""

    exit_code = 2


class GeodamageWarning(UserWarning):
    """Something a user should know about a result."""

    def __init__(self, *words: object) -> None:
        super().__init__(*(without_secrets(w) if isinstance(w, str) else w for w in words))


class GsdWarning(GeodamageWarning):
    """The ground sample distance is outside the range the model was made for."""


class SceneWarning(GeodamageWarning):
    """The pair is usable, and something about it is odd."""


def one_line(error: BaseException) -> str:
    """Return what an error says, in one line."""
    return " ".join(str(error).split())


def without_advice(error: BaseException) -> str:
    """Return what GDAL says, in one line, without the advice for its own command line."""
    return one_line(error).partition(";")[0]
