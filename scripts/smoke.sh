#!/usr/bin/env bash
# Tests the artefacts as a new user would: unpack, start, send, read back, stop, start again, read again.
#
#   scripts/smoke.sh EMBEDDED [SERVER]      each a .tar.gz of a release, a directory with the program, or the program
#
# EMBEDDED is the flavour with ClickHouse inside. SERVER, the one without, uses the ClickHouse of EMBEDDED. Needs
# only bash, tar, gzip, grep, sed and the coreutils: no Python, no curl, no root, and no network except loopback.
# WAIT_S is the time limit for a start, and for an event to be readable (60 s; emulated processors are slow).
# On success, the last line is "smoke: passed". A failure prints the end of the node's log.
set -euo pipefail
wait_s=${WAIT_S:-60}
scratch=$(mktemp -d)
pid=
engine_pid=
cleanup() {
  for running in $pid $engine_pid; do kill -KILL "$running" 2>/dev/null || true; done
  rm -rf "$scratch"
}
trap cleanup EXIT

fail() {
  echo "smoke: $flavour: $*" >&2
  [ ! -s "$scratch/$flavour.log" ] || { echo "the end of its log:" && tail -n 20 "$scratch/$flavour.log"; } >&2
  exit 1
}

# program_of ARTEFACT: the path of its `nealytics`.
program_of() {
  local artefact=$1 found
  if [ -f "$artefact" ] && [ "${artefact%.tar.gz}" != "$artefact" ]; then
    mkdir "$scratch/$flavour"
    tar -xzf "$artefact" -C "$scratch/$flavour" || fail "cannot unpack $artefact"
    artefact=$scratch/$flavour
  fi
  if [ -d "$artefact" ]; then
    for found in "$artefact"/nealytics "$artefact"/*/nealytics; do
      if [ -f "$found" ]; then break; fi
    done
    [ -f "$found" ] || fail "no program named nealytics in $1"
    artefact=$found
  fi
  [ -x "$artefact" ] || fail "$1 is not a .tar.gz, a directory or a program"
  realpath "$artefact"
}

free_port() {
  local port
  while :; do
    port=$((20000 + RANDOM % 12000))
    (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || break
  done
  echo "$port"
}

# request METHOD PATH [HEADER] [BODY]: the whole answer, status line first.
request() {
  local LC_ALL=C method=$1 path=$2 header=${3:-X-Smoke: 1} body=${4:-}
  exec 3<>"/dev/tcp/127.0.0.1/$port" || return
  printf '%s %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n%s\r\nContent-Length: %d\r\n\r\n%s' \
    "$method" "$path" "$header" "${#body}" "$body" >&3
  cat <&3
  exec 3>&-
}

# until_true WHAT COMMAND…: repeats the command until it succeeds or wait_s has passed.
until_true() {
  local what=$1 end=$((SECONDS + wait_s))
  shift
  until "$@"; do
    [ -z "$pid" ] || kill -0 "$pid" 2>/dev/null || fail "the node ended before: $what"
    [ $SECONDS -lt $end ] || fail "timed out after $wait_s s: $what; the last answer: ${answer:-none}"
    sleep 0.1
  done
}

healthy() { "$program" health --config "$config" >/dev/null 2>&1; }
ready() { request GET /ready 2>/dev/null | head -n 1 | grep -q ' 200 '; }
readable() {
  answer=$(request GET "/api/v1/telemetry/timeline?limit=10&sessionId=$session" "Authorization: Bearer $token")
  [ "$(grep -o '"eventId"' <<<"$answer" | wc -l)" = 2 ]
}

start() {
  local began ended
  began=$(date +%s%N)
  "$program" serve --config "$config" >>"$scratch/$flavour.log" 2>&1 &
  pid=$!
  until_true "nealytics health" healthy
  ended=$(date +%s%N)
  until_true "GET /ready is 200" ready
  echo "$flavour: alive after $(((ended - began) / 1000000)) ms (including the time of the request)"
}

stop() {
  local status=0
  kill -TERM "$pid"
  wait "$pid" || status=$?
  pid=
  [ $status = 0 ] || fail "after SIGTERM it ended with status $status, not 0"
}

# new_event: an event with its own id and timestamp, so that a retry is counted once.
new_event() {
  printf '{"eventId":"%s","timestamp":"%s","projectId":"my-app","tenantId":"smoke","sessionId":"%s","eventType":"smoke"}' \
    "$(cat /proc/sys/kernel/random/uuid)" "$(date -u +%Y-%m-%dT%H:%M:%S.%3NZ)" "$session"
}

# try FLAVOUR ARTEFACT: leaves the node running.
try() {
  flavour=$1
  program=$(program_of "$2")
  config=$scratch/$flavour.toml
  port=$(free_port)
  echo "$flavour: $("$program" --version)"
  "$program" init --config "$config" --listen "127.0.0.1:$port" --data-dir "$scratch/$flavour-data" >/dev/null ||
    fail "init failed"
  local key event answer
  key=$(sed -n 's/^key = "\(.*\)"/\1/p' "$config" | head -n 1)
  [ -n "$key" ] || fail "init wrote no key into $config"
  token=$("$program" token --config "$config" --project my-app --tenant smoke --expires 1h) || fail "token failed"
  start

  session=$(cat /proc/sys/kernel/random/uuid)
  event=$(new_event)
  answer=$(request POST /api/v1/telemetry/track "X-Project-Key: $key" "$event")
  grep -q '^HTTP/1.1 202 ' <<<"$answer" || fail "track was not answered with 202: $answer"
  answer=$(request POST '/api/v1/telemetry/batch?wait=true' "X-Project-Key: $key" \
    "[$event,$(new_event)]")
  grep -q '^HTTP/1.1 20[02] ' <<<"$answer" || fail "batch was not answered with 200 or 202: $answer"
  until_true "the timeline has both events, one of them sent twice" readable
  answer=$(request GET '/api/v1/telemetry/timeline?limit=10' 'Authorization: Bearer wrong')
  grep -q '^HTTP/1.1 401 ' <<<"$answer" || fail "a wrong token was not answered with 401: $answer"
  stop
  start
  until_true "the timeline still has them after a restart" readable
  echo "$flavour: 202, read back, stopped, started, read back"
}

flavour=arguments
[ $# = 1 ] || [ $# = 2 ] || fail "usage: scripts/smoke.sh EMBEDDED [SERVER]"
# The directory into which a single-file program unpacks itself.
mkdir "$scratch/cache"
export XDG_CACHE_HOME=$scratch/cache
export NEALYTICS_WAL_ALLOW_ANY_FILESYSTEM=true
try embedded "$1"
stop
if [ $# = 2 ]; then
  # The ClickHouse of EMBEDDED alone, in its own directory.
  "$program" init --config "$scratch/engine.toml" --data-dir "$scratch/engine-data" >/dev/null || fail "init failed"
  "$program" engine --config "$scratch/engine.toml" >"$scratch/engine.env" 2>"$scratch/engine.log" &
  engine_pid=$!
  until_true "nealytics engine" grep -q '^CLICKHOUSE_PASSWORD=' "$scratch/engine.env"
  # shellcheck source=/dev/null
  . "$scratch/engine.env"
  export NEALYTICS_CLICKHOUSE_URL=$CLICKHOUSE_URL NEALYTICS_CLICKHOUSE_USER=$CLICKHOUSE_USER
  export NEALYTICS_CLICKHOUSE_PASSWORD=$CLICKHOUSE_PASSWORD NEALYTICS_CLICKHOUSE_DATABASE=smoke
  try server "$2"
  stop
  pid=$engine_pid
  engine_pid=
  flavour=engine
  stop
fi
echo "smoke: passed"
