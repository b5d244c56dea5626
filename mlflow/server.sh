#!/bin/sh
# Start MLflow's tracking server for refkd, on this machine alone unless told otherwise.
#
#   sh mlflow/server.sh [further options of `mlflow server`]
#
# REFKD_WORKSPACE  folder of the store and the artefacts           (runs)
# REFKD_STORE      store, such as postgresql+psycopg://USER:PASSWORD@HOST/mlflow
#                  or sqlite:////ABSOLUTE/PATH.db       (mlflow.db in the workspace)
# REFKD_ARTIFACTS  where artefacts go: a folder or s3://BUCKET/PATH (mlartifacts in the workspace)
# REFKD_PORT       port                                            (5000)
# REFKD_AUTH       basic: every request needs a user and a password (none)
#                  MLFLOW_AUTH_ADMIN_PASSWORD names the first password of the user `admin`
# REFKD_HOST       address to listen at; another than loopback needs REFKD_AUTH (127.0.0.1)
# REFKD_NAMES      names, with the port, by which browsers and clients reach the server, comma
#                  between them                                    (loopback)
set -eu
umask 077

workspace=${REFKD_WORKSPACE:-runs}
host=${REFKD_HOST:-127.0.0.1}
port=${REFKD_PORT:-5000}
auth=${REFKD_AUTH:-none}

refuse() {
  echo "server.sh: $1" >&2
  exit 2
}

case $auth in
  none | basic) ;;
  *) refuse "REFKD_AUTH is '$auth'; say basic or none" ;;
esac
case $host in
  127.0.0.1 | localhost | ::1) ;;
  *) [ "$auth" = basic ] || refuse "REFKD_HOST is $host; without REFKD_AUTH=basic everybody there could write" ;;
esac
case ${REFKD_STORE:-} in
  sqlite:////*) ;;
  sqlite:*) refuse "REFKD_STORE is '$REFKD_STORE'; write sqlite:////ABSOLUTE/PATH.db" ;;
esac

mkdir -p "$workspace"
workspace=$(cd "$workspace" && pwd)
artifacts=${REFKD_ARTIFACTS:-mlartifacts}
case $artifacts in
  /* | *://*) ;;
  *) [ -z "${REFKD_ARTIFACTS:-}" ] || artifacts=$PWD/$artifacts ;;
esac
case ${MLFLOW_AUTH_CONFIG_PATH:-/} in
  /*) ;;
  *) MLFLOW_AUTH_CONFIG_PATH=$PWD/$MLFLOW_AUTH_CONFIG_PATH ;;
esac
# The server runs in its workspace, as no URL holds a path with ?, # or % as it is; what was relative
# to the folder of the caller, among it entries of PATH, is named in full before.
for program in python mlflow; do
  found=$(command -v "$program") || refuse "$program is not on the PATH; run \`make install\` and use .venv"
  PATH=$(cd "$(dirname "$found")" && pwd):$PATH
done
cd "$workspace"

if [ "$auth" = basic ]; then
  python -c 'import flask_wtf' 2>/dev/null ||
    refuse "authentication needs Flask-WTF; run: pip install 'mlflow[auth]'"
  if [ ! -f "$workspace/basic_auth.db" ] && [ -z "${MLFLOW_AUTH_ADMIN_PASSWORD:-}" ]; then
    refuse "set MLFLOW_AUTH_ADMIN_PASSWORD for the first start: it becomes the password of the user admin"
  fi
  if [ -z "${MLFLOW_FLASK_SERVER_SECRET_KEY:-}" ]; then
    [ -s "$workspace/server.key" ] ||
      python -c 'import secrets; print(secrets.token_hex(32))' >"$workspace/server.key"
    MLFLOW_FLASK_SERVER_SECRET_KEY=$(cat "$workspace/server.key")
    export MLFLOW_FLASK_SERVER_SECRET_KEY
  fi
  if [ -z "${MLFLOW_AUTH_CONFIG_PATH:-}" ]; then
    MLFLOW_AUTH_CONFIG_PATH=$workspace/basic_auth.ini
    export MLFLOW_AUTH_CONFIG_PATH
    cat >"$MLFLOW_AUTH_CONFIG_PATH" <<EOF
[mlflow]
default_permission = NO_PERMISSIONS
database_uri = sqlite:///basic_auth.db
admin_username = admin
authorization_function = mlflow.server.auth:authenticate_request_basic_auth
auth_cache_ttl_seconds = 60
EOF
  fi
  set -- --app-name basic-auth "$@"
fi

# The job runner would start nine more processes; nothing here needs it.
export MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false
# No model of refkd is a pickle, so none is ever loaded.
export MLFLOW_ALLOW_PICKLE_DESERIALIZATION=false
# It tells its makers nothing of what is done with it.
export MLFLOW_DISABLE_TELEMETRY=true
# Not on the command line, where everybody on this machine could read the password.
export MLFLOW_BACKEND_STORE_URI="${REFKD_STORE:-sqlite:///mlflow.db}"

exec mlflow server \
  --host "$host" \
  --port "$port" \
  --workers 1 \
  --allowed-hosts "${REFKD_NAMES:-127.0.0.1:$port,localhost:$port}" \
  --artifacts-destination "$artifacts" \
  "$@"
