"""Reads `manifest.toml` as models/README.md specifies it; unknown keys are errors."""

import hashlib
import math
import os
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

SCHEMA = 1
HEADS = ("yolov8", "nanodet_yolo", "yolox")
LAYOUTS = ("nhwc_u8", "nchw_f32_255", "nchw_f32_unit")
MAX_SIDE = 4096
SIDE_STEP = 32
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_SHA256 = re.compile(r"[0-9a-f]{64}")

_MODEL_KEYS = {"name", "file", "sha256", "head", "classes", "input", "letterbox", "thresholds"}
_OPTIONAL_MODEL_KEYS = {"description", "licence", "source", "confidence"}


class ManifestError(Exception):
    """The manifest, or the model file it names, is not as specified; the message names the key or the file."""


@dataclass(frozen=True)
class Model:
    """One `[[model]]` entry, its file and classes resolved."""

    name: str
    file: Path
    sha256: str
    head: str
    classes: tuple[str, ...]
    width: int
    height: int
    layout: str
    colour: str
    anchor: str
    pad: int
    confidence: float
    nms_iou: float
    any_size: bool = False
    """Runs on every canvas whose sides are multiples of SIDE_STEP; width and height are the largest."""


def cache_dir() -> Path:
    """Where scripts/setup puts what it builds."""
    if given := os.environ.get("VIGIL_CACHE"):
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vigil"


def default_manifest() -> Path:
    """The manifest in this repository."""
    return Path(__file__).resolve().parent.parent / "manifest.toml"


def load(path: Path, name: str | None = None) -> Model:
    """The entry called `name`, or the default one."""
    document, entries = _read(path)
    wanted = name or document.get("default")
    if wanted not in entries:
        raise ManifestError(f"{path}: no model named {wanted!r}; it has {sorted(entries)}")
    return _model(entries[wanted], path)


def load_all(path: Path) -> list[Model]:
    """Every entry, in the file's order."""
    return [_model(entry, path) for entry in _read(path)[1].values()]


def _read(path: Path) -> tuple[dict, dict[str, dict]]:
    """The document, and its models by name."""
    document = tomllib.loads(path.read_text())
    check_keys(document, {"schema", "model"}, {"default", "plates", "default_plates"}, str(path))
    if document["schema"] != SCHEMA:
        raise ManifestError(f"{path}: schema is {document['schema']}, expected {SCHEMA}")
    entries = {entry.get("name"): entry for entry in document["model"]}
    if None in entries or len(entries) != len(document["model"]):
        raise ManifestError(f"{path}: a model name is missing or stands twice")
    return document, entries


def check_fingerprint(model: Model) -> None:
    """Refuses a missing or altered model file."""
    if not model.file.is_file():
        raise ManifestError(f"model {model.name}: {model.file} is missing; run scripts/setup")
    found = hashlib.sha256(model.file.read_bytes()).hexdigest()
    if found != model.sha256:
        raise ManifestError(f"model {model.name}: {model.file} has sha256 {found}, the manifest says {model.sha256}")


def _model(entry: dict, path: Path) -> Model:
    where = f"{path}: model {entry['name']!r}"
    check_keys(entry, _MODEL_KEYS, _OPTIONAL_MODEL_KEYS, where)
    size, box, thresholds = entry["input"], entry["letterbox"], entry["thresholds"]
    check_keys(size, {"width", "height", "layout", "colour"}, {"any_size"}, f"{where}, input")
    check_keys(box, {"anchor", "pad"}, set(), f"{where}, letterbox")
    check_keys(thresholds, {"confidence", "nms_iou"}, set(), f"{where}, thresholds")
    scale = entry.get("confidence", {"even_odds": 0.5, "slope": 2})
    check_keys(scale, {"even_odds", "slope"}, {"classes"}, f"{where}, confidence")
    classes = _classes(entry["classes"], path, where)
    for name, own in scale.get("classes", {}).items():
        check_keys(own, {"even_odds", "slope"}, set(), f"{where}, confidence.classes.{name}")
        if name not in classes:
            raise ManifestError(f"{where}: confidence.classes.{name} is not one of the model's classes")
    scales = [scale, *scale.get("classes", {}).values()]
    checks = [
        ("name", bool(_NAME.fullmatch(entry["name"]))),
        ("sha256", bool(_SHA256.fullmatch(entry["sha256"]))),
        ("head", entry["head"] in HEADS),
        ("input.width", 0 < size["width"] <= MAX_SIDE and size["width"] % SIDE_STEP == 0),
        ("input.height", 0 < size["height"] <= MAX_SIDE and size["height"] % SIDE_STEP == 0),
        ("input.any_size", isinstance(size.get("any_size", False), bool)),
        ("input.layout", size["layout"] in LAYOUTS),
        ("input.colour", size["colour"] in ("rgb", "bgr")),
        ("letterbox.anchor", box["anchor"] in ("top_left", "centre")),
        ("letterbox.pad", 0 <= box["pad"] <= 255),
        ("thresholds.confidence", 0 <= thresholds["confidence"] <= 1),
        ("thresholds.nms_iou", 0 <= thresholds["nms_iou"] <= 1),
        ("confidence.even_odds", all(0 < one["even_odds"] < 1 for one in scales)),
        ("confidence.slope", all(0 < one["slope"] < math.inf for one in scales)),
    ]
    for key, valid in checks:
        if not valid:
            raise ManifestError(f"{where}: {key} is out of range")
    return Model(
        name=entry["name"],
        file=find_file(entry["file"], path),
        sha256=entry["sha256"],
        head=entry["head"],
        classes=classes,
        **size,
        **box,
        **thresholds,
    )


def find_file(file: str, manifest: Path) -> Path:
    """Where a model file lies: beside the manifest, or in the cache."""
    beside = manifest.parent / file  # an absolute `file` stays as it is
    return beside if beside.is_file() or Path(file).is_absolute() else cache_dir() / "models" / file


def _classes(value: str | list[str], manifest: Path, where: str) -> tuple[str, ...]:
    names = (manifest.parent / value).read_text().splitlines() if isinstance(value, str) else value
    if not names or len(set(names)) != len(names) or any(not n or n != n.lower() for n in names):
        raise ManifestError(f"{where}: classes must be lower-case names without duplicates")
    return tuple(names)


def check_keys(table: dict, required: set[str], optional: set[str], where: str) -> None:
    """Refuses a table that lacks a key or has one too many."""
    if missing := required - table.keys():
        raise ManifestError(f"{where}: keys missing: {sorted(missing)}")
    if unknown := table.keys() - required - optional:
        raise ManifestError(f"{where}: unknown keys: {sorted(unknown)}")
