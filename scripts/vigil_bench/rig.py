"""A region, simulated cameras and an edge, as real processes for a measurement."""
import re
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path

from .machine import cache, free_ports, vigil

START_SECONDS = 300  # the first use of a clip encodes it


class Rig:
    """Cameras are dicts: name, size (WxH), fps. Use as a context manager."""

    def __init__(self, cameras, rate=5.0, motion_gate=False):
        self.cameras, self.rate, self.motion_gate = cameras, rate, motion_gate
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
        root = Path(self.folder.name)
        clip = cache() / "clips" / "vtest.avi"
        mounts = [f"--mount={c['name']}={clip},size={c['size']},fps={c['fps']}" for c in self.cameras]
        self.camsim = self.run("camsim", [f"--listen=127.0.0.1:{self.rtsp}", *mounts], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, text=True)
        for _ in self.cameras:
            if not self.camsim.stdout.readline():
                raise RuntimeError(f"the camera simulator ended: {self.log('camsim')}")
        self.config("region", f'region_id = "bench"\nlisten = "127.0.0.1:{region}"\n'
                              f'ops_listen = "127.0.0.1:{region_ops}"\ndata_dir = "{root}/region-data"\n')
        streams = "\n".join(f'[[cameras]]\nid = "{c["name"]}"\nstream = {{ address = "{self.address(c["name"])}" }}'
                            for c in self.cameras)
        gate = "true" if self.motion_gate else "false"
        self.config("edge", f'edge_id = "bench"\nregion_id = "bench"\nregion_address = "http://127.0.0.1:{region}"\n'
                            f'data_dir = "{root}/edge-data"\nlisten = "127.0.0.1:{edge}"\nops_listen = "127.0.0.1:{self.ops}"\n'
                            f'[analysis]\nrate = {self.rate}\nmotion_gate = {gate}\n{streams}\n')
        self.wait(lambda: self.counter("vigil_frames_analysed_total") >= 5 * len(self.cameras))

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
        return sum(float(value) for value in re.findall(rf"^{name}(?:{{[^}}]*}})? (\S+)$", text, re.MULTILINE))

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
