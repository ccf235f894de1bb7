"""The machine, its processes' CPU time and memory, and where things are."""
import json
import os
import platform
import re
import socket
import sys
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


def cache():
    """Where scripts/setup keeps models, clips and the Python tools."""
    return Path(os.environ["VIGIL_CACHE"])


def vigil():
    """The program under measurement."""
    return os.environ["VIGIL_BIN"]


def describe():
    """What a figure needs beside it to mean anything."""
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    memory = re.search(r"MemTotal:\s*(\d+)", Path("/proc/meminfo").read_text())
    return {
        "bench": "machine",
        "cpu": model.group(1) if model else platform.processor(),
        "cores": os.cpu_count(),
        "memory_gb": round(int(memory.group(1)) / 1e6, 1) if memory else None,
        "kernel": platform.release(),
        "load_before": round(os.getloadavg()[0], 2),
    }


def emit(**row):
    """One JSON line on standard output."""
    print(json.dumps(row), flush=True)


def tell(text):
    """Progress, on standard error."""
    print(text, file=sys.stderr, flush=True)


def cpu_seconds(pid):
    """User and system time of a process and all its threads so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def resident_mb(pid):
    """Resident memory of a process now."""
    return int(re.search(r"VmRSS:\s*(\d+)", Path(f"/proc/{pid}/status").read_text()).group(1)) / 1024


def free_ports(count):
    """Ports nobody listens on now, no two alike."""
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports
