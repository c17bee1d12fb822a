"""Models: arrays in, arrays out, by ONNX Runtime or OpenVINO; and ensembles of them."""

import contextlib
import functools
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from geodamage.errors import ModelError, ModelNotFoundError
from geodamage.model.card import Card, read_card
from geodamage.model.engines import LIBRARY_BYTES, as_computed, is_openvino, open_session
from geodamage.model.ensemble import SavedMap
from geodamage.model.heads import Features, Heads, heads_of
from geodamage.model.parts import PartedSession
from geodamage.model.rules import PixelRules
from geodamage.model.session import first_line, return_memory, session_options
from geodamage.model.staged import StagedParts, StagedSession, is_here, open_stages

#: Larger files are refused before they are read.
LARGEST_MODEL = 2**31


class Model:
    """One model file, run by ONNX Runtime or OpenVINO.

    Attributes
    ----------
    card
        The facts inside the file.
    path
        Where it was read from.
    provider
        The execution provider and the runtime in use, one line.
    fixed_size
        Rows and columns of the only window that the graph takes; None where it takes any.
    resident_bytes
        Size of the file.
    """

    #: Saved maps that it reads: only an ensemble has them.
    maps: "tuple[SavedMap, ...]" = ()

    def __init__(
        self,
        path: Path,
        *,
        device: str = "auto",
        threads: int = 0,
        engine: str = "auto",
        precision: str = "stored",
        keeps_memory: bool = True,
    ) -> None:
        """Load a model.

        Parameters
        ----------
        path
            Path of a `.onnx`.
        device, threads, engine, precision
            The same as of `load_model`.
        keeps_memory
            Keep the working memory of a call for the next one. Of several sessions each would
            keep its own.

        Raises
        ------
        ModelError
            If it does not fit its card or does not run.
        """
        blob = read_model_bytes(path)
        self.path = path
        self._card = read_card(blob, str(path))
        self.resident_bytes = len(blob)
        self._options = options = session_options(threads, keeps_memory)
        self._session, self.provider = open_session(
            blob,
            self._card,
            path,
            device=device,
            engine=engine,
            precision=precision,
            options=options,
        )
        self._card = as_computed(self._card, self._session)
        if self._card.precision == "bfloat16" and self.staged is not None:
            self._session = StagedParts(self.staged, self._session)
        if is_openvino(self._session):
            self.resident_bytes += LIBRARY_BYTES
        del blob
        return_memory()
        self._inputs = [node.name for node in self._session.get_inputs()]
        self._outputs = [node.name for node in self._session.get_outputs()]
        self.fixed_size = _fixed_size(self._session)
        self._check()

    def __repr__(self) -> str:
        return f"<Model {self._card.name} {self._card.version}: {self._card.task}, {self.provider}>"

    @property
    def card(self) -> Card:
        """The facts inside the file."""
        return self._card

    @property
    def rules(self) -> PixelRules:
        """What the card says: its threshold for every grade, and whether background competes."""
        return PixelRules.of(self._card)

    @property
    def has_pixel_rules(self) -> bool:
        """Whether the rules are more than the threshold of the card."""
        return self._card.background_competes

    def __call__(self, pre: np.ndarray, post: np.ndarray) -> Heads:
        """Return the heads for uint8 `(n, c, rows, columns)` of both dates."""
        both = {"pre": pre, "post": post}
        images = {name: both[name] for name in self._inputs}
        self._check_images(images)
        with self._errors(pre.shape):
            found = self._session.run(self._outputs, images)
        named = dict(zip(self._outputs, found, strict=True))
        return Heads(named.get("localisation"), named.get("damage"))

    @property
    def is_parted(self) -> bool:
        """Whether `find` and `grade` say, one after the other, what a call says."""
        return isinstance(self._session, PartedSession)

    @functools.cached_property
    def staged(self) -> StagedSession | None:
        """The sessions of the stages of the graph; None where it has none, or not on a processor.

        They are started when they are asked for first.
        """
        if not isinstance(self._session, PartedSession) or not is_here(self._session):
            return None
        if self._card.precision == "bfloat16" and self._card.parity.get("in_stages") is not True:
            return None  # they round otherwise than the parts whose parity is known
        try:
            blob = read_model_bytes(self.path)
        except ModelError:
            return None  # no longer there: two parts say the same
        if read_card(blob, str(self.path)).sha256 != self._card.sha256:
            return None  # another model by now
        return open_stages(blob, self._card, self.path, self._session, self._options)

    def find(self, pre: np.ndarray) -> tuple[np.ndarray, Features]:
        """Return the localisation of uint8 `(n, c, rows, columns)`, and what grading needs."""
        self._check_images({"pre": pre})
        with self._errors(pre.shape):
            found: tuple[np.ndarray, Features] = self._session.find(pre)
        return found

    def grade(self, post: np.ndarray, features: Features) -> np.ndarray:
        """Return the damage head of uint8 `(n, c, rows, columns)`, with the features of `pre`."""
        self._check_images({"post": post})
        with self._errors(post.shape):
            damage: np.ndarray = self._session.grade(post, features)
        return damage

    @contextlib.contextmanager
    def _errors(self, shape: tuple[int, ...]) -> Iterator[None]:
        """Turn what a runtime raises into one line."""
        try:
            yield
        except ModelError:
            raise  # of a stage, in one line already
        except Exception as error:  # errors of the runtimes share no public root
            remedy = "try a smaller --tile or --batch-size"
            if any(side % self._card.stride for side in shape[2:]):
                remedy = f"give rows and columns that are multiples of {self._card.stride}"
            raise ModelError(
                f"{self.path}: does not run on {shape}: {first_line(error)}; {remedy}"
            ) from error

    def _check_images(self, images: dict[str, np.ndarray]) -> None:
        """Refuse what is no batch of windows, before a runtime says so in its own words."""
        wanted = {"pre": self._card.pre_channels, "post": self._card.post_channels}
        for name, image in images.items():
            channels, sides = len(wanted[name]), self.fixed_size or image.shape[2:]
            shaped = image.ndim == 4 and image.shape[1] == channels and image.shape[2:] == sides
            if image.dtype != np.uint8 or not shaped or not image.size:
                rows, columns = self.fixed_size or ("rows", "columns")
                raise ModelError(
                    f"{self.path}: {name} is {image.dtype} {image.shape}; "
                    f"give uint8 (n, {channels}, {rows}, {columns})"
                )
        if len({(len(image), *image.shape[2:]) for image in images.values()}) > 1:
            shapes = " and ".join(f"{name} {image.shape}" for name, image in images.items())
            raise ModelError(f"{self.path}: {shapes} differ; give the same windows of both dates")

    def _check(self) -> None:
        card, source = self._card, self.path
        wanted = set(heads_of(card))
        if "pre" not in self._inputs or not set(self._inputs) <= {"pre", "post"}:
            raise ModelError(f"{source}: inputs {self._inputs} are not pre and post")
        if set(self._outputs) != wanted:
            raise ModelError(f"{source}: outputs {self._outputs} are not {sorted(wanted)}")
        rows, columns = self._probe_size()
        ramp = np.arange(rows * columns, dtype=np.int64).reshape(1, 1, rows, columns) * 7 % 256
        probe = [
            np.repeat(ramp, len(channels), 1).astype(np.uint8)
            for channels in (card.pre_channels, card.post_channels)
        ]
        heads = self(*probe)
        for name, channels in (("localisation", 1), ("damage", 4)):
            head = getattr(heads, name)
            if head is None:
                continue
            if head.shape != (1, channels, rows, columns) or head.dtype != np.float32:
                raise ModelError(f"{source}: {name} is {head.dtype} {head.shape} for {rows} pixels")
            top = 1.0001 if name == "localisation" else np.inf
            if not (np.isfinite(head).all() and head.min() >= 0 and head.max() <= top):
                raise ModelError(
                    f"{source}: {name} has values outside 0 to 1, so it is not a probability"
                )

    def _probe_size(self) -> tuple[int, int]:
        """Return the size of the window that the model is tried on: small, where it may be."""
        card, fixed = self._card, self.fixed_size
        if fixed is None:
            return 4 * card.stride, 4 * card.stride
        if card.context == "local":
            raise ModelError(
                f"{self.path}: takes windows of {fixed[0]} x {fixed[1]} pixels alone, and its card "
                "says that it is local; export it with free rows and columns"
            )
        if fixed != (card.tile, card.tile):
            raise ModelError(
                f"{self.path}: takes windows of {fixed[0]} x {fixed[1]} pixels alone, and its card "
                f"says {card.tile}; fix the card"
            )
        return fixed


def _fixed_size(session: Any) -> tuple[int, int] | None:
    """Return rows and columns of a graph that takes one size of window alone."""
    for node in session.get_inputs():
        rows, columns = [*node.shape, None, None][2:4]
        if isinstance(rows, int) and isinstance(columns, int):
            return rows, columns
    return None


def read_model_bytes(path: Path) -> bytes:
    """Read a model file or an ensemble's table whole.

    Raises
    ------
    ModelNotFoundError
        If it is no readable, regular file.
    ModelError
        If it is larger than an ONNX file may be.
    """
    try:
        facts = path.stat()
        if not stat.S_ISREG(facts.st_mode):
            raise ModelNotFoundError(f"{path}: not a regular file; give a .onnx or .toml file")
        if facts.st_size > LARGEST_MODEL:
            raise ModelError(f"{path}: {facts.st_size / 1e9:.1f} GB; an ONNX file has 2 GB at most")
        return path.read_bytes()
    except ModelError:
        raise
    except FileNotFoundError as error:
        raise ModelNotFoundError(f"{path}: no such model file") from error
    except OSError as error:
        raise ModelNotFoundError(f"{path}: cannot be read ({error.strerror})") from error
