#!/usr/bin/env bash
# Take a fleet off Amazon EKS, in the order that leaves nothing behind, and list what is still there.
set -Eeuo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=lib/console.sh
. "$here/lib/console.sh"
# shellcheck source=lib/options.sh
. "$here/lib/options.sh"
# shellcheck source=lib/stacks.sh
. "$here/lib/stacks.sh"
# shellcheck source=lib/checks.sh
. "$here/lib/checks.sh"
# shellcheck source=lib/kubernetes.sh
. "$here/lib/kubernetes.sh"
# shellcheck source=lib/leftovers.sh
. "$here/lib/leftovers.sh"

usage() {
  cat <<'TEXT'
usage: cleanup.sh [options]

Removes a deployment that install.sh made. It can be run again at any time: it goes on with what is left.

  --name NAME           name of the deployment (default: tritonfleet)
  --region REGION       AWS region (default: the AWS CLI's)
  --delete-models       also delete the model bucket with every version of every object, and its key
                        (default: kept, and listed at the end)
  --unreachable         the cluster's API server cannot be reached from here: delete on AWS's side alone
  --state-bucket NAME   where install.sh kept Terraform's state
  --work-dir DIR        where install.sh kept its files (default: .tritonfleet/deploy/NAME)
  --yes                 do not ask
  --help                this text

Exit status: 0 all gone, 1 failed with a reason, 2 wrong usage, 3 done, but something is still there.
TEXT
}

name=tritonfleet
region=
delete_models=no
unreachable=no
state_bucket=
work_dir=
assume_yes=no

while [ $# -gt 0 ]; do
  case $1 in
    --name) need_value "$1" $#; name=$2; shift ;;
    --region) need_value "$1" $#; region=$2; shift ;;
    --delete-models) delete_models=yes ;;
    --unreachable) unreachable=yes ;;
    --state-bucket) need_value "$1" $#; state_bucket=$2; shift ;;
    --work-dir) need_value "$1" $#; work_dir=$2; shift ;;
    --yes) assume_yes=yes ;;
    --help | -h) usage; exit 0 ;;
    *) usage >&2; printf '\nerror: unknown option %s\n' "$1" >&2; exit 2 ;;
  esac
  shift
done

trap 'on_error $LINENO' ERR

# the_same_deployment: never destroy by the credentials of another account.
the_same_deployment() {
  [ -d "$work/terraform/stacks" ] ||
    fail "no deployment $name was installed from $work" "Give the folder of the installation with --work-dir, or its --name."
  local owner
  owner=$(settings field account_id <"$work/pins.tfvars.json")
  [ "$owner" = "$account" ] || fail "the deployment $name belongs to account $owner, the credentials are of $account" "Use the other profile."
  region_of=$(settings field region <"$work/pins.tfvars.json")
  [ "$region_of" = "$region" ] || fail "the deployment $name lies in $region_of, not in $region" "Give --region $region_of."
}

# find_cluster: yes, no, or unreachable.
find_cluster() {
  if ! aws eks describe-cluster --region "$region" --name "$name" >/dev/null 2>"$work/logs/cluster.err"; then
    grep -q ResourceNotFoundException "$work/logs/cluster.err" || fail "EKS does not answer: $(tail -n 1 "$work/logs/cluster.err")"
    cluster=no
    say "the cluster is gone already"
    return 0
  fi
  cluster=yes
  if [ "$unreachable" = yes ]; then
    cluster=unreachable
    return 0
  fi
  reach_cluster
  mend_releases
}

# remove_traffic: autoscalers first, or they make pods again; then whatever holds a load balancer, while its
# controller still lives to take it down.
remove_traffic() {
  local namespace service services
  kubectl delete scaledobjects.keda.sh --all --all-namespaces --ignore-not-found --timeout=2m 2>/dev/null ||
    warn "no ScaledObject was deleted: there is no KEDA, or it no longer answers"
  kubectl delete horizontalpodautoscalers --all --all-namespaces --ignore-not-found
  kubectl delete gateways.gateway.networking.k8s.io --all --all-namespaces --ignore-not-found --timeout=10m 2>/dev/null ||
    warn "no Gateway was deleted"
  kubectl delete ingresses --all --all-namespaces --ignore-not-found --timeout=10m
  services=$(kubectl get services --all-namespaces --output json | settings load-balanced)
  while read -r namespace service; do
    [ -n "$namespace" ] || continue
    say "  Service $namespace/$service"
    kubectl --namespace "$namespace" delete service "$service" --ignore-not-found --timeout=10m
  done <<<"$services"
}

destroy_stack() {
  [ -f "$work/$1.tfvars.json" ] || { say "the $1 stack was never applied"; return 0; }
  tf_init "$1"
  if tf_is_empty "$1"; then
    say "the $1 stack is gone already"
    return 0
  fi
  tf_destroy "$1"
}

# forget_stack: of a cluster that cannot be reached, what was inside goes with it.
forget_stack() {
  [ -f "$work/$1.tfvars.json" ] || return 0
  tf_init "$1"
  tf_is_empty "$1" && return 0
  # shellcheck disable=SC2046 # a list of addresses
  tf "$1" state rm $(tf "$1" state list) >/dev/null
}

# remove_nodes: Karpenter takes its instances back only while it runs.
remove_nodes() {
  kubectl delete nodepools.karpenter.sh --all --ignore-not-found --timeout=20m 2>/dev/null || true
  kubectl delete nodeclaims.karpenter.sh --all --ignore-not-found --timeout=20m 2>/dev/null ||
    warn "not every NodeClaim is gone; the instances are looked for again below"
}

# remove_claims: volumes are deleted by the EBS driver, which is an add-on and lives longer than the platform.
remove_claims() {
  kubectl delete persistentvolumeclaims --all --all-namespaces --ignore-not-found --timeout=10m
  kubectl wait --for=delete persistentvolumes --all --timeout=10m 2>/dev/null || warn "not every volume is gone; they are looked for again below"
}

# settle_bucket: empty it when told to, else take it and its key out of Terraform's hands.
settle_bucket() {
  local bucket
  bucket=$(tf_output infrastructure model_bucket | settings text)
  [ -n "$bucket" ] || return 0
  if [ "$delete_models" = yes ]; then
    empty_bucket "$bucket"
    return 0
  fi
  say "the bucket $bucket and its key stay (--delete-models deletes them)"
  local kept
  kept=$(tf infrastructure state list | grep -E '^module\.model_bucket\.(aws_s3|aws_kms)' || true)
  # shellcheck disable=SC2086 # a list of addresses
  [ -z "$kept" ] || tf infrastructure state rm $kept >/dev/null
}

# empty_bucket BUCKET: every version and every delete marker, a thousand at a time.
empty_bucket() {
  local listing=$work/versions.json count
  while :; do
    aws s3api list-object-versions --bucket "$1" --max-items 1000 --output json >"$listing"
    count=$(settings delete-request <"$listing" >"$work/delete.json"; settings count <"$work/delete.json")
    [ "$count" != 0 ] || return 0
    aws s3api delete-objects --bucket "$1" --delete "file://$work/delete.json" >/dev/null
    say "  $count object versions"
  done
}

destroy_infrastructure() {
  tf_init infrastructure
  if tf_is_empty infrastructure; then
    say "the infrastructure stack is gone already"
    return 0
  fi
  settle_bucket
  if [ "$cluster" != no ]; then
    aws eks update-cluster-config --region "$region" --name "$name" --no-deletion-protection >/dev/null 2>"$work/logs/protection.err" ||
      grep -q 'No changes needed' "$work/logs/protection.err" || warn "deletion protection: $(tail -n 1 "$work/logs/protection.err")"
    aws eks wait cluster-active --region "$region" --name "$name"
  fi
  # Terraform evaluates the ephemeral variable for a destroy as well.
  export TF_VAR_secret_values='{}'
  tf_destroy infrastructure
}

report() {
  local rest
  rest=$(still_there)
  if [ -z "$rest" ]; then
    say "Nothing is left of $name in $region."
    return 0
  fi
  say "Still there (AWS lists some things for an hour after they are gone):"
  printf '%s\n' "$rest" | sed 's/^/  /'
  exit 3
}

main() {
  step_count=8
  open_work_dir

  step "Checking tools, credentials and region"
  check_tools
  choose_region
  check_credentials
  check_region
  stop_on_problems
  the_same_deployment
  confirm "Remove the deployment $name from account $account, region $region$([ "$delete_models" = no ] || printf ', WITH its models')?"

  step "Finding the cluster"
  tf_init infrastructure
  find_cluster

  step "Autoscalers, Gateways and load balancers"
  [ "$cluster" != yes ] || remove_traffic

  step "Fleet"
  if [ "$cluster" = yes ]; then destroy_stack fleet; else forget_stack fleet; fi

  step "GPU nodes"
  case $cluster in
    yes) remove_nodes ;;
    unreachable) stop_controllers ;;
  esac
  delete_instances

  step "Platform and its volumes"
  if [ "$cluster" = yes ]; then
    destroy_stack platform
    remove_claims
  else
    forget_stack platform
  fi

  step "Infrastructure: leftovers of the controllers first, then everything"
  delete_load_balancers
  delete_security_groups
  destroy_infrastructure
  delete_volumes

  step "What is still there"
  report
}

main
