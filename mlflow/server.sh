#!/bin/sh
# Start MLflow's tracking server for refkd, on this machine alone.
#
#   sh mlflow/server.sh [further options of `mlflow server`]
#
# REFKD_WORKSPACE  folder of the store and the artefacts    (runs)
# REFKD_PORT       port on 127.0.0.1                        (5000)
# REFKD_STORE      store, such as postgresql://...          (SQLite in the workspace)
set -eu
umask 077

workspace=${REFKD_WORKSPACE:-runs}
port=${REFKD_PORT:-5000}
mkdir -p "$workspace/mlartifacts"
workspace=$(cd "$workspace" && pwd)

# The job runner would start nine more processes; nothing here needs it.
export MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false
# No model of refkd is a pickle, so none is ever loaded.
export MLFLOW_ALLOW_PICKLE_DESERIALIZATION=false

exec mlflow server \
  --host 127.0.0.1 \
  --port "$port" \
  --workers 1 \
  --allowed-hosts "127.0.0.1:$port,localhost:$port" \
  --backend-store-uri "${REFKD_STORE:-sqlite:///$workspace/mlflow.db}" \
  --artifacts-destination "$workspace/mlartifacts" \
  "$@"
