# shellcheck shell=bash disable=SC2034,SC2154 # the sourced files share their variables
# The cluster from the outside: reach it, mend half-done releases, ask every model.

reach_cluster() {
  retry 3 aws eks update-kubeconfig --region "$region" --name "$name" --kubeconfig "$KUBECONFIG" >/dev/null
  retry 5 kubectl get --raw /readyz --request-timeout=15s >/dev/null 2>"$work/logs/kubectl.err" && return 0
  fail "the cluster's API server does not answer: $(tail -n 1 "$work/logs/kubectl.err")" \
    "It is private: run this from inside its VPC (VPN, peering, CloudShell in the VPC), or open it to your address with --public-cidr \$(curl -s https://checkip.amazonaws.com)/32 and run again."
}

# mend_releases: an apply that was killed leaves Helm releases pending, and Helm then refuses every further try.
mend_releases() {
  local release namespace revision pending
  # Into a variable, not a pipe: a failure to ask is no empty answer.
  pending=$(helm list --all-namespaces --pending --output json | settings releases)
  while read -r release namespace revision; do
    [ -n "$release" ] || continue
    warn "the release $namespace/$release was left half done"
    if [ "$revision" = 1 ]; then
      helm uninstall "$release" --namespace "$namespace" --wait --timeout 10m
    else
      helm rollback "$release" --namespace "$namespace" --wait --timeout 10m
    fi
  done <<<"$pending"
}

install_gateway_api() {
  retry 3 kubectl apply --server-side --force-conflicts -f "$gateway_api_crds" >"$work/logs/gateway-api.log" 2>&1 ||
    fail "the Gateway API's resources could not be installed: $(tail -n 1 "$work/logs/gateway-api.log")" \
      "They come from $gateway_api_crds; check the network."
  say "Gateway API $gateway_api_version"
}

# front_address: the load balancer's name, when it has one.
front_address() {
  if [ "$front" = ingress-nginx ]; then
    kubectl --namespace "$namespace" get ingress -o jsonpath='{.items[0].status.loadBalancer.ingress[0].hostname}'
  else
    kubectl --namespace "$namespace" get gateways.gateway.networking.k8s.io -o jsonpath='{.items[0].status.addresses[0].value}'
  fi
}

has_address() {
  address=$(front_address 2>/dev/null) && [ -n "$address" ]
}

wait_for_front() {
  [ "$front" = ingress-nginx ] ||
    kubectl --namespace "$namespace" wait gateways.gateway.networking.k8s.io --all --for=condition=Programmed --timeout=15m
  retry 8 has_address || fail "the front has no address: AWS made no load balancer" \
    "See 'kubectl -n kube-system logs deployment/aws-load-balancer-controller'."
  say "load balancer: $address"
}

# The load balancer is internal, so the prompts start inside the cluster and go out to it.
start_prompter() {
  kubectl --namespace default delete pod tritonfleet-verify --ignore-not-found --wait >/dev/null
  kubectl --namespace default run tritonfleet-verify --image="$curl_image" --restart=Never --command -- sleep 3600 >/dev/null
  kubectl --namespace default wait pod/tritonfleet-verify --for=condition=Ready --timeout=5m >/dev/null
}

stop_prompter() { kubectl --namespace default delete pod tritonfleet-verify --ignore-not-found --wait=false >/dev/null 2>&1 || true; }

# prompt MODEL: one completion through the load balancer; the API key goes by standard input.
prompt() {
  settings prompt "http://$address/v1/completions" "$1" |
    kubectl --namespace default exec -i tritonfleet-verify -- curl -sS --max-time 180 -K - |
    settings answer "$1"
}

verify_models() {
  local model failed=()
  start_prompter
  for model in $models; do
    retry 8 prompt "$model" || failed+=("$model")
  done
  stop_prompter
  [ "${#failed[@]}" -eq 0 ] || fail "no answer through the load balancer from: ${failed[*]}" \
    "See 'kubectl -n $namespace get pods' and 'kubectl -n $namespace logs -l app.kubernetes.io/component=serving --prefix --tail=50'; the others serve."
}
