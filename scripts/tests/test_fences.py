"""The fence check finds what it is there to find."""
import subprocess
import sys
from pathlib import Path

import pytest

FENCES = Path(__file__).parent.parent / "fences"


def run(root):
    return subprocess.run([sys.executable, FENCES, root], capture_output=True, text=True, check=False)


def room(root, path, dependencies="", source=""):
    folder = root / path
    (folder / "src").mkdir(parents=True)
    (folder / "Cargo.toml").write_text(f'[package]\nname = "x"\n[dependencies]\n{dependencies}\n')
    (folder / "src" / "lib.rs").write_text(source)


def test_the_house_keeps_its_fences():
    found = run(FENCES.parent.parent)
    assert found.returncode == 0, found.stdout


def test_an_empty_folder_is_not_a_pass(tmp_path):
    assert run(tmp_path).returncode != 0


@pytest.mark.parametrize(
    ("path", "dependencies", "source", "names"),
    [
        ("pipeline/track", 'ort = "2"', "", "ort may be used only in: detect"),
        ("services/region", 'gstreamer-app = "0.25"', "", "gstreamer-app"),
        ("services/edge", 'video = { package = "opencv", version = "1" }', "", "opencv"),
        ("pipeline/outbox", 'tonic = "0.14"', "", "tonic belongs to services/"),
        ("pipeline/event", 'tokio = "1"', "", "event is pure and may not use tokio"),
        ("pipeline/track", "", "fn f() { std::fs::read(\"x\"); }", "std::fs"),
        ("pipeline/base", "", "let now = Instant::now();", "Instant::now"),
        ("pipeline/rules", "", "let now = jiff::Zoned::now();", "Zoned::now"),
        ("pipeline/rules", "", "TimeZone::get(name)", "TimeZone::get"),
        ("pipeline/rules", 'rusqlite = "1"', "", "rules is pure and may not use rusqlite"),
    ],
)
def test_a_breach_is_named(tmp_path, path, dependencies, source, names):
    room(tmp_path, path, dependencies, source)
    found = run(tmp_path)
    assert found.returncode == 1
    assert path in found.stdout and names in found.stdout, found.stdout


def test_a_comment_is_no_breach(tmp_path):
    room(tmp_path, "pipeline/track", "", "// unlike std::fs::read\n")
    assert run(tmp_path).returncode == 0
