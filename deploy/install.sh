#!/usr/bin/env bash
# Bring a fleet up on Amazon EKS: check, show the price, apply in order, ask every model.
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
# shellcheck source=lib/cost.sh
. "$here/lib/cost.sh"
# shellcheck source=lib/kubernetes.sh
. "$here/lib/kubernetes.sh"

usage() {
  cat <<'TEXT'
usage: install.sh [--fleet fleet.yaml --registry ADDRESS | --rendered DIR] [options]

Brings a fleet up on Amazon EKS. It can be run again at any time: it goes on from what exists.

  --fleet FILE          the fleet (default: fleet.yaml); rendered by 'tritonfleet deploy render'
  --registry ADDRESS    where the images of deploy/image were pushed to; for --fleet
  --rendered DIR        a folder that 'tritonfleet deploy render' wrote before
  --name NAME           name of the deployment and of the EKS cluster (default: tritonfleet)
  --region REGION       AWS region (default: the AWS CLI's)
  --settings FILE       JSON with further Terraform variables; see deploy/terraform/README.md
  --public-cidr CIDR    open the API server to this address range; may be given again
                        (default: reachable from inside the VPC only)
  --state-bucket NAME   keep Terraform's state in this S3 bucket, for a team (default: in the work folder)
  --work-dir DIR        where state, logs and kubeconfig lie (default: .tritonfleet/deploy/NAME)
  --plan-only           check, show the price and the infrastructure plan; change nothing
  --skip-verify         do not send a prompt to every model at the end
  --yes                 do not ask
  --help                this text

Environment: HF_TOKEN for gated models, TRITONFLEET_API_KEY where the front asks for one, and what the AWS CLI reads.
Exit status: 0 done, 1 failed with a reason, 2 wrong usage.
TEXT
}

fleet=fleet.yaml
registry=
rendered=
name=tritonfleet
region=
settings_file=
public_cidrs=()
state_bucket=
work_dir=
plan_only=no
verify=yes
assume_yes=no
# Set by load_settings.
kubernetes_version=
pinned_account=
pinned_region=

while [ $# -gt 0 ]; do
  case $1 in
    --fleet) need_value "$1" $#; fleet=$2; shift ;;
    --registry) need_value "$1" $#; registry=$2; shift ;;
    --rendered) need_value "$1" $#; rendered=$2; shift ;;
    --name) need_value "$1" $#; name=$2; shift ;;
    --region) need_value "$1" $#; region=$2; shift ;;
    --settings) need_value "$1" $#; settings_file=$2; shift ;;
    --public-cidr) need_value "$1" $#; public_cidrs+=("$2"); shift ;;
    --state-bucket) need_value "$1" $#; state_bucket=$2; shift ;;
    --work-dir) need_value "$1" $#; work_dir=$2; shift ;;
    --plan-only) plan_only=yes ;;
    --skip-verify) verify=no ;;
    --yes) assume_yes=yes ;;
    --help | -h) usage; exit 0 ;;
    *) usage >&2; printf '\nerror: unknown option %s\n' "$1" >&2; exit 2 ;;
  esac
  shift
done

trap 'on_error $LINENO' ERR
trap 'stop_prompter_if_started' EXIT
prompter_started=no
stop_prompter_if_started() { [ "$prompter_started" = no ] || stop_prompter; }

# render_fleet: the folder from which everything is derived.
render_fleet() {
  if [ -n "$rendered" ]; then
    [ -d "$rendered" ] || fail "$rendered, given by --rendered, is no folder"
    # Kept with the deployment: cleanup.sh needs it when the original is gone.
    if ! [ "$rendered" -ef "$work/rendered" ]; then
      rm -rf "$work/rendered"
      cp -R "$rendered" "$work/rendered"
    fi
    rendered=$work/rendered
  else
    [ -f "$fleet" ] || fail "$fleet does not exist" "Give your fleet with --fleet FILE."
    rendered=$work/rendered
    tritonfleet deploy render "$fleet" -o "$rendered" ${registry:+--registry "$registry"} || fail "$fleet could not be rendered; the lines above say why"
  fi
  [ -f "$rendered/terraform.tfvars.json" ] || fail "$rendered holds no terraform.tfvars.json" "Write it with 'tritonfleet deploy render FLEET -o DIR'."
}

# gather_inputs: the fleet's needs, then the person's settings, then what was pinned before.
gather_inputs() {
  local layers=("$rendered/terraform.tfvars.json")
  [ -z "$settings_file" ] || layers+=("$settings_file")
  settings merge "$deploy_dir/terraform/stacks" "${layers[@]}" >"$work/inputs.json" ||
    fail "the settings cannot be used; the line above says why"
  load_settings
}

# pin_versions: what AWS alone knows is asked once and kept, so that a later run changes nothing by itself.
pin_versions() {
  local pins=$work/pins.tfvars.json release
  if [ ! -s "$pins" ]; then
    release=$(aws ssm get-parameter --region "$region" --query Parameter.Value --output text \
      --name "/aws/service/eks/optimized-ami/$kubernetes_version/amazon-linux-2023/x86_64/standard/recommended/release_version")
    aws eks describe-addon-versions --region "$region" --kubernetes-version "$kubernetes_version" --output json >"$work/addons.json"
    settings pins "$work/inputs.json" "$work/zones.json" "$work/offerings.json" "$work/addons.json" \
      --region "$region" --account "$account" --admin "$admin" --release "$release" >"$pins.new" ||
      fail "the versions cannot be pinned; the line above says why"
    mv "$pins.new" "$pins"
  fi
  settings merge "$deploy_dir/terraform/stacks" "$pins" "$work/inputs.json" >"$work/inputs.new"
  mv "$work/inputs.new" "$work/inputs.json"
  load_settings
  [ "$pinned_account" = "$account" ] ||
    fail "this deployment belongs to account $pinned_account, the credentials are of $account" "Use the other profile, or another --name."
  [ "$pinned_region" = "$region" ] ||
    fail "this deployment lies in $pinned_region, not in $region" "Leave --region away, or give another --name."
}

write_infrastructure_inputs() {
  local secret extra
  secret=$(settings secrets <"$work/secret_versions.json")
  # By the environment of Terraform alone; an ephemeral variable has to be set for the plan and for the apply.
  TF_VAR_secret_values=$(settings field values <<<"$secret")
  export TF_VAR_secret_values
  extra=("name=\"$name\"" "model_repository_directory=\"$rendered/model_repository\"" "secret_versions=$(settings field versions <<<"$secret")")
  [ "${#public_cidrs[@]}" -eq 0 ] || extra+=("endpoint_public_access_cidrs=$(settings list "${public_cidrs[@]}")")
  settings stack "$work/terraform/stacks/infrastructure" "$work/inputs.json" "${extra[@]}" >"$work/infrastructure.tfvars.json"
}

apply_infrastructure() {
  write_infrastructure_inputs
  tf_apply infrastructure
  unset TF_VAR_secret_values
  tf_output infrastructure secret_versions >"$work/secret_versions.json"
}

apply_platform() {
  local infrastructure
  infrastructure=$(tf_output infrastructure platform)
  settings stack "$work/terraform/stacks/platform" "$work/inputs.json" "name=\"$name\"" "infrastructure=$infrastructure" >"$work/platform.tfvars.json"
  tf_init platform
  tf_apply platform
}

apply_fleet() {
  local infrastructure platform
  infrastructure=$(tf_output infrastructure fleet)
  platform=$(tf_output platform fleet)
  settings stack "$work/terraform/stacks/fleet" "$work/inputs.json" "name=\"$name\"" "infrastructure=$infrastructure" "platform=$platform" \
    "chart=\"$work/terraform/helm/tritonfleet\"" "values_file=\"$rendered/values.yaml\"" "dashboards_directory=\"$rendered/dashboards\"" >"$work/fleet.tfvars.json"
  tf_init fleet
  tf_apply fleet
}

summary() {
  say ""
  say "The fleet $name serves at http://$address"
  say "  kubectl:   $(tf infrastructure output -raw configure_kubectl)"
  say "  Grafana:   $(tf platform output -raw grafana)"
  say "  password:  aws secretsmanager get-secret-value --region $region --secret-id $(tf infrastructure output -raw grafana_secret_name) --query SecretString --output text"
  say "  status:    $(tf fleet output -raw status_command)"
  say "  remove:    $here/cleanup.sh --name $name --region $region"
}

main() {
  step_count=9
  [ "$plan_only" = no ] || step_count=4
  needs_renderer=yes
  [ -z "$rendered" ] || needs_renderer=no
  open_work_dir

  step "Checking tools, credentials and region"
  check_tools
  choose_region
  check_credentials
  check_region
  stop_on_problems

  step "Reading the fleet, checking quota and token"
  render_fleet
  gather_inputs
  snapshot_code
  tf_init infrastructure
  tf_output infrastructure secret_versions >"$work/secret_versions.json"
  check_capacity
  check_token
  check_images
  stop_on_problems
  pin_versions

  step "What it costs"
  show_cost
  if [ "$plan_only" = yes ]; then
    step "Planning the infrastructure"
    write_infrastructure_inputs
    tf infrastructure plan -input=false -no-color -var-file="$work/infrastructure.tfvars.json"
    say "Nothing was changed."
    return 0
  fi
  confirm "Create this in account $account, region $region?"

  step "Infrastructure: network, cluster, bucket, secrets (about 15 minutes the first time)"
  apply_infrastructure

  step "Reaching the cluster"
  reach_cluster
  mend_releases
  [ "$front" != nginx-gateway-fabric ] || install_gateway_api

  step "Platform: Karpenter, load balancer controller, monitoring, autoscaler (about 8 minutes)"
  apply_platform

  step "Fleet: GPU nodes, image and weights (10 to 30 minutes)"
  apply_fleet

  step "Waiting for the load balancer"
  wait_for_front

  step "Asking every model"
  if [ "$verify" = yes ]; then
    prompter_started=yes
    verify_models
    prompter_started=no
  else
    say "left out, as told"
  fi
  summary
}

main
