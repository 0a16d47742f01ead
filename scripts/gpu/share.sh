#!/usr/bin/env bash
# Measure models that share one GPU, on a GPU host without network: share.sh PREFIX OUT MODE
#
#   bash scripts/gpu/share.sh /tmp/prefix "$OUT" shared     four models of Llama-2-7B's shape take turns (up to 9 minutes)
#   bash scripts/gpu/share.sh /tmp/prefix "$OUT" squeezed   the same four with a quarter of the memory each
#   bash scripts/gpu/share.sh /tmp/prefix "$OUT" restart    two of them that are stopped and started for each other
#
# PREFIX is as for bench.sh. Results: OUT/MODE.json, OUT/MODE-logs.tgz; then, anywhere:
#   python scripts/gpu_share.py --compare OUT/shared.json OUT/squeezed.json --png share.png
# FAKE=1 uses fake engines and this machine's Triton instead: FAKE=1 bash scripts/gpu/share.sh - OUT shared
set -euo pipefail
prefix=$1
out=$2
mode=${3:-shared}
root=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d)
mkdir -p "$out"
rm -f "$out/$mode".json "$out/$mode".png
# The whole call ends within LIMIT_S; some of it is kept for stopping the fleet and packing the logs.
SECONDS=0
at_most() {
  local left=$((${LIMIT_S:-570} - 40 - SECONDS))
  [ "$left" -lt 10 ] && left=10
  echo $(($1 < left ? $1 : left))
}

share=", share: gpu"
settings=""
names="a b c d"
case $mode in
  shared) ;;
  squeezed) share="" ;;
  restart)
    # What a swapping proxy does: the next request for another model takes the GPU.
    settings="share: {gpu: {sleep: stop, min_residency_seconds: 0.001, residency_per_switch: 0, idle_seconds: 0.001}}"
    names="a b"
    ;;
  *) echo "MODE is $mode; write shared, squeezed or restart" >&2 && exit 2 ;;
esac

if [ -n "${FAKE:-}" ]; then
  python=${PYTHON:-$root/.venv/bin/python}
  triton=auto
  engine="engine: fake, source: demo://llama2"
  arguments="{ttft_ms: 15, tpot_ms: 4.4, answer_tokens: 4096, max_running: 64, sleep_ms: 310, wake_ms: 730, start_seconds: 2}"
  vllm=auto
else
  python=$(command -v python3)
  # The stub finds its packages through its own environment only.
  site=$("$prefix/stub/bin/python3" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
  [ -d "$site/pytriton" ] || cp -a "$prefix/triton/." "$prefix"/client/orjson* "$site/"
  export PYTHONPATH=$root/src:$prefix/client:$prefix/engine
  export VLLM_USE_FLASHINFER_SAMPLER=0 HF_HUB_OFFLINE=1 TRITONFLEET_CACHE=$work/cache
  triton=$site/pytriton/tritonserver/bin/tritonserver
  vllm=$python
  "$python" "$root/scripts/bench_gpu.py" --make-model "$work/llama7b" --size 7b
  engine="source: $work/llama7b"
  # Few sequences make few CUDA graphs, so that four starts fit into the time; the load has no more of them at once.
  arguments="{load_format: dummy, enable_prefix_caching: false, max_num_seqs: 64}"
fi
port=${PORT:-21110}
{
  echo "name: share-$mode"
  echo "doors: {http: {port: $port}, grpc: {port: $((port + 1))}, metrics: {port: $((port + 2))}, openai: {port: $((port + 3))}}"
  echo "runtimes: {triton: $triton, vllm: $vllm}"
  [ -z "$settings" ] || echo "$settings"
  echo "models:"
  for name in $names; do
    echo "- {name: llama-$name, $engine, max_model_len: 2048$share, engine_args: $arguments}"
  done
} > "$work/fleet.yaml"
fleet=("$work/fleet.yaml" --state "$work/state")
finish() {
  cp "$work/fleet.yaml" "$out/$mode-fleet.yaml"
  timeout 40 "$python" -m tritonfleet down "${fleet[@]}" --drain 1 || true
  tar -czf "$out/$mode-logs.tgz" -C "$work/state" logs || true
  rm -rf "$work"
}
trap finish EXIT
timeout 60 "$python" -m tritonfleet plan "$work/fleet.yaml" --here --json > "$out/$mode-plan.json" || true
begun=$SECONDS
# What is up by then is measured; the others are told apart by the status.
timeout "$(at_most "${UP_SECONDS:-330}")" "$python" -m tritonfleet up "${fleet[@]}" --detach --no-install || echo "up: not everything is up" >&2
echo "up took $((SECONDS - begun)) s"
code=0
timeout "$(at_most "${RUN_SECONDS:-175}")" "$python" "$root/scripts/gpu_share.py" --fleet "${fleet[0]}" --state "${fleet[2]}" \
  --out "$out/$mode.json" --seconds "${TRACE_SECONDS:-80}" --rate "${RATE:-3}" --up-seconds $((SECONDS - begun)) || code=$?
"$python" "$root/scripts/gpu_share.py" --compare "$out/$mode.json" --png "$out/$mode.png" || true
exit $code
