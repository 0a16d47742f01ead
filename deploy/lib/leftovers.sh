# shellcheck shell=bash disable=SC2034,SC2154 # the sourced files share their variables
# What AWS still holds of a deployment, found by tags: load balancers, target groups, volumes, and the rest.

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
  for arn in $(tagged elbv2.k8s.aws/cluster "$name" elasticloadbalancing:targetgroup); do
    say "  target group ${arn##*:targetgroup/}"
    retry 5 aws elbv2 delete-target-group --region "$region" --target-group-arn "$arn"
  done
}

# delete_instances: nodes that Karpenter made and did not live to take back.
delete_instances() {
  local ids
  ids=$(aws ec2 describe-instances --region "$region" --output text --query 'Reservations[].Instances[].InstanceId' \
    --filters "Name=tag:kubernetes.io/cluster/$name,Values=owned" Name=tag-key,Values=karpenter.sh/nodepool \
    Name=instance-state-name,Values=pending,running,stopping,stopped)
  [ -n "$ids" ] || return 0
  say "  instances $ids"
  # shellcheck disable=SC2086
  aws ec2 terminate-instances --region "$region" --instance-ids $ids >/dev/null
  # shellcheck disable=SC2086
  aws ec2 wait instance-terminated --region "$region" --instance-ids $ids
}

# delete_security_groups: the controller's, which hold the VPC.
delete_security_groups() {
  local id
  for id in $(aws ec2 describe-security-groups --region "$region" --output text --query 'SecurityGroups[].GroupId' \
    --filters "Name=tag:elbv2.k8s.aws/cluster,Values=$name"); do
    say "  security group $id"
    retry 5 aws ec2 delete-security-group --region "$region" --group-id "$id" >/dev/null
  done
}

# delete_volumes: of claims whose driver is gone.
delete_volumes() {
  local id
  for id in $(aws ec2 describe-volumes --region "$region" --output text --query 'Volumes[].VolumeId' \
    --filters "Name=tag:kubernetes.io/cluster/$name,Values=owned" Name=status,Values=available); do
    say "  volume $id"
    retry 3 aws ec2 delete-volume --region "$region" --volume-id "$id"
  done
}

# still_there: every ARN that any of the deployment's tags still finds, and logs that EKS and CloudWatch made.
still_there() {
  {
    tagged tritonfleet.io/fleet "$name"
    tagged elbv2.k8s.aws/cluster "$name"
    tagged "kubernetes.io/cluster/$name" owned
    aws logs describe-log-groups --region "$region" --output json --query 'logGroups[].arn' \
      --log-group-name-prefix "/aws/containerinsights/$name/" | settings lines
  } | sort -u | sed '/^$/d'
}
