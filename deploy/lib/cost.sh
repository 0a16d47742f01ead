# shellcheck shell=bash disable=SC2034,SC2154 # the sourced files share their variables
# What the deployment costs, from AWS's own Pricing API: no price is kept here.

# fetch_price NAME USAGE SERVICE KEY=VALUE...: keep the API's answer for settings.py; a refusal leaves the line unpriced.
fetch_price() {
  local out=$work/prices/$1__$2.json service=$3 filters=() pair
  shift 3
  [ ! -s "$out" ] || return 0
  for pair in "$@"; do filters+=("Type=TERM_MATCH,Field=${pair%%=*},Value=${pair#*=}"); done
  # The Pricing API lives in three regions and knows them all.
  aws pricing get-products --region us-east-1 --service-code "$service" --filters "Type=TERM_MATCH,Field=regionCode,Value=$region" \
    "${filters[@]}" --output json >"$out" 2>>"$work/logs/prices.err" || rm -f "$out"
}

show_cost() {
  local kind
  mkdir -p "$work/prices"
  for kind in $types; do
    fetch_price "$kind" "BoxUsage:$kind" AmazonEC2 "instanceType=$kind" operatingSystem=Linux tenancy=Shared preInstalledSw=NA capacitystatus=Used
  done
  fetch_price nat NatGateway-Hours AmazonEC2 "productFamily=NAT Gateway"
  fetch_price nlb LoadBalancerUsage AWSELB "productFamily=Load Balancer-Network"
  fetch_price endpoint VpcEndpoint-Hours AmazonVPC productFamily=VpcEndpoint
  fetch_price eks AmazonEKS-Hours:perCluster AmazonEKS
  settings bill "$work/inputs.json" "$work/prices"
}
