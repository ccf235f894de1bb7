"""A region, simulated cameras and an edge, as real processes for a measurement."""
import json
import re
import subprocess
import tempfile
import time
import urllib.request
from datetime import datetime
from pathlib import Path

from .machine import cache, free_ports, vigil

START_SECONDS = 300  # the first use of a clip encodes it


class Rig:
    """Cameras are dicts: name, size (WxH), fps; clip, a file of its own, and options,
    how the simulator codes it; analysis, the camera whose stream is analysed in its
    place; served_only for one that the edge does not know; mount, whose stream it shows; full, looked at without gates. Use
    as a context manager."""

    def __init__(self, cameras, rate=5.0, gates=False):
        self.cameras, self.rate, self.gates = cameras, rate, gates
        self.folder = tempfile.TemporaryDirectory(prefix="vigil-bench-")
        self.processes = {}

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.stop()
        self.folder.cleanup()

    def stop(self):
        """Ends all processes; the folder stays until the end."""
        for process in reversed(self.processes.values()):
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
        self.processes = {}

    def path(self, name):
        """A file in the measurement's own folder."""
        return Path(self.folder.name) / name

    def address(self, camera):
        """Where a camera is reached."""
        return f"rtsp://127.0.0.1:{self.rtsp}/{camera}"

    def start(self):
        region, region_ops, edge, self.ops, self.rtsp = free_ports(5)
        self.region = f"http://127.0.0.1:{region}"
        root = Path(self.folder.name)
        clip = cache() / "clips" / "vtest.avi"
        mounts = [f"--mount={c['name']}={c.get('clip', clip)},size={c['size']},fps={c['fps']}{c.get('options', '')}" for c in self.cameras
                  if "mount" not in c]
        self.camsim = self.run("camsim", [f"--listen=127.0.0.1:{self.rtsp}", *mounts], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, text=True)
        for _ in mounts:
            if not self.camsim.stdout.readline():
                raise RuntimeError(f"the camera simulator ended: {self.log('camsim')}")
        self.config("region", f'region_id = "bench"\nlisten = "127.0.0.1:{region}"\n'
                              f'ops_listen = "127.0.0.1:{region_ops}"\ndata_dir = "{root}/region-data"\n')
        known = [c for c in self.cameras if not c.get("served_only")]
        streams = "\n".join(self.section(c) for c in known)
        gate = "true" if self.gates else "false"
        self.config("edge", f'edge_id = "bench"\nregion_id = "bench"\nregion_address = "http://127.0.0.1:{region}"\n'
                            f'data_dir = "{root}/edge-data"\nlisten = "127.0.0.1:{edge}"\nops_listen = "127.0.0.1:{self.ops}"\n'
                            f'[analysis]\nrate = {self.rate}\nmotion_gate = {gate}\n{streams}\n')
        self.wait(lambda: self.counter("vigil_frames_analysed_total") >= 5 * len(known))

    def section(self, camera):
        """A camera in the edge's configuration."""
        shown = self.address(camera.get("mount", camera["name"]))
        lines = [f'[[cameras]]\nid = "{camera["name"]}"\nstream = {{ address = "{shown}" }}']
        if "full" in camera:
            lines.append(f"analysis = {{ rate = {self.rate}, motion_gate = false }}")
        if "analysis" in camera:
            lines.append(f'analysis_stream = {{ address = "{self.address(camera["analysis"])}" }}')
        return "\n".join(lines)

    def config(self, role, text):
        path = Path(self.folder.name) / f"{role}.toml"
        path.write_text(text)
        self.run(role, ["--config", str(path)])

    def run(self, role, arguments, **options):
        log = open(Path(self.folder.name) / f"{role}.log", "w")  # noqa: SIM115 (closed with the process)
        options.setdefault("stdin", subprocess.DEVNULL)
        options.setdefault("stdout", subprocess.DEVNULL)
        self.processes[role] = subprocess.Popen([vigil(), role, *arguments], stderr=log, **options)
        return self.processes[role]

    def log(self, role):
        return (Path(self.folder.name) / f"{role}.log").read_text()[-2000:]

    def edge_pid(self):
        return self.processes["edge"].pid

    def counter(self, name):
        """The sum of a counter over all its labels."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.ops}/metrics", timeout=5) as answer:
                text = answer.read().decode()
        except OSError:
            return 0.0
        return sum(float(value) for value in re.findall(rf"^{re.escape(name)}(?:{{[^}}]*}})? (\S+)$", text, re.MULTILINE))

    def labelled(self, name, camera):
        """A counter of one camera."""
        return self.counter(f'{name}{{camera="{camera}"}}')

    def dropped(self, camera):
        """Frames of one camera that were dropped, for whatever cause."""
        causes = ("overload", "detector_failed")
        return sum(self.counter(f'vigil_frames_dropped_total{{camera="{camera}",cause="{cause}"}}') for cause in causes)

    def events(self, camera):
        """Begin and end, in seconds, of the people whom the region knows of at a camera."""
        command = [vigil(), "query", "--server", self.region, "--camera", camera, "--class", "person", "--from", "1h",
                   "--json", "--limit", "1000"]
        lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
        found = [json.loads(line) for line in lines]
        return [tuple(datetime.fromisoformat(event[side]).timestamp() for side in ("begin_time", "end_time"))
                for event in found if "begin_time" in event]

    def counters(self):
        """What became of the frames so far."""
        return {f"vigil_frames_{what}_total": self.counter(f"vigil_frames_{what}_total")
                for what in ("decoded", "analysed", "dropped")}

    def wait(self, condition):
        end = time.monotonic() + START_SECONDS
        while not condition():
            for role, process in self.processes.items():
                if process.poll() is not None:
                    raise RuntimeError(f"{role} ended: {self.log(role)}")
            if time.monotonic() > end:
                raise RuntimeError(f"not ready after {START_SECONDS} s: {self.log('edge')}")
            time.sleep(0.1)

    def command(self, line):
        """A command to the camera simulator, as `close all`."""
        self.camsim.stdin.write(line + "\n")
        self.camsim.stdin.flush()
