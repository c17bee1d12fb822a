"""The sessions of a graph in stages, asked one after the other."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from geodamage.errors import ModelError
from geodamage.model.card import Card
from geodamage.model.compiled import compiled_once
from geodamage.model.engines import (
    Verdict,
    compiled_place,
    is_openvino,
    keep,
    kept_verdict,
)
from geodamage.model.known import difference
from geodamage.model.openvino import OpenVinoSession
from geodamage.model.parts import PartedSession
from geodamage.model.session import first_line
from geodamage.model.stages import Stage, Stages, split_in_stages
from geodamage.windows import round_up

#: Memory of a call of the stages over that of as large a window of two parts; measured. OpenVINO
#: keeps what each stage needed, and ONNX Runtime lets all work in the same memory.
_MORE_IN_OPENVINO, _MORE_IN_ONNX_RUNTIME = 1.3, 0.75


class StagedSession:
    """The sessions of all stages.

    Parameters
    ----------
    stages
        The stages.
    like
        The session of the same graph whose engine, threads and precision are taken.
    options
        Options of ONNX Runtime, where that is the engine.
    path
        Where the graph was read from, for errors.
    compiled
        What `exported` returned of another session of the same stages.

    Attributes
    ----------
    seeing
        The stages from an image to features.
    margin
        Pixels that the heads see around what they say.
    """

    def __init__(
        self,
        stages: Stages,
        like: PartedSession,
        options: Any,
        path: Path,
        compiled: Sequence[bytes] = (),
    ) -> None:
        self._stages, self._path = stages, path
        self.seeing, self.margin = stages.seeing, stages.finding.margin
        self._like = like
        sizes: dict[str, Sequence[int | None]] = {}
        self._sessions = []
        ready: Sequence[bytes | None] = compiled or [None] * len(stages.all)
        for stage, known in zip(stages.all[:-1], ready, strict=False):
            session = _start(stage, like.first, options, sizes, known)
            self._sessions.append(session)
            sizes |= {port.name: port.shape for port in session.get_outputs()}
        given, taken = stages.finding.gives[1:], stages.grading.takes[len(stages.finding.takes) :]
        sizes |= {own: sizes[name] for name, own in zip(given, taken, strict=True)}
        self._sessions.append(_start(stages.grading, like.first, options, sizes, ready[-1]))
        self._is_half = is_openvino(like) and like.first.precision == "bfloat16"
        self._channels = {name: int(shape[1] or 0) for name, shape in sizes.items()}

    def exported(self) -> list[bytes]:
        """Return the compiled stages, where the engine is OpenVINO."""
        return [session.exported() for session in self._sessions]

    @property
    def kept(self) -> tuple[str, ...]:
        """Names of the features that the heads take of either date."""
        return self._stages.finding.takes

    @property
    def halo(self) -> int:
        """Pixels of an image around a pixel of the answer, a multiple of all steps."""
        step = max(stage.step for stage in self.seeing)
        return round_up(self.margin + sum(stage.margin for stage in self.seeing), step)

    @property
    def first(self) -> int:
        """Pixels of an image that the first stage sees around what it gives."""
        return self.seeing[0].margin

    @property
    def bytes_kept(self) -> float:
        """Bytes of the features of one date, for each pixel."""
        return sum(map(self._bytes_given, self.seeing))

    @property
    def bytes_given(self) -> float:
        """Bytes of what finding gives, for each pixel."""
        return self._bytes_given(self._stages.finding)

    @property
    def more_memory(self) -> float:
        """Memory of a call over that of a window of as many pixels."""
        return _MORE_IN_OPENVINO if is_openvino(self._like) else _MORE_IN_ONNX_RUNTIME

    def _bytes_given(self, stage: Stage) -> float:
        features = zip(stage.gives, stage.steps, strict=True)
        sizes = {"localisation": 4} if self._is_half else {}
        other = 2 if self._is_half else 4
        return sum(sizes.get(k, other) * self._channels[k] / step**2 for k, step in features)

    def get_inputs(self) -> list[Any]:
        """Return the inputs of the whole graph."""
        return self._like.get_inputs()

    def get_outputs(self) -> list[Any]:
        """Return the outputs of the whole graph."""
        return self._like.get_outputs()

    def see(self, number: int, taken: np.ndarray) -> dict[str, np.ndarray]:
        """Return the features that a stage makes of an image, or of what the one before gave."""
        stage = self.seeing[number]
        return self._run(number, stage, {stage.takes[0]: taken})

    def find(self, kept: Mapping[str, np.ndarray]) -> tuple[np.ndarray, list[np.ndarray]]:
        """Return the localisation that features of `pre` say, and what grading takes of them."""
        said = self._run(-2, self._stages.finding, kept)
        localisation, *features = said.values()
        return localisation, features

    def grade(self, kept: Mapping[str, np.ndarray], features: Sequence[np.ndarray]) -> np.ndarray:
        """Return the damage that features of `post` say, beside those that `find` gave."""
        stage = self._stages.grading
        taken = dict(zip(stage.takes[len(kept) :], features, strict=True))
        (damage,) = self._run(-1, stage, {**kept, **taken}).values()
        return damage

    def run(self, names: Sequence[str], images: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """Return the outputs of these names, as the session of the whole graph does."""
        localisation, features = self.find(self.seen(images["pre"]))
        damage = self.grade(self.seen(images["post"]), features)
        found = {"localisation": localisation, "damage": damage}
        return [found[name] for name in names]

    def seen(self, image: np.ndarray) -> dict[str, np.ndarray]:
        """Return the features of whole windows."""
        known, last = dict[str, np.ndarray](), image
        for number, stage in enumerate(self.seeing):
            known |= self.see(number, last)
            last = known[stage.gives[-1]]
        return {name: known[name] for name in self.kept}

    def _run(
        self, number: int, stage: Stage, taken: Mapping[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        try:
            said = self._sessions[number].run(list(stage.gives), dict(taken))
        except Exception as error:  # errors of the runtimes share no public root
            shapes = ", ".join(str(array.shape) for array in taken.values())
            raise ModelError(
                f"{self._path}: does not run on {shapes}: {first_line(error)}; try --tile 512"
            ) from error
        return dict(zip(stage.gives, said, strict=True))


class StagedParts(PartedSession):
    """Stages that are asked of whole windows as two parts are.

    In bfloat16 stages round otherwise than parts. So that a result does not depend on how a scene
    is cut, a model that is computed so in strips is computed so in windows, too.

    Parameters
    ----------
    session
        The stages.
    like
        The parts in whose place they answer.
    """

    def __init__(self, session: StagedSession, like: PartedSession) -> None:
        self._staged = session
        super().__init__(*like.both, like.parts)

    def find(self, pre: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
        """Return localisation and features of uint8 `(n, c, rows, columns)`."""
        return self._staged.find(self._staged.seen(pre))

    def grade(self, post: np.ndarray, features: Sequence[np.ndarray]) -> np.ndarray:
        """Return the damage head of uint8 `(n, c, rows, columns)`, with the features of `pre`."""
        return self._staged.grade(self._staged.seen(post), features)


def open_stages(
    blob: bytes, card: Card, path: Path, like: PartedSession, options: Any
) -> StagedSession | None:
    """Start the sessions of the stages of a graph, if they say what a session of it says."""
    stages = split_in_stages(blob, str(path))
    own = like.first.precision if is_openvino(like) else "float32"
    verdict = kept_verdict(card, f"stages of {own}")
    if stages is None or not (verdict is None or verdict.is_right):
        return None
    session = _started(stages, card, like, options, path)
    if verdict is None:
        verdict = Verdict(difference(session, like, card), precision=f"stages of {own}")
        keep(card, verdict)
    return session if verdict.is_right else None


def _started(
    stages: Stages, card: Card, like: PartedSession, options: Any, path: Path
) -> StagedSession:
    """Start the sessions, compiled before where OpenVINO is the engine."""
    if not is_openvino(like):
        return StagedSession(stages, like, options, path)
    way = b"features in the precision of the engine"  # its own place, if ports change
    place = compiled_place([way, *(stage.graph for stage in stages.all)], like.first.precision)

    def begin(compiled: Sequence[bytes]) -> StagedSession:
        return StagedSession(stages, like, options, path, compiled)

    return compiled_once(place, begin, StagedSession.exported, card)


def is_here(session: PartedSession) -> bool:
    """Say whether a session computes on the processor."""
    return is_openvino(session) or session.first.get_providers() == ["CPUExecutionProvider"]


def _start(
    stage: Stage,
    like: Any,
    options: Any,
    sizes: Mapping[str, Sequence[int | None]],
    compiled: bytes | None,
) -> Any:
    """Start the session of a stage in the engine of another."""
    features = tuple(name for name in stage.takes if name != "pre")
    if isinstance(like, OpenVinoSession):
        known = {name: sizes[name] for name in features}
        given = [name for name in stage.gives if name not in ("localisation", "damage")]
        return OpenVinoSession(
            stage.graph, like.threads, like.precision, features, known, compiled, given
        )
    session = type(like)(stage.graph, options, providers=like.get_providers())
    session._model_bytes = None  # as `geodamage.model.session.start` does
    return session
