# Sourced by the entry points: the project's folder, its Python, and the step before every service.
# Sets `root` and `python`, and exports PYTHONPATH.

# The entry point's own folder, whatever links lead to it.
root=$(dirname -- "$(readlink -f -- "${BASH_SOURCE[1]}")")

# The Python that has the packages: the project's own environment, pipenv's, or (in an image) the one
# on the PATH.
find_python() {
  local environment
  if [[ -x $root/.venv/bin/python ]]; then
    printf '%s\n' "$root/.venv/bin/python"
  elif command -v pipenv >/dev/null && environment=$(cd -- "$root" && pipenv --venv 2>/dev/null); then
    printf '%s\n' "$environment/bin/python"
  elif ! command -v python && ! command -v python3; then
    printf 'No Python found: run `pipenv sync` in %s first.\n' "$root" >&2
    return 1
  fi
}

# Brings the database to the newest schema. Run beside the shell, so that a SIGTERM ends both at once.
migrate() {
  local migration
  "$python" -m origin.migrate --check-settings &
  migration=$!
  trap 'kill -TERM "$migration"' TERM INT
  wait "$migration"
  trap - TERM INT
}

python=$(find_python)
export PYTHONPATH=$root/src${PYTHONPATH:+:$PYTHONPATH}
# Everything said is wanted in the log now, not when a buffer is full.
export PYTHONUNBUFFERED=1
# What an answer of more than 4 MiB took goes back to the system, not to a heap that stays. Bodies and the
# usual answers are smaller: for each of those, new memory of the system's costs more than the work itself
# (thresholds of 256 KiB: 1.6 times the CPU's time for bodies of 1 MB, 3 times for answers of 0.1 to 2 MB,
# to keep 6 MB less). Without any thresholds, 18 MB more stay after answers of 20 MB.
export MALLOC_MMAP_THRESHOLD_=4194304 MALLOC_TRIM_THRESHOLD_=8388608 MALLOC_ARENA_MAX=2
cd -- "$root"
