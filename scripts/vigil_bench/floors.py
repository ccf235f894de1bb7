"""The least each step can cost: decoding alone, inference alone. CPU seconds, not wall time."""
import math
import resource
import subprocess
import threading
import time

import numpy as np
import onnxruntime

from .machine import cache

LARGEST = (544, 416)  # the default model's largest input, width and height
SIDE_STEP = 32  # its sides are multiples of it
MODEL = "nanodet-g-int8.onnx"


def children_cpu(command):
    """CPU seconds of a command that runs to its end."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def record(address, frames, out):
    """Starts to write that many frames of a camera, undecoded, into a Matroska file; the process ends by itself."""
    command = ["gst-launch-1.0", "-q", "-e", "rtspsrc", f"location={address}", "protocols=tcp", "buffer-mode=none", "!",
               "rtph264depay", "!", "h264parse", "!", "video/x-h264,alignment=au", "!",
               "identity", f"eos-after={frames + 1}", "!", "matroskamux", "!", "filesink", f"location={out}"]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def decode_ms(clip, seconds, times):
    """CPU milliseconds per second of video: demux and decode with one thread, at the pace of the video, pictures thrown away.

    Takes as long as the clip, which lasts so many seconds, as often as is asked.
    """
    start = children_cpu(["gst-launch-1.0", "-q", "fakesrc", "num-buffers=1", "!", "fakesink"])
    head = ["gst-launch-1.0", "-q", "filesrc", f"location={clip}", "!", "matroskademux", "!", "h264parse"]
    decode = [*head, "!", "avdec_h264", "max-threads=1", "!", "fakesink", "sync=true"]
    return 1000 * sum(children_cpu(decode) - start for _ in range(times)) / (seconds * times)


def canvas(picture):
    """What a picture ("WxH") needs of the model's largest input, as width and height: all of a 4:3 picture, 544x320 of 16:9."""
    width, height = map(int, picture.split("x"))
    scale = min(LARGEST[0] / width, LARGEST[1] / height)
    return tuple(math.ceil(round(side * scale) / SIDE_STEP) * SIDE_STEP for side in (width, height))


class Inference:
    """The default model alone on the canvas of a picture, one thread, no spinning, so many times a second while the context
    lasts."""

    def __init__(self, rate, picture, model=MODEL):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(cache() / "models" / model, options, providers=["CPUExecutionProvider"])
        width, height = canvas(picture)
        shades = np.random.default_rng(1).integers(0, 255, (1, height, width, 3), dtype=np.uint8)
        self.feed = {self.session.get_inputs()[0].name: shades}
        self.session.run(None, self.feed)
        self.rate, self.spent, self.runs = rate, 0.0, 0
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.repeat)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()

    def repeat(self):
        due = time.monotonic()
        while not self.over.wait(max(0.0, due - time.monotonic())):
            due += 1 / self.rate
            before = time.thread_time()
            self.session.run(None, self.feed)
            self.spent, self.runs = self.spent + time.thread_time() - before, self.runs + 1

    @property
    def ms(self):
        """CPU milliseconds of one inference."""
        return 1000 * self.spent / max(1, self.runs)
