#!/usr/bin/env bash
# Builds the image of build/Dockerfile, and tests it.  scripts/image.sh [options]
#
#   --embedded            with ClickHouse inside
#   --program FOLDER      use the program that build/nuitka.py compiled, with the engine (--embedded) or without;
#                         without this option, a stage of the image compiles it
#   --tag NAME            default: ghcr.io/neavents/nealytics:VERSION, with -embedded at the end
#   --output FORMAT:FILE  also write a file: docker-archive (for `docker load`), or with buildah oci-archive
#   --check               run it: start, health, send an event (202), read it back, stop
#   --clickhouse URL      for --check without --embedded: a ClickHouse server; $CLICKHOUSE_USER, $CLICKHOUSE_PASSWORD
#
# Uses Docker if it answers, else buildah 1.28 or newer as root. BUILDER=docker|buildah selects one.
set -euo pipefail
cd "$(dirname "$0")/.."

fail() {
  echo "image.sh: $*" >&2
  exit 1
}

flavour=server program='' tag='' output='' check='' clickhouse=''
while [ $# -gt 0 ]; do
  case $1 in
    --embedded) flavour=embedded ;;
    --check) check=yes ;;
    --program | --tag | --output | --clickhouse)
      [ $# -gt 1 ] || fail "$1 needs a value"
      printf -v "${1#--}" %s "$2"
      shift
      ;;
    *) fail "unknown option $1; the head of this file lists all" ;;
  esac
  shift
done
if [ -n "$check" ] && [ "$flavour" = server ] && [ -z "$clickhouse" ]; then
  fail "--check needs --clickhouse URL, or --embedded: without ClickHouse, the event cannot be read back"
fi

builder=${BUILDER:-}
if [ -z "$builder" ]; then
  if docker info >/dev/null 2>&1; then
    builder=docker
  elif command -v buildah >/dev/null; then
    builder=buildah
  else
    fail "needs Docker or buildah; on Debian, as root: apt-get install buildah"
  fi
fi
if [ "$builder" = buildah ] && ! buildah info >/dev/null 2>&1; then
  # Not every file system supports stacked overlays; copies always work.
  export STORAGE_DRIVER=vfs
  buildah info >/dev/null || fail "buildah does not work here; its message is above"
fi

version=$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' nealytics/__init__.py)
revision=$(git rev-parse HEAD 2>/dev/null || true)
suffix=''
[ "$flavour" = server ] || suffix=-embedded
tag=${tag:-ghcr.io/neavents/nealytics:$version$suffix}

# The first descendant of buildah that is the program; its children have the same name.
program_below() {
  local child children
  read -ra children <<<"$(cat "/proc/$1/task/"*/children)"
  for child in "${children[@]}"; do
    if [ "$(cat "/proc/$child/comm")" = nealytics ]; then
      echo "$child"
      return
    fi
    program_below "$child"
  done
}

scratch=$(mktemp -d)
container='' job=''
clean_up() {
  if [ "$builder" = docker ]; then
    [ -z "$container" ] || docker rm --force --volumes "$container" >/dev/null
  else
    [ -z "$job" ] || kill -KILL "$(program_below "$job")" 2>/dev/null || true
    [ -z "$container" ] || buildah rm "$container" >/dev/null
  fi
  rm -rf "$scratch"
}
trap clean_up EXIT

# --- Build

context=.
arguments=(--build-arg "FLAVOUR=$flavour" --build-arg "VERSION=$version" --build-arg "REVISION=$revision")
if [ -n "$program" ]; then
  context=$scratch
  build/image-root.sh "$flavour" "$program" "$scratch/image"
  arguments+=(--build-arg PROGRAM=prebuilt)
fi
if [ "$builder" = docker ]; then
  DOCKER_BUILDKIT=1 docker build --file build/Dockerfile --tag "$tag" "${arguments[@]}" "$context"
else
  # Docker's format, because OCI's has no HEALTHCHECK.
  buildah build --isolation chroot --format docker --layers --timestamp "${SOURCE_DATE_EPOCH:-0}" \
    --file build/Dockerfile --tag "$tag" "${arguments[@]}" "$context"
fi

save() {
  if [ "$builder" = docker ]; then
    [ "${1%%:*}" = docker-archive ] || fail "--output $1: Docker writes docker-archive:FILE only; use BUILDER=buildah"
    docker save --output "${1#*:}" "$tag"
  else
    buildah push --quiet "$tag" "$1:$tag" >/dev/null
  fi
}
save "docker-archive:$scratch/image.tar"
bytes=$(stat --format %s "$scratch/image.tar")
packed=$(gzip -c "$scratch/image.tar" | wc -c)
echo "$tag: $((bytes / 1000000)).$((bytes / 100000 % 10)) MB, $((packed / 1000000)).$((packed / 100000 % 10)) MB to download"
[ -z "$output" ] || save "$output"
[ -n "$check" ] || exit 0

# --- Check

port=$((20000 + RANDOM % 12000))
url=http://127.0.0.1:$port
key=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
settings=(
  "NEALYTICS_SERVER_LISTEN=127.0.0.1:$port"
  "NEALYTICS_AUTH_API_KEYS=$key"
  "NEALYTICS_AUTH_JWT_KEY=$key$key"
)
[ "$flavour" = embedded ] || settings+=(
  "NEALYTICS_CLICKHOUSE_URL=$clickhouse"
  "NEALYTICS_CLICKHOUSE_USER=${CLICKHOUSE_USER:-default}"
  "NEALYTICS_CLICKHOUSE_PASSWORD=${CLICKHOUSE_PASSWORD:-}"
)
log=$scratch/log

start() {
  if [ "$builder" = docker ]; then
    container=$(docker run --detach --network host --read-only --cap-drop ALL --security-opt no-new-privileges \
      --volume /data "${settings[@]/#/--env=}" "$tag")
    return
  fi
  container=$(buildah from --pull-never "$tag")
  buildah config "${settings[@]/#/--env=}" "$container"
  install -d -o 65532 -g 65532 -m 700 "$scratch/data"
  # buildah applies neither of the two by itself.
  read -ra command <<<"$(in_config Entrypoint) $(in_config Cmd)"
  in_container "${command[@]}" >"$log" 2>&1 &
  job=$!
}

# A list in the image's configuration, with buildah.
in_config() {
  buildah inspect --format "{{range .Docker.Config.$1}}{{.}} {{end}}" "$container"
}

in_container() {
  if [ "$builder" = docker ]; then
    docker exec "$container" "$@"
  else
    buildah run --isolation chroot --volume "$scratch/data:/data" "$container" -- "$@"
  fi
}

stop() {
  local status=0
  if [ "$builder" = docker ]; then
    docker stop --time 30 "$container" >/dev/null
    status=$(docker inspect --format '{{.State.ExitCode}}' "$container")
  else
    kill -TERM "$(program_below "$job")"
    wait "$job" || status=$?
    job=''
    # The user writes only to /data, so a read-only root changes nothing.
    root=$(buildah mount "$container")
    written=$(find "$root" -xdev -user 65532 -not -path "$root/data*" -print -quit)
    [ -z "$written" ] || fail "check: ${written#"$root"} was written, outside of /data"
  fi
  [ "$status" = 0 ] || fail "check: it ended with $status"
}

until_true() {
  local what=$1 i
  shift
  for ((i = 0; i < 300; i++)); do
    if "$@" >/dev/null 2>&1; then
      return
    fi
    sleep 0.2
  done
  [ "$builder" != docker ] || docker logs "$container" >"$log" 2>&1
  tail -n 20 "$log" >&2
  fail "check: timed out after a minute: $what"
}

event_is_read() {
  curl -fsS "$url/api/v1/telemetry/timeline" -H "Authorization: Bearer $token" | grep -q image-check
}

began=$(date +%s%N)
start
until_true "/health answers" curl -fsS "$url/health"
echo "check: /health answers $((($(date +%s%N) - began) / 1000000)) ms after the start of the container"
if [ "$builder" = docker ]; then
  healthy() { [ "$(docker inspect --format '{{.State.Health.Status}}' "$container")" = healthy ]; }
  until_true "Docker calls it healthy" healthy
else
  read -ra command <<<"$(in_config Healthcheck.Test)"
  in_container "${command[@]:1}" >/dev/null
fi
echo "check: healthy"
answer=$(curl -sS -o "$scratch/answer" -w '%{http_code}' "$url/api/v1/telemetry/track" -H "X-Project-Key: $key" \
  -H 'Content-Type: application/json' \
  -d '{"projectId": "shop", "tenantId": "acme", "sessionId": "image-check", "eventType": "view"}')
[ "$answer" = 202 ] || fail "check: sending an event was answered $answer: $(cat "$scratch/answer")"
echo "check: 202"
token=$(in_container nealytics token --project shop --tenant acme)
until_true "the event can be read" event_is_read
echo "check: the event is in the timeline"
stop
echo "check: stopped, exit status 0"
