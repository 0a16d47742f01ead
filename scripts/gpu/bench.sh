#!/usr/bin/env bash
# Measure every door on a GPU host, all in one run: bench.sh OUT PIECE...
#
# Pieces, done in the order given:
#   7b             the engine offline (the ceiling), then every door, at the streams of STREAMS_7B
#   0.3b           the same for a model so small that the servers are the limit, at STREAMS_03B, with the variants of
#                  VARIANTS: api2/api4 = that many API servers, b2/b4 = that many bridge instances, si4 = four tokens an
#                  event, r2/r4 = that many engines on the same GPU; for example api4-b4-si4
#   7b-doors, 0.3b-doors, 7b-offline, 0.3b-offline    one half of these
#
# Without PREFIX, vLLM and Triton are those that `tritonfleet up` finds or installs. On a host without network, PREFIX
# names a folder with engine/ (import path with vLLM), triton/ (import path with nvidia-pytriton), stub/ (a virtual
# environment for Triton's Python stub) and client/ (import path with tritonclient).
#
# Where all streams begin at once, the first requests of each wait for each other's prompts and further ones do not,
# so with few requests a stream the median TTFT falls between two humps: hence four at 7 B.
#
# LIMIT_S (default 580) bounds the whole call: each part gets what is left, ends in time and keeps what it has. Where
# a command may run 600 s, make two calls:
#   PREFIX=/tmp/prefix scripts/gpu/bench.sh OUT/7b 7b
#   PREFIX=/tmp/prefix scripts/gpu/bench.sh OUT/0.3b 0.3b
# and a third one for 512 streams of the large model:
#   STREAMS_7B=512 ROUNDS=1 PREFIX=/tmp/prefix scripts/gpu/bench.sh OUT/7b-512 7b
set -uo pipefail
out=$(mkdir -p "$1" && cd "$1" && pwd)
shift
root=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d)
limit=${LIMIT_S:-580}
#: Kept for stopping the fleet and packing the logs.
reserve=25
SECONDS=0
left() { echo $((limit - reserve > SECONDS + 5 ? limit - reserve - SECONDS : 5)); }

device=${DEVICE:-0} # two GPUs can take a piece each, with PORTS of their own
engine_kind=${ENGINE:-vllm} # `fake` tries the script without a GPU
export VLLM_USE_FLASHINFER_SAMPLER=0 HF_HUB_OFFLINE=1
if [ -n "${PREFIX:-}" ]; then
  python=$(command -v python3)
  # The stub finds its packages through its own environment only.
  site=$("$PREFIX/stub/bin/python3" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
  [ -d "$site/pytriton" ] || cp -a "$PREFIX/triton/." "$PREFIX"/client/orjson* "$site/"
  export PYTHONPATH=$root/src:$PREFIX/client:$PREFIX/engine TRITONFLEET_CACHE=$work/cache
  engine_python=$python
  runtimes="runtimes: {triton: $site/pytriton/tritonserver/bin/tritonserver, vllm: $python}"
else
  python=${PYTHON:-$root/.venv/bin/python}
  engine_python=${ENGINE_PYTHON:-}
  runtimes="runtimes: {triton: auto}"
fi
install=${PREFIX:+--no-install}
ports=${PORTS:-8000 8001 8002 9000}
read -r http grpc metrics openai <<< "$ports"

# model NAME SOURCE MORE ARGS: a line of fleet.yaml
model() {
  local devices="[$device]" args="load_format: dummy, enable_prefix_caching: false${4:+, $4}"
  [ "$engine_kind" = fake ] && devices=cpu args="tpot_ms: 5, ttft_ms: 50, max_running: 1024"
  echo "  - {name: $1, source: $2, engine: $engine_kind, devices: $devices, max_model_len: 2048, $3 engine_args: {$args}}"
}

# variant NAME: the line of a 0.3 B model; all of them share the GPU
variant() {
  local args="max_num_seqs: 1024" more="" replicas=1 word
  for word in ${1//-/ }; do
    case $word in
      api*) args="$args, api_server_count: ${word#api}" ;;
      si*) args="$args, stream_interval: ${word#si}" ;;
      b*) more="$more bridge_instances: ${word#b}," ;;
      r*) replicas=${word#r} more="$more replicas: ${word#r}," ;;
      plain) ;;
      *) echo "unknown variant $1" >&2 && return 1 ;;
    esac
  done
  # What each engine needs for 512 streams of 400 tokens: 16 KiB a token.
  args="$args, gpu_memory_utilization: 0.07, kv_cache_memory_bytes: $((3600000000 / replicas))"
  model "$1" "$work/0.3b" "$more" "$args"
}

fleet_file() { # SIZE
  echo "name: gpu"
  echo "$runtimes"
  echo "doors: {http: {port: $http}, grpc: {port: $grpc}, metrics: {port: $metrics}, openai: {port: $openai}}"
  echo "lifecycle: {max_restarts: 1}" # a variant that cannot start must not take the time of the others
  echo "models:"
  if [ "$1" = 7b ]; then
    model llama "$work/7b" "" "max_num_seqs: 1024${ARGS_7B:+, $ARGS_7B}"
  else
    for name in plain $variants; do variant "$name"; done
  fi
}

built_vllm() {
  "$python" -m tritonfleet runtime list --json | "$python" -c '
import json, pathlib, sys
found = next(kind for kind in json.load(sys.stdin) if kind["kind"] == "vllm")
if found["state"] != "installed":
    sys.exit("no vLLM is built here: run `tritonfleet runtime install vllm`, or name its Python with ENGINE_PYTHON")
where = pathlib.Path(found["where"])
print(where / "bin/python3" if where.is_dir() else where)'
}

offline() { # SIZE STREAMS
  [ "$engine_kind" = fake ] && return
  [ -n "$engine_python" ] || engine_python=$(built_vllm) || return
  local budget=$(($(left) * 2 / 5))
  echo "== offline $1, at most $budget s"
  "$python" "$root/scripts/bench_gpu.py" --make-prompts "$work/prompts.json"
  CUDA_VISIBLE_DEVICES=$device timeout -k 5 "$budget" "$engine_python" "$root/scripts/gpu/offline.py" --model "$work/$1" \
    --prompts "$work/prompts.json" --streams "$2" --out "$out/offline-$1.json" \
    --engine-args '{"max_num_seqs": 1024, "max_num_batched_tokens": 8192}' > "$out/offline-$1.log" 2>&1 \
    || echo "the offline part of $1 did not end well; the end of its log:" "$(tail -5 "$out/offline-$1.log")"
  grep '^offline' "$out/offline-$1.log"
}

doors() { # SIZE STREAMS OPTIONS...
  local size=$1 streams=$2 failed=0
  shift 2
  fleet_file "$size" > "$work/fleet.yaml"
  cp "$work/fleet.yaml" "$out/fleet-$size.yaml"
  state=$work/state-$size
  fleet=("$work/fleet.yaml" --state "$state")
  echo "== doors $size, $(left) s left"
  if ! timeout $(($(left) * 2 / 3)) "$python" -m tritonfleet up "${fleet[@]}" --detach --ignore-plan ${install:+"$install"}; then
    "$python" -m tritonfleet status "${fleet[@]}"
  fi
  timeout -k 5 "$(($(left) + 10))" "$python" "$root/scripts/bench_gpu.py" --fleet "$work/fleet.yaml" \
    --state "$state" --streams "$streams" --seconds "$(left)" --offline "$out/offline-$size.json" \
    --out "$out/doors-$size.json" ${PROCESSES:+--processes "$PROCESSES"} "$@" || failed=1
  "$python" "$root/scripts/plot_doors.py" "$out/doors-$size.json" "$out/doors-$size.png" 2> /dev/null || true
  stop_fleet
  return $failed
}

stop_fleet() {
  [ -n "$state" ] || return 0
  timeout 20 "$python" -m tritonfleet down "$work/fleet.yaml" --state "$state" --drain 1 > /dev/null 2>&1 || true
  tar -czf "$out/logs-${state##*-}.tgz" -C "$state" logs 2> /dev/null || true
  state=""
}
state=""
trap stop_fleet EXIT

variants=${VARIANTS-api2-b2 api4-b4 api4-b4-si4 r2-b2 r4-b4}
streams_7b=${STREAMS_7B:-1,256,64}
streams_03b=${STREAMS_03B:-512}
models_03b=$(echo plain "$variants" | tr -s ' ' ',')
code=0
for piece in "$@"; do
  size=${piece%%-*}
  [ -d "$work/$size" ] || "$python" "$root/scripts/bench_gpu.py" --make-model "$work/$size" --size "$size" || exit 1
  case $piece in
    7b | 7b-offline) offline 7b "$streams_7b" ;;&
    0.3b | 0.3b-offline) offline 0.3b "$streams_03b" ;;&
    7b | 7b-doors) doors 7b "$streams_7b" --rounds "${ROUNDS:-2}" || code=1 ;;
    0.3b | 0.3b-doors)
      doors 0.3b "$streams_03b" --models "$models_03b" --rounds "${ROUNDS:-2}" --requests 2 --ratio-goal 1.2 || code=1
      ;;
    7b-offline | 0.3b-offline) ;;
    *) echo "unknown piece $piece" >&2 && exit 2 ;;
  esac
done
exit $code
