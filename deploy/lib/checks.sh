# shellcheck shell=bash disable=SC2034,SC2154 # the sourced files share their variables
# Everything that can be known to be wrong before the first resource exists, collected and said at once.

problems=()
problem() { problems+=("$1"); }

# stop_on_problems: all that is missing, in one list.
stop_on_problems() {
  local text
  [ "${#problems[@]}" -gt 0 ] || return 0
  printf '\nThis is missing:\n' >&2
  for text in "${problems[@]}"; do printf '  - %s\n' "$text" >&2; done
  fail "${#problems[@]} thing(s) to put right first; nothing was created" "Run the same command again afterwards."
}

check_tool() {
  command -v "$1" >/dev/null || problem "$1 is not on the PATH: install it ($2)"
}

check_tools() {
  local tool=
  check_tool terraform "https://developer.hashicorp.com/terraform/install, 1.11 or later"
  check_tool aws "https://docs.aws.amazon.com/cli/latest/userguide/getting-started-install.html"
  check_tool kubectl "https://kubernetes.io/docs/tasks/tools"
  check_tool helm "https://helm.sh/docs/intro/install"
  check_tool curl "the system's packages have it"
  check_tool python3 "3.11 or later"
  [ "${needs_renderer:-no}" = no ] || check_tool tritonfleet "pip install tritonfleet"
  stop_on_problems
  tool=$(terraform version -json | settings field terraform_version)
  settings at-least "$tool" 1.11 2>/dev/null || problem "terraform $tool is too old: 1.11 brought write-only arguments, which keep secrets out of the state"
  tool=$(kubectl version --client -o json | settings field clientVersion.gitVersion)
  settings at-least "${tool#v}" 1.34 2>/dev/null || warn "kubectl $tool is more than one minor version away from the cluster"
  stop_on_problems
}

check_credentials() {
  local identity
  identity=$(aws sts get-caller-identity --output json 2>"$work/logs/identity.err") || {
    problem "AWS refuses the credentials: $(tail -n 1 "$work/logs/identity.err"). Run 'aws configure', 'aws sso login' or set AWS_PROFILE"
    stop_on_problems
  }
  account=$(settings field Account <<<"$identity")
  caller=$(settings field Arn <<<"$identity")
  case $caller in
    *:root) problem "these are the account's root credentials; EKS wants a role or user: make one and use it" ;;
  esac
  admin=$(admin_of "$caller")
  say "account $account, as $caller"
}

# admin_of ARN: access entries take the role, not the session that assumed it.
admin_of() {
  local role
  case $1 in
    *:assumed-role/*)
      role=${1#*:assumed-role/}
      role=${role%%/*}
      aws iam get-role --role-name "$role" --query Role.Arn --output text 2>/dev/null || printf 'arn:aws:iam::%s:role/%s\n' "$account" "$role"
      ;;
    *) printf '%s\n' "$1" ;;
  esac
}

# choose_region: before the first call, since even the identity is asked in a region.
choose_region() {
  region=${region:-${AWS_REGION:-${AWS_DEFAULT_REGION:-$(aws configure get region 2>/dev/null || true)}}}
  if [ -z "$region" ]; then
    problem "no AWS region: give --region, such as --region us-west-2"
    stop_on_problems
  fi
  # Version 2 of the AWS CLI reads the one, version 1 the other.
  export AWS_REGION=$region AWS_DEFAULT_REGION=$region
}

check_region() {
  aws ec2 describe-availability-zones --region "$region" --output json \
    --filters Name=zone-type,Values=availability-zone Name=state,Values=available >"$work/zones.json" 2>"$work/logs/zones.err" || {
    problem "region $region does not answer: $(tail -n 1 "$work/logs/zones.err"). 'aws account list-regions' lists the ones you may use"
    stop_on_problems
  }
  say "region $region"
}

# check_capacity: the instance types exist here, in two or more zones, and the account may start them.
check_capacity() {
  aws ec2 describe-instance-type-offerings --region "$region" --location-type availability-zone --output json \
    --filters "Name=instance-type,Values=$(tr ' ' ',' <<<"$types")" >"$work/offerings.json"
  # shellcheck disable=SC2086
  aws ec2 describe-instance-types --region "$region" --output json --instance-types $types >"$work/types.json" 2>"$work/logs/types.err" || {
    problem "EC2 does not know one of $types in $region: $(tail -n 1 "$work/logs/types.err")"
    return 0
  }
  aws service-quotas list-service-quotas --region "$region" --service-code ec2 --output json >"$work/quotas.json" || {
    warn "the vCPU quotas cannot be read (servicequotas:ListServiceQuotas); a quota that is too small shows later, as a node that never comes"
    return 0
  }
  local line found
  found=$(settings capacity "$work/inputs.json" "$work/types.json" "$work/quotas.json" "$work/offerings.json")
  while IFS= read -r line; do
    [ -z "$line" ] || problem "$line"
  done <<<"$found"
}

# check_token: Hugging Face knows the token. It goes by standard input, so no process list shows it.
check_token() {
  local code
  [ "$token_required" = yes ] || return 0
  if [ -z "${HF_TOKEN:-}" ]; then
    [ -n "$(settings field hugging-face-token <"$work/secret_versions.json")" ] ||
      problem "the fleet loads gated models from Hugging Face and HF_TOKEN is not set: make a read token at https://huggingface.co/settings/tokens and export it"
    return 0
  fi
  code=$(curl -sS -o /dev/null -w '%{http_code}' --max-time 20 -K - https://huggingface.co/api/whoami-v2 \
    <<<"header = \"Authorization: Bearer $HF_TOKEN\"" 2>/dev/null) || code=000
  case $code in
    200) say "Hugging Face accepts the token" ;;
    401 | 403) problem "Hugging Face refuses HF_TOKEN ($code): make a new read token at https://huggingface.co/settings/tokens" ;;
    *) warn "Hugging Face cannot be asked about the token (HTTP $code); it is used as it is" ;;
  esac
}

# check_images: without a registry every pod would wait for an image that nobody has.
check_images() {
  ! grep -qE '^  (registry|serving): *[^" ]' "$rendered/values.yaml" || return 0
  problem "the images have no registry: build and push those of deploy/image/Dockerfile (docs/deploy.md), then give the place with --registry, here or to 'tritonfleet deploy render'"
}
