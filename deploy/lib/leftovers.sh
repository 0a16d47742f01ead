# shellcheck shell=bash disable=SC2034,SC2154 # the sourced files share their variables
# What AWS still holds of a deployment, found by tags: load balancers, target groups, volumes, and the rest.
#
# Each listing goes into a variable before it is walked through: in a loop's own $(...) a refusal would look like
# an empty list, and the cleanup would claim that nothing is there.

# tagged KEY VALUE TYPE...: ARNs of resources that carry a tag.
tagged() {
  local key=$1 value=$2
  shift 2
  aws resourcegroupstaggingapi get-resources --region "$region" --tag-filters "Key=$key,Values=$value" \
    ${1:+--resource-type-filters "$@"} --output json | settings leftovers
}

# delete_load_balancers: those whose controller is gone; target groups only go after their balancer.
delete_load_balancers() {
  local arn arns
  arns=$(tagged elbv2.k8s.aws/cluster "$name" elasticloadbalancing:loadbalancer)
  for arn in $arns; do
    say "  load balancer ${arn##*/loadbalancer/}"
    aws elbv2 delete-load-balancer --region "$region" --load-balancer-arn "$arn"
  done
  # shellcheck disable=SC2086 # a list of words
  [ -z "$arns" ] || aws elbv2 wait load-balancers-deleted --region "$region" --load-balancer-arns $arns
  arns=$(tagged elbv2.k8s.aws/cluster "$name" elasticloadbalancing:targetgroup)
  for arn in $arns; do
    say "  target group ${arn##*:targetgroup/}"
    retry 5 aws elbv2 delete-target-group --region "$region" --target-group-arn "$arn"
  done
}

# instances FILTER...: ids of instances that are not gone.
instances() {
  aws ec2 describe-instances --region "$region" --output text --query 'Reservations[].Instances[].InstanceId' \
    --filters "$@" Name=instance-state-name,Values=pending,running,stopping,stopped
}

# stop_controllers: in a cluster that cannot be reached Karpenter would start a new node for each that is taken away;
# it runs on the system nodes.
stop_controllers() {
  local ids
  ids=$(instances "Name=tag:eks:cluster-name,Values=$name" Name=tag:eks:nodegroup-name,Values=system)
  [ -n "$ids" ] || return 0
  say "  system nodes $ids"
  aws eks update-nodegroup-config --region "$region" --cluster-name "$name" --nodegroup-name system \
    --scaling-config minSize=0,desiredSize=0 >/dev/null
  # shellcheck disable=SC2086
  retry 3 aws ec2 wait instance-terminated --region "$region" --instance-ids $ids
}

# delete_instances: nodes that Karpenter made and did not live to take back.
delete_instances() {
  local ids
  ids=$(instances "Name=tag:kubernetes.io/cluster/$name,Values=owned" Name=tag-key,Values=karpenter.sh/nodepool)
  [ -n "$ids" ] || return 0
  say "  instances $ids"
  # shellcheck disable=SC2086
  aws ec2 terminate-instances --region "$region" --instance-ids $ids >/dev/null
  # shellcheck disable=SC2086
  aws ec2 wait instance-terminated --region "$region" --instance-ids $ids
}

# delete_security_groups: the controller's, which hold the VPC.
delete_security_groups() {
  local id ids
  ids=$(aws ec2 describe-security-groups --region "$region" --output text --query 'SecurityGroups[].GroupId' \
    --filters "Name=tag:elbv2.k8s.aws/cluster,Values=$name")
  for id in $ids; do
    say "  security group $id"
    retry 5 aws ec2 delete-security-group --region "$region" --group-id "$id" >/dev/null
  done
}

# delete_volumes: of claims whose driver is gone; the driver and Karpenter both put the deployment's tag on them.
delete_volumes() {
  local id ids
  ids=$(aws ec2 describe-volumes --region "$region" --output text --query 'Volumes[].VolumeId' \
    --filters "Name=tag:tritonfleet.io/fleet,Values=$name" Name=status,Values=available)
  for id in $ids; do
    say "  volume $id"
    retry 3 aws ec2 delete-volume --region "$region" --volume-id "$id"
  done
}

# alive ARN: a key that only waits for its date of deletion is as good as gone.
alive() {
  local state
  case $1 in
    *:kms:*)
      state=$(aws kms describe-key --region "$region" --key-id "$1" --query KeyMetadata.KeyState --output text 2>/dev/null) || return 0
      [ "$state" != PendingDeletion ]
      ;;
  esac
}

# still_there: every ARN that any of the deployment's tags still finds, and the logs that CloudWatch's agents made.
still_there() {
  local arn found
  found=$(tagged tritonfleet.io/fleet "$name")
  found+=$'\n'$(tagged elbv2.k8s.aws/cluster "$name")
  found+=$'\n'$(tagged "kubernetes.io/cluster/$name" owned)
  found+=$'\n'$(aws logs describe-log-groups --region "$region" --output json --query 'logGroups[].arn' \
    --log-group-name-prefix "/aws/containerinsights/$name/" | settings lines)
  found=$(sort -u <<<"$found")
  for arn in $found; do
    if alive "$arn"; then printf '%s\n' "$arn"; fi
  done
}
