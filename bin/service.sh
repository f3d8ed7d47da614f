# Sourced by the entry points. Sets `root` (the project's folder) and `python`, exports PYTHONPATH, and
# defines `migrate`.

# The entry point's real folder, even if it is called by a link.
root=$(dirname -- "$(readlink -f -- "${BASH_SOURCE[1]}")")

# Prints the Python that has the packages: the project's `.venv`, pipenv's environment, or (in an image)
# the one on the PATH.
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

# Migrates the database. Runs in the background, so that the shell can pass a SIGTERM on at once.
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
# Write output to the log at once, not when a buffer is full.
export PYTHONUNBUFFERED=1
# Return memory of more than 4 MiB (large answers) to the system, so that processes don't stay large:
# without these thresholds, 18 MB more remain after answers of 20 MB. Lower thresholds cost time for usual
# bodies and answers: with 256 KiB, 6 MB less remain, but bodies of 1 MB take 1.6 times the CPU time, and
# answers of 0.1 to 2 MB 3 times.
export MALLOC_MMAP_THRESHOLD_=4194304 MALLOC_TRIM_THRESHOLD_=8388608 MALLOC_ARENA_MAX=2
cd -- "$root"
