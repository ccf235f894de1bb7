"""Cameras that misbehave all the time, against a real edge and a real region: the test of that name, for longer."""
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from .machine import emit, tell


def run(options):
    """It fails where a fault is told late, the camera beside them is disturbed, something grows, or an event is lost."""
    seconds = int(options.hours * 3600)
    tell(f"soak: {seconds} s")
    with tempfile.TemporaryDirectory(prefix="vigil-soak-") as folder:
        report = Path(folder) / "report.json"
        environment = dict(os.environ, VIGIL_SOAK_SECONDS=str(seconds), VIGIL_SOAK_REPORT=str(report))
        command = ["cargo", "test", "--release", "--locked", "--package", "vigil", "--test", "soak"]
        done = subprocess.run(command, env=environment, stdout=sys.stderr, check=False)
        if report.exists():
            emit(passed=done.returncode == 0, **json.loads(report.read_text()))
    if done.returncode != 0:
        raise RuntimeError("the soak failed: the lines above say where")
