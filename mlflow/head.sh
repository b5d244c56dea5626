#!/bin/sh
# MLflow's server in the background of a cluster's head: on loopback, behind a password.
#
#   sh mlflow/head.sh start    start it unless it runs; the first start makes the password
#   sh mlflow/head.sh stop     stop it
#
# REFKD_WORKSPACE and REFKD_PORT as in server.sh. The password of the user `admin` stands in
# REFKD_WORKSPACE/admin.password and in ~/.mlflow/credentials, where MLflow's clients on this machine
# find it; only their owner can read these files.
set -eu
umask 077

here=$(cd "$(dirname "$0")" && pwd)
REFKD_WORKSPACE=${REFKD_WORKSPACE:-runs}
REFKD_PORT=${REFKD_PORT:-5000}
REFKD_AUTH=basic
export REFKD_WORKSPACE REFKD_PORT REFKD_AUTH
log=$REFKD_WORKSPACE/server.log
pid=$HOME/.mlflow/head-$REFKD_PORT.pid

args() { # of a process; small images have no ps
  ps -o args= -p "$1" || tr '\0' ' ' <"/proc/$1/cmdline"
}

# A number alone says nothing: after a restart of the machine it may be another program's.
runs() {
  [ -s "$pid" ] && args "$(cat "$pid")" 2>/dev/null | grep -q mlflow
}

answers() {
  python -c "import urllib.request as u; u.urlopen('http://127.0.0.1:$REFKD_PORT/health', timeout=2)" 2>/dev/null
}

case ${1:-} in
  start) ;;
  stop)
    # The process leads a group of its own: the server's workers end with it.
    if runs; then kill -- "-$(cat "$pid")"; fi
    rm -f "$pid"
    exit 0
    ;;
  *)
    echo "head.sh: say start or stop" >&2
    exit 2
    ;;
esac

mkdir -p "$REFKD_WORKSPACE" "$HOME/.mlflow"
password=$REFKD_WORKSPACE/admin.password
[ -s "$password" ] || python -c 'import secrets; print(secrets.token_urlsafe(24))' >"$password"
if [ -s "$HOME/.mlflow/credentials" ] && ! grep -qF -f "$password" "$HOME/.mlflow/credentials"; then
  mv "$HOME/.mlflow/credentials" "$HOME/.mlflow/credentials.before"
  echo "head.sh: ~/.mlflow/credentials were another server's; they are in credentials.before now"
fi
cat >"$HOME/.mlflow/credentials" <<EOF
[mlflow]
mlflow_tracking_username = admin
mlflow_tracking_password = $(cat "$password")
EOF

if runs; then
  echo "head.sh: MLflow runs already"
  exit 0
fi
if answers; then
  echo "head.sh: another server listens at 127.0.0.1:$REFKD_PORT; stop it, or set REFKD_PORT" >&2
  exit 1
fi
MLFLOW_AUTH_ADMIN_PASSWORD=$(cat "$password") \
  setsid nohup sh "$here/server.sh" >"$log" 2>&1 </dev/null &
echo $! >"$pid"
for _ in $(seq 60); do
  if answers; then exit 0; fi
  runs || break
  sleep 1
done
echo "head.sh: MLflow does not answer at 127.0.0.1:$REFKD_PORT; the end of $log:" >&2
tail -n 20 "$log" >&2
exit 1
