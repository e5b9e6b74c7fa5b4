#!/usr/bin/env bash
# Runs every oracle again and compares with the committed answers; exit status 1 where one differs.
# With arguments: only the oracles named, such as `run.sh preprocess`.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

python=${PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))'; then
  echo "oracles: $("$python" --version) does not fit; set PYTHON to a Python 3.11, 3.12 or 3.13" >&2
  exit 69
fi

# One environment a set of requirements, outside the tree.
key=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')-$(sha256sum "$here/requirements.txt" | cut -c1-16)
environment=${XDG_CACHE_HOME:-$HOME/.cache}/inctrl/oracles/$key
if [[ ! -f $environment/.complete ]]; then
  echo "oracles: installing tests/oracles/requirements.txt into $environment (3 GB, once)" >&2
  "$python" -m venv --clear "$environment" || {
    echo "oracles: venv is missing; install it (Debian, Ubuntu: apt-get install python3-venv)" >&2
    exit 69
  }
  "$environment/bin/pip" install --quiet --disable-pip-version-check --no-deps --requirement "$here/requirements.txt"
  touch "$environment/.complete"
fi

oracles=()
if [[ $# -gt 0 ]]; then
  for name in "$@"; do
    oracles+=("$here/${name%.py}.py")
  done
else
  mapfile -t oracles < <(grep -l -- '"--check"' "$here"/*.py)
fi

failed=()
for oracle in "${oracles[@]}"; do
  name=$(basename "$oracle" .py)
  echo "-- $name"
  "$environment/bin/python" "$oracle" --check || failed+=("$name")
done
if [[ ${#failed[@]} -gt 0 ]]; then
  echo "oracles: ${failed[*]} differ from their committed answers" >&2
  exit 1
fi
echo "oracles: ${#oracles[@]} agree with their committed answers"
