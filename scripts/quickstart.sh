#!/usr/bin/env bash
# From a fresh clone to a running Nealytics with its own ClickHouse, in one command and without root.
#
#   scripts/quickstart.sh [--demo] [--stop-after]      PORT=5000  DIRECTORY=quickstart
#
# Creates an environment and a configuration with random keys (kept in quickstart/), starts the server with the
# embedded engine on port 5000, sends three events, reads them back with a token for their tenant, and prints commands
# to continue with. Then it offers to fill a project with example events and prints the link to its page; --demo does
# this without asking. Ctrl-C stops everything; the next start has the same events.
# --stop-after stops the server at the end (for tests).
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/env.sh

directory=${DIRECTORY:-quickstart}
stop_after=false
demo=false
for argument in "$@"; do
  case "$argument" in
    --demo) demo=true ;;
    --stop-after) stop_after=true ;;
    -h | --help) sed -n '2,/^set /s/^# \{0,1\}//p' "$0"; exit ;;
    *) fail "unknown argument $argument; write --demo or --stop-after" ;;
  esac
done

command -v curl >/dev/null 2>&1 || fail "needs curl; on Debian: apt-get install curl"
mkdir -p "$directory"
make_env "$directory/venv" build/requirements.txt
nealytics="$directory/venv/bin/nealytics"
config="$directory/nealytics.toml"
if [ ! -e "$config" ]; then
  "$nealytics" init --config "$config" --listen "127.0.0.1:${PORT:-5000}" --data-dir "$directory/data" >/dev/null
  # Absolute, like data_dir, so that commands find the saved queries from any directory.
  printf "\n[saved_queries]\ndirectory = '%s/queries'\n" "$(cd "$directory" && pwd)" >>"$config"
  echo "wrote $config with random keys"
fi
# The file decides, even if PORT has changed since the first start.
setting() {
  "$directory/venv/bin/python" - "$config" "$1" <<'PY'
import sys, tomllib
value = tomllib.load(open(sys.argv[1], "rb"))
for part in sys.argv[2].split("."):
    value = value[int(part) if part.isdigit() else part]
print(value)
PY
}
key=$(setting auth.api_keys.0.key)
url="http://$(setting server.listen)"
[ -z "${PORT:-}" ] || [ "${url##*:}" = "$PORT" ] ||
  fail "$config listens on ${url##*/}, but PORT is $PORT; change server.listen there, or omit PORT"

# Another server on this port would answer instead of ours.
host=${url#http://}; port=${host##*:}; host=${host%:*}
if (exec 3<>"/dev/tcp/${host/0.0.0.0/127.0.0.1}/$port") 2>/dev/null; then
  fail "port $port is in use, perhaps by another quickstart; stop that, or use another port: PORT=5001 DIRECTORY=quickstart-2 scripts/quickstart.sh"
fi

# In its own process group, so that Ctrl-C reaches only this script, which then stops the server in an orderly way.
setsid "$nealytics" serve --config "$config" 2>>"$directory/nealytics.log" &
server=$!
trap 'kill -TERM $server 2>/dev/null || true; wait $server 2>/dev/null || true' EXIT
trap 'echo; echo "stopping; scripts/quickstart.sh starts again, with the same events"; exit 0' INT TERM HUP

echo -n "starting (log: $directory/nealytics.log) "
for _ in $(seq 1 600); do
  if curl -fsS -o /dev/null "$url/ready" 2>/dev/null; then break; fi
  if ! kill -0 $server 2>/dev/null; then
    echo
    tail -n 5 "$directory/nealytics.log" >&2
    fail "the server ended before it was ready; its last messages are above"
  fi
  echo -n .
  sleep 0.2
done
curl -fsS -o /dev/null "$url/ready" || fail "not ready after 120 s; see $directory/nealytics.log"
echo " ready"

session="quickstart-$(date +%s)"
for event in page_view add_to_cart purchase; do
  # The sender sets id and timestamp, so that a retry is counted once.
  id=$(cat /proc/sys/kernel/random/uuid)
  now=$(date -u +%Y-%m-%dT%H:%M:%S.%3NZ)
  metadata='{"plan":"pro"}'
  [ $event != purchase ] || metadata='{"plan":"pro","amount":29}'
  refused=$(curl -sS -X POST "$url/api/v1/telemetry/track" -H 'Content-Type: application/json' -H "X-Project-Key: $key" \
    -d "{\"eventId\":\"$id\",\"timestamp\":\"$now\",\"projectId\":\"my-app\",\"tenantId\":\"tenant-1\",\"sessionId\":\"$session\",\"userId\":\"ada\",\"eventType\":\"$event\",\"itemId\":\"/shop\",\"metadata\":$metadata}" \
    -w "sent $event: %{http_code}") || true
  echo "$refused"
  [[ $refused == *"sent $event: 202" ]] || fail "the server refused an event; its answer is above"
done

token=$("$nealytics" token --config "$config" --project my-app --tenant tenant-1 --expires 12h)
# They can be read when their batch is in ClickHouse, after commit.flush_interval_s (3 seconds).
answer=""
for _ in $(seq 1 100); do
  answer=$(curl -fsS "$url/api/v1/telemetry/timeline?limit=10&sessionId=$session" -H "Authorization: Bearer $token" || true)
  if [ "$(grep -o '"eventId"' <<<"$answer" | wc -l)" = 3 ]; then break; fi
  sleep 0.2
done
[ "$(grep -o '"eventId"' <<<"$answer" | wc -l)" = 3 ] || fail "the three events did not come back: $answer"
echo "read back as tenant-1: these three events"

bold="" plain=""
if [ -t 1 ]; then bold=$'\e[1m' plain=$'\e[0m'; fi
# With absolute paths, so that the commands work in another terminal and directory.
command="$PWD/$nealytics" file="$PWD/$config"
case "$directory" in /*) command=$nealytics file=$config ;; esac
cat <<END

${bold}Nealytics runs at $url${plain}

  export PATH="${command%/nealytics}:\$PATH"
  export NEALYTICS_CONFIG="$file"

  # send an event
  curl -i $url/api/v1/telemetry/track \\
    -H 'Content-Type: application/json' \\
    -H 'X-Project-Key: $key' \\
    -d '{"projectId":"my-app","tenantId":"tenant-1","sessionId":"s-1",
         "eventType":"page_view"}'

  # read as tenant-1
  TOKEN=\$(nealytics token --project my-app --tenant tenant-1)
  curl $url/api/v1/telemetry/timeline \\
    -H "Authorization: Bearer \$TOKEN"
  curl $url/api/v1/analytics/summary \\
    -H "Authorization: Bearer \$TOKEN"

  # the page of tenant-1
  nealytics dashboard --project my-app --tenant tenant-1

  # show the state of the node
  curl $url/ready

All settings: $config and nealytics.example.toml
All commands: nealytics --help
END
if ! $demo && [ -t 0 ] && [ -t 1 ]; then
  echo
  read -r -p "${bold}Fill a project with 60 days of example events and see its page?${plain} [Y/n] " answer ||
    answer=n
  case "$answer" in "" | [yY]*) demo=true ;; esac
fi
echo
if $demo; then
  "$nealytics" demo --config "$config" || echo "the server continues to run"
else
  echo "To see a page of charts, filled with 60 days of example events: nealytics demo"
fi
if $stop_after; then exit 0; fi
echo
echo "Press Ctrl-C to stop it."
wait $server
fail "the server ended by itself; see $directory/nealytics.log"
