"""Reads the `[[plates]]` of `manifest.toml`: pairs of a plate detector and a plate reader."""

import tomllib
from dataclasses import dataclass
from pathlib import Path

from vigil_models.manifest import LAYOUTS, ManifestError, check_keys, find_file

_PAIR_KEYS = {"name", "detector", "reader"}
_INPUT_KEYS = {"width", "height", "layout", "colour"}


@dataclass(frozen=True)
class Detector:
    """`[plates.detector]`; has what `preprocess.to_tensor` asks of a model."""

    name: str
    file: Path
    sha256: str
    width: int
    height: int
    layout: str
    colour: str
    anchor: str
    pad: int
    confidence: float
    any_size: bool = False


@dataclass(frozen=True)
class Reader:
    """`[plates.reader]`."""

    name: str
    file: Path
    sha256: str
    width: int
    height: int
    layout: str
    colour: str
    alphabet: tuple[str, ...]
    blank: str
    format: str | None


@dataclass(frozen=True)
class Pair:
    """One entry of `[[plates]]`."""

    name: str
    detector: Detector
    reader: Reader


def load_all(path: Path) -> list[Pair]:
    """Every pair, in the file's order."""
    return [_pair(entry, path) for entry in tomllib.loads(path.read_text()).get("plates", [])]


def load(path: Path) -> Pair:
    """The default pair."""
    wanted = tomllib.loads(path.read_text()).get("default_plates")
    for pair in load_all(path):
        if pair.name == wanted:
            return pair
    raise ManifestError(f"{path}: default_plates names no entry of [[plates]]: {wanted!r}")


def _pair(entry: dict, path: Path) -> Pair:
    where = f"{path}: plates {entry.get('name')!r}"
    check_keys(entry, _PAIR_KEYS, {"description", "licence", "source"}, where)
    name, find, read = entry["name"], entry["detector"], entry["reader"]
    check_keys(find, {"file", "sha256", "input", "letterbox", "confidence"}, set(), f"{where}, detector")
    check_keys(read, {"file", "sha256", "input", "alphabet", "blank"}, {"format"}, f"{where}, reader")
    for part, table in (("detector", find), ("reader", read)):
        check_keys(table["input"], _INPUT_KEYS, set(), f"{where}, {part}.input")
        if table["input"]["layout"] not in LAYOUTS:
            raise ManifestError(f"{where}: {part}.input.layout is out of range")
    alphabet = tuple((path.parent / read["alphabet"]).read_text().splitlines())
    if any(len(character) != 1 for character in alphabet) or len(set(alphabet)) != len(alphabet):
        raise ManifestError(f"{where}: reader.alphabet must have one character a line, none twice")
    files = {part: (find_file(table["file"], path), table["sha256"]) for part, table in (("d", find), ("r", read))}
    return Pair(
        name,
        Detector(f"{name} detector", *files["d"], **find["input"], **find["letterbox"], confidence=find["confidence"]),
        Reader(
            f"{name} reader",
            *files["r"],
            **read["input"],
            alphabet=alphabet,
            blank=read["blank"],
            format=read.get("format"),
        ),
    )
