#!/usr/bin/env bash
# aiperf and `tritonfleet bench` on the same fake engine (TTFT 100 ms, 10 ms a token), which tells what each of them
# adds: bench_aiperf.sh AIPERF TOKENIZER STREAMS, for example
#   bench_aiperf.sh /tmp/aiperf/bin/aiperf meta-llama/Llama-2-7b-hf 64
set -euo pipefail
aiperf=$1 tokenizer=$2 streams=$3
root=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
port=${PORT:-21720}
"$root/.venv/bin/python" -m tritonfleet.fake_engine --port "$port" --served-model-name llama \
  --ttft-ms 100 --tpot-ms 10 --max-running 1024 2> "$work/engine.log" &
engine=$!
trap 'kill $engine; rm -rf "$work"' EXIT
until curl --silent --fail --output /dev/null "localhost:$port/health"; do
  kill -0 $engine # ends here when the engine could not start
done
time "$aiperf" profile -m llama --url "localhost:$port" --endpoint-type completions --streaming \
  --concurrency "$streams" --request-count $((streams * 4)) --tokenizer "$tokenizer" --use-server-token-count \
  --synthetic-input-tokens-mean 200 --output-tokens-mean 64 --extra-inputs ignore_eos:true \
  --ui none --artifact-dir "$work/aiperf"
time "$root/.venv/bin/tritonfleet" bench --url "localhost:$port" -m llama --door engine -c "$streams" \
  --requests $((streams * 4)) --max-tokens 64
