#!/bin/sh
# `refkd` from the project's root, for the entry points of MLproject: `sh run.sh search STUDY.yaml`.
#
# The environment is the active one, among them those that MLflow makes of python_env.yaml; without
# an active one, that of `make install`. refkd itself is taken from this checkout.
set -eu

cd "$(dirname "$0")/.."
if [ -z "${VIRTUAL_ENV:-}" ] && [ -x .venv/bin/python ]; then
  PATH=$PWD/.venv/bin:$PATH
fi
PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH}
export PATH PYTHONPATH
# Where refkd is not installed, its version and its requirements are written beside its code.
python -c 'import importlib.metadata as m; m.version("refkd")' 2>/dev/null ||
  python -c 'from setuptools import setup; setup()' --quiet egg_info
exec python -c 'from tune.cli import main; main()' "$@"
