# shellcheck shell=bash disable=SC2034,SC2154 # the sourced files share their variables
# What the person sees: numbered steps, warnings, one clear failure; and retries.

# Without this a command that fails inside $(...) goes unnoticed.
shopt -s inherit_errexit 2>/dev/null || {
  printf 'error: bash %s is too old: 4.4 or later is needed (on macOS: brew install bash)\n' "$BASH_VERSION" >&2
  exit 1
}

step_number=0
step_count=0
step_text="start"
# Seconds before the second try; each further wait doubles.
retry_seconds=${TRITONFLEET_RETRY_SECONDS:-5}

say() { printf '%s\n' "$*"; }
warn() { printf 'warning: %s\n' "$*" >&2; }

step() {
  step_number=$((step_number + 1))
  step_text=$*
  printf '\n[%d/%d] %s\n' "$step_number" "$step_count" "$step_text"
}

# fail MESSAGE [NEXT STEP]: say what is wrong and what to do, and stop.
fail() {
  printf '\nerror: %s\n' "$1" >&2
  [ $# -lt 2 ] || printf '%s\n' "$2" >&2
  exit 1
}

# on_error LINE: the last words when a command failed that nothing else explained.
on_error() {
  local code=$?
  printf '\nerror: step "%s" stopped (exit %d, line %s).\n' "$step_text" "$code" "$1" >&2
  printf 'Nothing is lost: run the same command again, it goes on from what exists.%s\n' \
    "${log_hint:+ Log: $log_hint}" >&2
  exit "$code"
}

# confirm QUESTION: ask on the terminal; refuse where there is none.
confirm() {
  local answer
  [ "${assume_yes:-no}" = no ] || return 0
  [ -t 0 ] || fail "this needs an answer and there is no terminal" "Add --yes to go ahead without a question."
  read -r -p "$1 [y/N] " answer
  case $answer in
    y | Y | yes) ;;
    *) say "Nothing was changed."; exit 0 ;;
  esac
}

# retry TRIES COMMAND...: run until it succeeds, with growing waits; the last status is returned.
retry() {
  local tries=$1 wait=$retry_seconds try code=0
  shift
  for ((try = 1; try <= tries; try++)); do
    code=0
    "$@" || code=$?
    [ "$code" -ne 0 ] || return 0
    [ "$try" -lt "$tries" ] || break
    sleep "$wait"
    wait=$((wait * 2 > 60 ? 60 : wait * 2))
  done
  return "$code"
}
