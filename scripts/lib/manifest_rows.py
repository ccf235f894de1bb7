"""Prints what scripts/setup needs of a manifest, one line each, tab-separated. Needs Python 3.11 and nothing else.

clips FILE    file, sha256, registry, package, version (or -), path in the package
sources FILE  registry, package, version, path in the package, sha256; each source file once
models FILE   file, sha256; those with a source, which setup builds
"""

import sys
import tomllib


def clips(document: dict) -> list[tuple]:
    """Rows of test-videos/manifest.toml."""
    return [
        (c["file"], c["sha256"], s["registry"], s["package"], s.get("version", "-"), s["path"])
        for c in document["clip"]
        for s in [c["source"]]
    ]


def sources(document: dict) -> list[tuple]:
    """Source files of models/manifest.toml, without repetition."""
    rows = [
        (s["registry"], s["package"], s["version"], f["path"], f["sha256"])
        for m in document["model"] + document.get("plates", [])
        for s in [m.get("source")]
        if s
        for f in s["files"]
    ]
    return list(dict.fromkeys(rows))


def models(document: dict) -> list[tuple]:
    """Model files of models/manifest.toml."""
    pairs = [m[part] for m in document.get("plates", []) if "source" in m for part in ("detector", "reader")]
    return [(m["file"], m["sha256"]) for m in [*(m for m in document["model"] if "source" in m), *pairs]]


def main() -> None:
    """The command line."""
    kinds = {"clips": clips, "sources": sources, "models": models}
    if len(sys.argv) != 3 or sys.argv[1] not in kinds:
        sys.exit(__doc__)
    with open(sys.argv[2], "rb") as file:
        document = tomllib.load(file)
    for row in kinds[sys.argv[1]](document):
        print("\t".join(row))


if __name__ == "__main__":
    main()
