# What every object of the chart must meet, in each case. `deny` holds one sentence for each breach.
package fleet

import rego.v1

objects := input.objects

pods contains {"name": entry.metadata.name, "spec": entry.spec.template.spec} if {
	some entry in objects
	entry.kind in {"Deployment", "Job"}
}

pods contains {"name": entry.metadata.name, "spec": entry.spec.leaderWorkerTemplate[part].spec} if {
	some entry in objects
	entry.kind == "LeaderWorkerSet"
	some part in {"leaderTemplate", "workerTemplate"}
}

containers contains {"pod": pod.name, "container": container} if {
	some pod in pods
	some container in pod.spec.containers
}

# Only the front has a load balancer, and the controller makes it: Triton's ports are on none.
deny contains sprintf("Service %s is of type %s", [entry.metadata.name, entry.spec.type]) if {
	some entry in objects
	entry.kind == "Service"
	entry.spec.type != "ClusterIP"
}

# Secrets come from Secrets Manager or from their owner, never from values.
deny contains sprintf("%s carries a Secret's data", [entry.metadata.name]) if {
	some entry in objects
	entry.kind == "Secret"
}

# No pod speaks to the Kubernetes API, so nothing gives it rights there.
deny contains sprintf("%s %s gives rights", [entry.kind, entry.metadata.name]) if {
	some entry in objects
	entry.kind in {"Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding"}
}

deny contains sprintf("%s: the image %s has no fixed version", [found.pod, found.container.image]) if {
	some found in containers
	not regex.match(`(:[0-9][^:/]*|@sha256:[0-9a-f]{64})$`, found.container.image)
}

# A node that runs out of memory kills the largest process, which is a model: what is asked for is the limit.
deny contains sprintf("%s: a request of memory below the limit", [found.pod]) if {
	some found in containers
	found.container.name in {"fleet", "worker", "door"}
	found.container.resources.requests.memory != found.container.resources.limits.memory
}

deny contains sprintf("%s: GPUs asked for and GPUs given differ", [found.pod]) if {
	some found in containers
	requested := object.get(found.container.resources.requests, "nvidia.com/gpu", 0)
	requested != object.get(found.container.resources.limits, "nvidia.com/gpu", 0)
}

# What is in memory is bounded, and the host's disk is out of reach.
deny contains sprintf("%s: the volume %s has no bound", [pod.name, volume.name]) if {
	some pod in pods
	some volume in pod.spec.volumes
	volume.emptyDir.medium == "Memory"
	not volume.emptyDir.sizeLimit
}

deny contains sprintf("%s: the volume %s is of the host", [pod.name, volume.name]) if {
	some pod in pods
	some volume in pod.spec.volumes
	volume.hostPath
}

# The token is a file of the pods that read the Hub, and in no environment.
deny contains sprintf("%s: the variable %s comes from a Secret", [found.pod, variable.name]) if {
	some found in containers
	some variable in found.container.env
	variable.valueFrom.secretKeyRef
}

# Weights and reads have different roles.
deny contains sprintf("%s writes weights with the account %s", [pod.name, pod.spec.serviceAccountName]) if {
	some pod in pods
	pod.spec.serviceAccountName == "tritonfleet-model-copy"
	some container in pod.spec.containers
	container.name != "copy"
}

# The only way out of the cluster is HTTPS.
deny contains sprintf("%s lets %v out", [entry.metadata.name, port.port]) if {
	some entry in objects
	entry.kind == "NetworkPolicy"
	some rule in entry.spec.egress
	some peer in rule.to
	peer.ipBlock.cidr == "0.0.0.0/0"
	some port in rule.ports
	port.port != 443
}
