#!/bin/sh
# layout: the rules of the source tree (see layout.py). First the lint is tested on itself, then it looks at the source.
# Runs with `make check`; srcdir is the source.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
python=${PYTHON3:-/usr/bin/python3}
export PYTHONDONTWRITEBYTECODE=1

"$python" "$here/layout.py" --self-test
exec "$python" "$here/layout.py" "${srcdir:-$here/../..}"
