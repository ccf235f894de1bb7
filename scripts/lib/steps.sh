# How scripts/setup counts its steps, runs long commands, and knows what is already done.
# shellcheck shell=bash

STAMPS=$VIGIL_CACHE/stamps
LOG=$VIGIL_CACHE/setup.log
LOG_TAIL_LINES=15 # shown when a command fails; enough for apt's and pip's own explanation

step_number=0
step_title=
step_shown=

# step TITLE: begins the next step. With --quiet it is shown only once it has something to do.
step() {
  step_number=$((step_number + 1))
  step_title="[$step_number/$STEPS] $1"
  step_shown=
  if [[ -z $QUIET ]]; then show_step; fi
}

show_step() {
  if [[ -z $step_shown ]]; then say "$step_title"; fi
  step_shown=yes
}

# doing TEXT: what the step does now, because it was not done yet.
doing() {
  show_step
  say "  $1"
}

# run_logged WHAT COMMAND...: runs a long command, its output in the log, the passing seconds on the terminal.
# Returns the command's status; on failure shows the end of the log.
run_logged() {
  local what=$1 start=$SECONDS status=0 ticker=
  shift
  doing "$what ..."
  printf '\n== %s: %s\n' "$what" "$*" >>"$LOG"
  if [[ -t 2 ]]; then
    tick &
    ticker=$!
  fi
  "$@" >>"$LOG" 2>&1 </dev/null || status=$?
  if [[ -n $ticker ]]; then
    kill "$ticker" && wait "$ticker" 2>/dev/null || true
    printf '\r' >&2
  fi
  if ((status)); then
    say "  failed after $((SECONDS - start)) s; the end of $LOG:"
    tail -n "$LOG_TAIL_LINES" "$LOG" | sed 's/^/    | /' >&2
  else
    say "  done in $((SECONDS - start)) s"
  fi
  return "$status"
}

# Counts seconds on the terminal, no longer than this script lives.
tick() {
  local start=$SECONDS
  while kill -0 "$$" 2>/dev/null; do
    printf '\r  %4d s ' $((SECONDS - start)) >&2
    sleep 1
  done
}

# as_root COMMAND...: directly when root, else through sudo (require_root has made sure that there is one).
as_root() {
  if ((EUID == 0)); then "$@"; else sudo "$@"; fi
}

# require_root WHAT HINT: ends when system packages are needed and this user cannot install them.
require_root() {
  if ((EUID == 0)) || command -v sudo >/dev/null; then return; fi
  die "$1, which needs root, and there is no sudo" "as root run: $2" "then start scripts/setup again"
}

# hash_of FILE...: one fingerprint over names and contents.
hash_of() {
  (cd "$VIGIL_ROOT" && sha256sum -- "$@") | sha256sum | cut -d ' ' -f 1
}

# is_done STEP HASH / mark_done STEP HASH: whether a step was finished with these inputs.
is_done() {
  [[ -f $STAMPS/$1 && $(<"$STAMPS/$1") == "$2" ]]
}

mark_done() {
  printf '%s\n' "$2" >"$STAMPS/$1"
}

# has_sha256 FILE HASH
has_sha256() {
  [[ -f $1 && $(sha256sum <"$1") == "$2  -" ]]
}

# require_sha256 FILE HASH WHAT: ends when a file that was just fetched is not the expected one.
require_sha256() {
  local found
  found=$(sha256sum <"$1" | cut -d ' ' -f 1)
  [[ $found == "$2" ]] || die "$3 is not the file this version of Vigil was tested with" \
    "expected sha256 $2" "found    sha256 $found" \
    "the package has changed in its registry, or the download was altered on the way"
}
