# Sourced by the scripts beside this folder: where things are, what the build needs to know, and how to speak.
# shellcheck shell=bash

set -euo pipefail

VIGIL_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
export VIGIL_ROOT
export VIGIL_CACHE=${VIGIL_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/vigil}
VIGIL_VENV=$VIGIL_CACHE/venv

# Rust from rustup, where there is one.
if [[ -d $HOME/.cargo/bin && :$PATH: != *":$HOME/.cargo/bin:"* ]]; then
  export PATH=$HOME/.cargo/bin:$PATH
fi

# The inference engine that vigil loads at run time.
export ORT_DYLIB_PATH=${ORT_DYLIB_PATH:-$VIGIL_CACHE/lib/libonnxruntime.so}

export CARGO_NET_RETRY=${CARGO_NET_RETRY:-5}

# say TEXT: a line for the person at the terminal. Standard output stays free for results.
say() {
  printf '%s\n' "$*" >&2
}

# die TEXT...: the reason, one line per argument, and the end.
die() {
  printf 'error: %s\n' "$1" >&2
  shift
  if (($#)); then printf '  %s\n' "$@" >&2; fi
  exit 1
}

# vigil_python ARGS...: Python with the model tools.
vigil_python() {
  PYTHONPATH=$VIGIL_ROOT/models${PYTHONPATH:+:$PYTHONPATH} "$VIGIL_VENV/bin/python" "$@"
}

# version_at_least FOUND WANTED: whether FOUND is WANTED or newer.
version_at_least() {
  [[ $(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1) == "$2" ]]
}
