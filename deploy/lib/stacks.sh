# shellcheck shell=bash disable=SC2034,SC2154 # the sourced files share their variables
# Terraform, one stack at a time, in a copy of the code that stays with the deployment.

# Errors that go away by themselves: throttling, a dropped connection, AWS catching up with itself.
transient='RequestLimitExceeded|Throttling|TooManyRequests|RequestError|connection reset|i/o timeout|TLS handshake timeout|context deadline exceeded|InvalidParameterException: .* (does not exist|currently)|DependencyViolation|ResourceInUse|503 Service'

# snapshot_code: cleanup must destroy with the code that built, even when the checkout has moved on.
snapshot_code() {
  [ -f "$deploy_dir/helm/tritonfleet/Chart.yaml" ] || fail "$deploy_dir/helm/tritonfleet is missing" "Run install.sh from a complete checkout."
  rm -rf "$work/terraform"
  mkdir -p "$work/terraform"
  cp -R "$deploy_dir/terraform/modules" "$deploy_dir/terraform/stacks" "$deploy_dir/terraform/charts" "$deploy_dir/helm" "$work/terraform/"
}

# write_backend STACK: where the state lies; beside the deployment, or in a bucket that a team shares.
write_backend() {
  local out=$work/terraform/stacks/$1/backend.tf
  if [ -n "${state_bucket:-}" ]; then
    cat >"$out" <<EOF
terraform {
  backend "s3" {
    bucket       = "$state_bucket"
    key          = "tritonfleet/$name/$1.tfstate"
    region       = "$region"
    encrypt      = true
    use_lockfile = true
  }
}
EOF
  else
    cat >"$out" <<EOF
terraform {
  backend "local" {
    path = "$work/$1.tfstate"
  }
}
EOF
  fi
}

# tf STACK ARGUMENT...: run Terraform in a stack.
tf() {
  local stack=$1
  shift
  (cd "$work/terraform/stacks/$stack" && TF_DATA_DIR=$work/data/$stack TF_IN_AUTOMATION=1 terraform "$@")
}

tf_init() {
  write_backend "$1"
  retry 3 tf "$1" init -input=false -no-color -reconfigure >"$work/logs/$1-init.log" 2>&1 ||
    fail "terraform init of the $1 stack failed: $(tail -n 3 "$work/logs/$1-init.log" | tr '\n' ' ')" \
      "It downloads providers from registry.terraform.io; check the network. Log: $work/logs/$1-init.log"
}

# tf_logged LOG STACK ARGUMENT...: show the output and keep it; the status is Terraform's own.
tf_logged() {
  local log=$1
  shift
  tf "$@" 2>&1 | tee "$log"
  return "${PIPESTATUS[0]}"
}

# tf_apply STACK: plan, then apply what was planned; errors that pass are tried again.
tf_apply() {
  local stack=$1 try code log
  for try in 1 2 3; do
    log=$work/logs/$stack-apply-$try.log
    code=0
    tf_logged "$log" "$stack" plan -input=false -no-color -detailed-exitcode -out="$work/$stack.tfplan" -var-file="$work/$stack.tfvars.json" || code=$?
    if [ "$code" -eq 0 ]; then
      say "The $stack stack is up to date."
      return 0
    fi
    if [ "$code" -eq 2 ]; then
      code=0
      tf_logged "$log" "$stack" apply -input=false -no-color "$work/$stack.tfplan" || code=$?
    fi
    rm -f "$work/$stack.tfplan"
    [ "$code" -ne 0 ] || return 0
    grep -qE "$transient" "$log" || break
    [ "$try" -lt 3 ] || break
    warn "the $stack stack met an error that usually passes; trying again ($try of 2)"
    sleep "$((retry_seconds * try * 2))"
  done
  fail "the $stack stack could not be applied (exit $code); the lines above say why" \
    "Correct it and run the same command again: what was made stays and is taken up. Log: $log"
}

# tf_destroy STACK: remove a stack; AWS needs a few tries while network interfaces drain.
tf_destroy() {
  local stack=$1 try code log
  for try in 1 2 3; do
    log=$work/logs/$stack-destroy-$try.log
    code=0
    tf_logged "$log" "$stack" destroy -input=false -no-color -auto-approve -var-file="$work/$stack.tfvars.json" || code=$?
    [ "$code" -ne 0 ] || return 0
    grep -qE "$transient" "$log" || break
    [ "$try" -lt 3 ] || break
    warn "the $stack stack is not gone yet; trying again ($try of 2)"
    sleep "$((retry_seconds * try * 2))"
  done
  fail "the $stack stack could not be destroyed (exit $code); the lines above say why" \
    "Run the same command again after correcting it. Log: $log"
}

# tf_output STACK NAME: an output as JSON, or nothing where the stack has none yet.
tf_output() { tf "$1" output -json "$2" 2>/dev/null || true; }

# tf_is_empty STACK: nothing is in the stack's state. A state that cannot be read is not an empty one.
tf_is_empty() {
  local listed code=0
  listed=$(tf "$1" state list 2>"$work/logs/$1-state.err") || code=$?
  if [ "$code" -ne 0 ] && ! grep -q 'No state file was found' "$work/logs/$1-state.err"; then
    fail "the state of the $1 stack cannot be read: $(tail -n 1 "$work/logs/$1-state.err")"
  fi
  [ -z "$listed" ]
}
