#!/usr/bin/env bash
# Measure every door on a GPU host without network: bench.sh PREFIX OUT [GPUS]
#
# PREFIX holds engine/ (import path with vLLM), triton/ (import path with nvidia-pytriton), stub/ (a virtual environment
# for Triton's Python stub) and client/ (import path with tritonclient). Everything is started by `tritonfleet up`
# from this checkout; weights are dummies. With two GPUs the 0.3 B model runs beside the 7 B one.
set -euo pipefail
prefix=$1
out=$2
gpus=${3:-1}
root=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d)
python=$(command -v python3)

# The stub finds its packages through its own environment only.
site=$("$prefix/stub/bin/python3" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
[ -d "$site/pytriton" ] || cp -a "$prefix/triton/." "$prefix"/client/orjson* "$site/"
export PYTHONPATH=$root/src:$prefix/client:$prefix/engine
export VLLM_USE_FLASHINFER_SAMPLER=0 HF_HUB_OFFLINE=1 TRITONFLEET_CACHE=$work/cache

"$python" "$root/scripts/bench_gpu.py" --make-model "$work/llama7b" --size 7b
{
  echo "name: gpu"
  echo "runtimes:"
  echo "  triton: $site/pytriton/tritonserver/bin/tritonserver"
  echo "  vllm: $python"
  echo "models:"
  echo "  - {name: llama7b, source: $work/llama7b, devices: [0], max_model_len: 2048, engine_args: {load_format: dummy, enable_prefix_caching: false}}"
  if [ "$gpus" -gt 1 ]; then
    "$python" "$root/scripts/bench_gpu.py" --make-model "$work/llama03b" --size 0.3b
    echo "  - {name: llama03b, source: $work/llama03b, devices: [1], max_model_len: 2048, engine_args: {load_format: dummy, enable_prefix_caching: false}}"
  fi
} > "$work/fleet.yaml"
fleet=("$work/fleet.yaml" --state "$work/state")
finish() {
  "$python" -m tritonfleet down "${fleet[@]}" --drain 1 || true
  mkdir -p "$out" && tar -czf "$out/logs.tgz" -C "$work/state" logs || true
}
trap finish EXIT
"$python" -m tritonfleet doctor "${fleet[@]}" || true
timeout 300 "$python" -m tritonfleet up "${fleet[@]}" --detach --no-install
timeout 280 "$python" "$root/scripts/bench_gpu.py" --fleet "${fleet[0]}" --state "${fleet[2]}" --model-name llama7b \
  --streams "${STREAMS_7B:-1,64,256}" --rounds "${ROUNDS:-2}" --out "$out/llama7b.json"
if [ "$gpus" -gt 1 ]; then
  timeout 150 "$python" "$root/scripts/bench_gpu.py" --fleet "${fleet[0]}" --state "${fleet[2]}" --model-name llama03b \
    --streams "${STREAMS_03B:-512}" --rounds "${ROUNDS:-2}" --processes 12 --out "$out/llama03b.json"
fi
