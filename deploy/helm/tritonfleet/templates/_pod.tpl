{{/* A pod of a pool. Takes "root", "name" of the pool, "pool", and "role": serve, or worker of a model over several nodes. */}}
{{- define "tritonfleet.pod" -}}
{{- $root := .root -}}
{{- $values := $root.Values -}}
{{- $pool := .pool -}}
{{- $serves := eq .role "serve" -}}
{{- $weights := include "tritonfleet.weights" (dict "root" $root "models" $pool.models) -}}
{{- $readsHub := and (include "tritonfleet.readsHub" (dict "root" $root "models" $pool.models)) (include "tritonfleet.tokenSecret" $root) -}}
{{- $keys := and $values.apiKeysSecret (not $values.door.enabled) -}}
{{- $image := $pool.image | default (include "tritonfleet.image" (dict "root" $root "name" (ternary "serving" "cpu" (gt (int $pool.gpus) 0)))) -}}
metadata:
  labels:
    {{- include "tritonfleet.podLabels" (dict "root" $root "component" (ternary "serving" "worker" $serves) "pool" .name) | nindent 4 }}
    tritonfleet.io/fleet: {{ $values.fleet.name }}
    {{- include "tritonfleet.modelLabels" $pool.models | nindent 4 }}
  annotations:
    # A changed fleet is a new pod.
    checksum/config: {{ include "tritonfleet.fleet" (dict "root" $root "pool" $pool) | sha256sum }}
    # A model takes minutes to load: Karpenter moves the pod only when its node must go.
    karpenter.sh/do-not-disrupt: "true"
spec:
  serviceAccountName: tritonfleet
  automountServiceAccountToken: false
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ include "tritonfleet.graceSeconds" $root }}
  securityContext:
    {{- include "tritonfleet.podSecurity" $root | nindent 4 }}
  {{- include "tritonfleet.pullSecrets" $root | nindent 2 }}
  {{- include "tritonfleet.scheduling" (dict "root" $root "kind" (ternary "gpu" "general" (gt (int $pool.gpus) 0))) | nindent 2 }}
  {{- with $pool.instanceTypes }}
  affinity:
    nodeAffinity:
      requiredDuringSchedulingIgnoredDuringExecution:
        nodeSelectorTerms:
          - matchExpressions:
              - key: node.kubernetes.io/instance-type
                operator: In
                values: {{ toJson . }}
  {{- end }}
  {{- if eq (int $pool.nodes) 1 }}
  topologySpreadConstraints:
    {{- range $key := list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
    - maxSkew: 1
      topologyKey: {{ $key }}
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels:
          {{- include "tritonfleet.selector" (dict "root" $root "component" "serving" "pool" $.name) | nindent 10 }}
    {{- end }}
  {{- end }}
  {{- if and $weights $serves }}
  initContainers:
    # The copy into the bucket may still run: wait for it here, where 'kubectl get pods' shows it.
    - name: weights
      image: {{ include "tritonfleet.image" (dict "root" $root "name" "door") }}
      imagePullPolicy: {{ $values.image.pullPolicy }}
      args: [wait, /etc/tritonfleet/weights.json, --seconds, {{ $values.weights.waitSeconds | toString | quote }}]
      env:
        {{- include "tritonfleet.env" $root | nindent 8 }}
      securityContext:
        {{- include "tritonfleet.containerSecurity" $root | nindent 8 }}
      resources:
        requests: {cpu: 100m, memory: 256Mi}
        limits: {memory: 512Mi}
      volumeMounts:
        - {name: config, mountPath: /etc/tritonfleet, readOnly: true}
        - {name: state, mountPath: /var/lib/tritonfleet}
        - {name: tmp, mountPath: /tmp}
  {{- end }}
  containers:
    - name: {{ ternary "fleet" "worker" $serves }}
      image: {{ $image }}
      imagePullPolicy: {{ $values.image.pullPolicy }}
      args: [{{ .role }}]
      env:
        {{- include "tritonfleet.env" $root | nindent 8 }}
        {{- if $readsHub }}
        - {name: HF_TOKEN_FILE, value: /var/run/tritonfleet/token/token}
        {{- end }}
        {{- if $keys }}
        - {name: TRITONFLEET_KEYS, value: /var/run/tritonfleet/keys/keys.json}
        {{- end }}
      {{- if $serves }}
      ports:
        - {name: http, containerPort: 8000}
        - {name: grpc, containerPort: 8001}
        - {name: metrics, containerPort: 8002}
        - {name: openai, containerPort: 9000}
      # Until the OpenAI door opens the pod fetches weights; afterwards it says itself how its models are.
      startupProbe:
        httpGet: {path: /health/live, port: openai}
        periodSeconds: 10
        timeoutSeconds: 5
        failureThreshold: {{ div (add (include "tritonfleet.seconds" (dict "root" $root "key" "start_seconds" "default" 900) | int) 1800) 10 }}
      livenessProbe:
        httpGet: {path: /health/live, port: openai}
        periodSeconds: 10
        timeoutSeconds: 5
        failureThreshold: 6
      # One model at least serves. Those that do not are told apart by the door and by Triton.
      readinessProbe:
        httpGet: {path: /health/ready, port: openai}
        periodSeconds: 5
        timeoutSeconds: 5
        failureThreshold: 2
      lifecycle:
        preStop:
          # Load balancer and door forget the pod meanwhile; then SIGTERM begins the drain.
          sleep:
            seconds: {{ $values.preStopSeconds }}
      {{- end }}
      securityContext:
        {{- include "tritonfleet.containerSecurity" $root | nindent 8 }}
      resources:
        requests:
          cpu: {{ $pool.resources.cpu | quote }}
          memory: {{ $pool.resources.memory }}
          {{- if eq $values.cache.kind "emptyDir" }}
          ephemeral-storage: {{ $pool.resources.cache }}
          {{- end }}
          {{- if $pool.gpus }}
          nvidia.com/gpu: {{ $pool.gpus }}
          {{- end }}
        limits:
          memory: {{ $pool.resources.memory }}
          {{- if $pool.gpus }}
          nvidia.com/gpu: {{ $pool.gpus }}
          {{- end }}
      volumeMounts:
        - {name: config, mountPath: /etc/tritonfleet, readOnly: true}
        - {name: state, mountPath: /var/lib/tritonfleet}
        - {name: cache, mountPath: /var/cache/tritonfleet}
        - {name: shm, mountPath: /dev/shm}
        - {name: tmp, mountPath: /tmp}
        {{- if $readsHub }}
        - {name: token, mountPath: /var/run/tritonfleet/token, readOnly: true}
        {{- end }}
        {{- if $keys }}
        - {name: keys, mountPath: /var/run/tritonfleet/keys, readOnly: true}
        {{- end }}
  volumes:
    - name: config
      configMap:
        name: {{ include "tritonfleet.fullname" (dict "root" $root "name" .name) }}
    - name: state
      emptyDir: {}
    - name: tmp
      emptyDir: {}
    - name: shm
      emptyDir:
        medium: Memory
        sizeLimit: {{ $pool.resources.sharedMemory }}
    - name: cache
      {{- if eq $values.cache.kind "claim" }}
      persistentVolumeClaim:
        claimName: {{ required "cache.claim: name the PersistentVolumeClaim" $values.cache.claim }}
      {{- else if eq $values.cache.kind "ephemeral" }}
      ephemeral:
        volumeClaimTemplate:
          spec:
            accessModes: [ReadWriteOnce]
            storageClassName: {{ $values.cache.storageClass }}
            resources:
              requests:
                storage: {{ $pool.resources.cache }}
      {{- else }}
      emptyDir:
        sizeLimit: {{ $pool.resources.cache }}
      {{- end }}
    {{- if $readsHub }}
    {{- include "tritonfleet.tokenVolume" $root | nindent 4 }}
    {{- end }}
    {{- if $keys }}
    - name: keys
      secret:
        secretName: {{ $values.apiKeysSecret }}
    {{- end }}
{{- end }}

{{- define "tritonfleet.env" -}}
- {name: TRITONFLEET_FLEET, value: /etc/tritonfleet/fleet.yaml}
{{- with .Values.aws.region }}
- {name: AWS_REGION, value: {{ . }}}
{{- end }}
{{- end }}
