"""The least each step can cost: decoding alone, inference alone. CPU seconds, not wall time."""
import resource
import subprocess
import time

import numpy as np
import onnxruntime

from .machine import cache

CANVAS = (1, 416, 544, 3)  # the default model's largest, which a 4:3 picture fills


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


def decode_ms(clip, seconds):
    """CPU milliseconds per second of video: demux and decode with one thread, pictures thrown away."""
    head = ["gst-launch-1.0", "-q", "filesrc", f"location={clip}", "!", "matroskademux", "!", "h264parse"]
    decode = children_cpu([*head, "!", "avdec_h264", "max-threads=1", "!", "fakesink", "sync=false"])
    start = children_cpu(["gst-launch-1.0", "-q", "fakesrc", "num-buffers=1", "!", "fakesink"])
    return 1000 * (decode - start) / seconds


def inference_ms(rate, beside, seconds, model="nanodet-g-int8.onnx"):
    """CPU milliseconds of one inference of the default model, one thread, no spinning, so many a second.

    Runs as long as the process beside it, at most so many seconds. At the rate of the edge, and while that runs: caches are
    as cold for both, and both feel the machine's other work.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(cache() / "models" / model, options, providers=["CPUExecutionProvider"])
    entry = session.get_inputs()[0]
    picture = np.random.default_rng(1).integers(0, 255, CANVAS, dtype=np.uint8)
    session.run(None, {entry.name: picture})
    spent, runs, due = 0.0, 0, time.monotonic()
    end = due + seconds
    while beside.poll() is None and due < end:
        due += 1 / rate
        time.sleep(max(0.0, due - time.monotonic()))
        before = time.thread_time()
        session.run(None, {entry.name: picture})
        spent, runs = spent + time.thread_time() - before, runs + 1
    return 1000 * spent / runs
