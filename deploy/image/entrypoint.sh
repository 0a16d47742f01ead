#!/usr/bin/env bash
# What a container of the image does: serve | door | copy | wait | worker. Everything else is run as it is.
set -euo pipefail

home=${TRITONFLEET_HOME:-/opt/tritonfleet}
fleet=${TRITONFLEET_FLEET:-/etc/tritonfleet/fleet.yaml}
state=${TRITONFLEET_STATE:-/var/lib/tritonfleet}/fleet
# Not on the PATH: Triton's stub takes the first python3 there, which must be the image's own.
python=$home/bin/python

say() { printf 'tritonfleet: %s\n' "$1" >&2; }
die() {
  say "$1"
  exit 2
}

need_file() { [ -r "$1" ] || die "$1 is not there or cannot be read; the chart mounts it from a ConfigMap"; }

# The token comes as a file, which does not show in the process list or in 'kubectl describe'.
read_token() {
  local file=${HF_TOKEN_FILE:-}
  [ -n "$file" ] && [ -r "$file" ] || return 0
  HF_TOKEN=$(<"$file")
  export HF_TOKEN
}

# The cache is a volume that starts empty; an image that brings runtimes keeps them elsewhere.
link_runtimes() {
  [ -n "${TRITONFLEET_RUNTIMES:-}" ] || return 0
  ln -sfn "$TRITONFLEET_RUNTIMES/runtimes" "$TRITONFLEET_CACHE/runtimes"
}

# API keys come as a mounted Secret; the fleet looks for them in its state folder, through a link that sees new ones.
link_keys() {
  mkdir -p "$state"
  [ -z "${TRITONFLEET_KEYS:-}" ] || ln -sfn "$TRITONFLEET_KEYS" "$state/keys.json"
}

# A model larger than a node: this pod leads, the workers join its Ray cluster.
lead_nodes() {
  [ "${LWS_GROUP_SIZE:-1}" -gt 1 ] || return 0
  command -v ray >/dev/null || die "this image has no Ray, which a model over ${LWS_GROUP_SIZE} nodes needs"
  ray start --head --port=6379 --disable-usage-stats
}

case ${1:-serve} in
  serve)
    need_file "$fleet"
    read_token
    link_runtimes
    link_keys
    lead_nodes
    exec "$python" -m tritonfleet up "$fleet" --no-install --state "$state"
    ;;
  door)
    need_file "${2:-/etc/tritonfleet/door.json}"
    exec "$python" -m tritonfleet.deploy.door "${2:-/etc/tritonfleet/door.json}" "${@:3}"
    ;;
  copy | wait)
    need_file "${2:-/etc/tritonfleet/weights.json}"
    read_token
    exec "$python" -m tritonfleet.deploy.weights "$1" "${2:-/etc/tritonfleet/weights.json}" "${@:3}"
    ;;
  worker)
    [ -n "${LWS_LEADER_ADDRESS:-}" ] || die "LWS_LEADER_ADDRESS is not set: a worker runs in a LeaderWorkerSet"
    command -v ray >/dev/null || die "this image has no Ray, which a model over several nodes needs"
    exec ray start --address="$LWS_LEADER_ADDRESS:6379" --block --disable-usage-stats
    ;;
  *)
    exec "$@"
    ;;
esac
