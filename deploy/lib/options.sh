# shellcheck shell=bash disable=SC2034,SC2154 # the sourced files share their variables
# Folders and settings that install.sh and cleanup.sh share.

deploy_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
settings_tool=$deploy_dir/lib/settings.py

gateway_api_version=v1.6.1
gateway_api_crds="https://github.com/kubernetes-sigs/gateway-api/releases/download/$gateway_api_version/standard-install.yaml"
curl_image=curlimages/curl:8.15.0

# settings COMMAND...: the JSON side of the scripts.
settings() { python3 -SE "$settings_tool" "$@"; }

# load_settings: namespace, front, models, types and the like, as variables. Every value is quoted by settings.py.
load_settings() {
  local assignments
  assignments=$(settings shell "$work/inputs.json")
  eval "$assignments"
}

# open_work_dir: one folder for each deployment, one run at a time.
open_work_dir() {
  work=${work_dir:-$PWD/.tritonfleet/deploy/$name}
  mkdir -p "$work/logs"
  work=$(cd "$work" && pwd)
  chmod 700 "$work"
  if command -v flock >/dev/null; then
    exec 9>"$work/lock"
    flock -n 9 || fail "another run works on $work" "Wait for it, or choose another folder with --work-dir."
  fi
  export KUBECONFIG=$work/kubeconfig
  log_hint=$work/logs
}

# need_value FLAG COUNT: an option that takes a value has one.
need_value() { [ "$2" -ge 2 ] || fail "$1 needs a value" "See --help."; }
