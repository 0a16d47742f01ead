{{/* Names, labels and choices that several templates share. Most take a dict with "root" and what they are about. */}}

{{- define "tritonfleet.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
app.kubernetes.io/name: tritonfleet
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: tritonfleet
{{- end }}

{{/* Labels of pods: nothing in them changes with the chart's version, or every release would start all pods anew. */}}
{{- define "tritonfleet.podLabels" -}}
app.kubernetes.io/name: tritonfleet
app.kubernetes.io/part-of: tritonfleet
{{ include "tritonfleet.selector" . }}
{{- end }}

{{/* What Services, Deployments and policies find pods by; it must not change between releases. */}}
{{- define "tritonfleet.selector" -}}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- with .pool }}
tritonfleet.io/pool: {{ . }}
{{- end }}
{{- end }}

{{/* Model labels of a pool's pods: one for each, and the plain one where there is but one. */}}
{{- define "tritonfleet.modelLabels" -}}
tritonfleet.io/model: {{ if eq (len .) 1 }}{{ first . | trimAll "-_." | quote }}{{ else }}several{{ end }}
{{- range . }}
model.tritonfleet.io/{{ . | trimAll "-_." }}: "true"
{{- end }}
{{- end }}

{{- define "tritonfleet.fullname" -}}
{{- $name := printf "%s-%s" .root.Release.Name .name -}}
{{- if gt (len $name) 55 }}{{ fail (printf "the name %s is longer than 55 letters; shorten the release's name or the pool's" $name) }}{{ end -}}
{{- $name -}}
{{- end }}

{{- define "tritonfleet.image" -}}
{{- $image := index .root.Values.image .name -}}
{{- with .root.Values.image.registry }}{{ printf "%s/%s" (trimSuffix "/" .) $image }}{{ else }}{{ $image }}{{ end -}}
{{- end }}

{{- define "tritonfleet.front" -}}{{ .Values.aws.front | default .Values.front.kind }}{{- end }}
{{- define "tritonfleet.autoscaler" -}}{{ .Values.aws.autoscaler | default .Values.autoscaler }}{{- end }}
{{- define "tritonfleet.prometheus" -}}{{ .Values.aws.prometheusUrl | default .Values.prometheusUrl }}{{- end }}

{{/* Name of the Secret with the Hugging Face token; empty where there is none. */}}
{{- define "tritonfleet.tokenSecret" -}}
{{- if .Values.huggingFace.existingSecret }}{{ .Values.huggingFace.existingSecret }}
{{- else if and .Values.aws.secretStore (get (.Values.aws.secrets | default dict) "hugging-face-token") }}{{ .Release.Name }}-hugging-face
{{- end -}}
{{- end }}

{{/* "yes" where models of the Hub go through the bucket. */}}
{{- define "tritonfleet.copies" -}}{{ if and .Values.weights.copy .Values.aws.weightsUrl }}yes{{ end }}{{- end }}

{{/* A source's place in the bucket; a new revision is a new place. */}}
{{- define "tritonfleet.weightsTarget" -}}
{{- printf "%s/%s-%s" (trimSuffix "/" .root.Values.aws.weightsUrl) .name (sha256sum .source | trunc 8) -}}
{{- end }}

{{/* Where a pod reads a source from. */}}
{{- define "tritonfleet.source" -}}
{{- if and (hasPrefix "hf://" .source) (include "tritonfleet.copies" .root) -}}
{{- $file := .source | splitList "@" | first | base -}}
{{- include "tritonfleet.weightsTarget" . }}{{ if hasSuffix ".gguf" $file }}/{{ $file }}{{ end -}}
{{- else }}{{ .source }}{{ end -}}
{{- end }}

{{/* fleet.yaml of one pool's pods. */}}
{{- define "tritonfleet.fleet" -}}
{{- $root := .root -}}
{{- $models := list -}}
{{- range $name := .pool.models -}}
  {{- $model := deepCopy (required (printf "pools: the model %s is not among models" $name) (get $root.Values.models $name)) -}}
  {{- $_ := set $model "name" $name -}}
  {{- $_ := set $model "source" (include "tritonfleet.source" (dict "root" $root "name" $name "source" $model.source)) -}}
  {{- range $adapter, $source := $model.lora -}}
    {{- $_ := set $model.lora $adapter (include "tritonfleet.source" (dict "root" $root "name" $adapter "source" $source)) -}}
  {{- end -}}
  {{- $models = append $models $model -}}
{{- end -}}
{{- $doors := dict -}}
{{- range $door, $port := dict "http" 8000 "grpc" 8001 "metrics" 8002 "openai" 9000 -}}
  {{- $_ := set $doors $door (dict "host" "0.0.0.0" "port" $port) -}}
{{- end -}}
{{- $fleet := deepCopy $root.Values.fleet -}}
{{- $_ := set $fleet "models" $models -}}
{{- $_ := set $fleet "doors" $doors -}}
{{- toYaml $fleet -}}
{{- end }}

{{/* weights.json: what is copied from the Hub into the bucket, of the models named. Empty where nothing is. */}}
{{- define "tritonfleet.weights" -}}
{{- $root := .root -}}
{{- $found := list -}}
{{- if include "tritonfleet.copies" $root -}}
{{- range $name := .models -}}
  {{- $model := required (printf "pools: the model %s is not among models" $name) (get $root.Values.models $name) -}}
  {{- if hasPrefix "hf://" $model.source -}}
    {{- $found = append $found (dict "name" $name "source" $model.source "want" "model" "target" (include "tritonfleet.weightsTarget" (dict "root" $root "name" $name "source" $model.source))) -}}
  {{- end -}}
  {{- range $adapter, $source := $model.lora -}}
    {{- if hasPrefix "hf://" $source -}}
      {{- $found = append $found (dict "name" $adapter "source" $source "want" "adapter" "target" (include "tritonfleet.weightsTarget" (dict "root" $root "name" $adapter "source" $source))) -}}
    {{- end -}}
  {{- end -}}
{{- end -}}
{{- end -}}
{{- if $found }}{{ toPrettyJson (dict "weights" $found) }}{{ end -}}
{{- end }}

{{/* "yes" where one of the models is read from the Hub by the pod itself, which then needs the token. */}}
{{- define "tritonfleet.readsHub" -}}
{{- $root := .root -}}
{{- if not (include "tritonfleet.copies" $root) -}}
{{- range $name := .models -}}
  {{- $model := required (printf "pools: the model %s is not among models" $name) (get $root.Values.models $name) -}}
  {{- range $source := append (values ($model.lora | default dict)) $model.source -}}
    {{- if hasPrefix "hf://" $source }}yes{{ end -}}
  {{- end -}}
{{- end -}}
{{- end -}}
{{- end }}

{{/* Seconds of the lifecycle as whole numbers: drain, stop, start. */}}
{{- define "tritonfleet.seconds" -}}
{{- $lifecycle := .root.Values.fleet.lifecycle | default dict -}}
{{- ceil (get $lifecycle .key | default .default) | int -}}
{{- end }}

{{/* Before the kill: forget the pod, finish its requests, stop the engines, and a little air. */}}
{{- define "tritonfleet.graceSeconds" -}}
{{- $drain := include "tritonfleet.seconds" (dict "root" . "key" "drain_seconds" "default" 60) | int -}}
{{- $stop := include "tritonfleet.seconds" (dict "root" . "key" "stop_seconds" "default" 15) | int -}}
{{- add .Values.preStopSeconds $drain $stop 15 -}}
{{- end }}

{{- define "tritonfleet.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "tritonfleet.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities:
  drop: [ALL]
{{- end }}

{{/* Where a pod of a kind (gpu, general) may run. */}}
{{- define "tritonfleet.scheduling" -}}
{{- $place := index .root.Values.scheduling .kind -}}
{{- with .root.Values.scheduling.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with $place.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $place.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "tritonfleet.pullSecrets" -}}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end }}

{{/* The Hugging Face token as a file. */}}
{{- define "tritonfleet.tokenVolume" -}}
- name: token
  secret:
    secretName: {{ include "tritonfleet.tokenSecret" . }}
    optional: true
    items:
      - key: token
        path: token
{{- end }}

{{/* The scaling section with the names that are known only now. */}}
{{- define "tritonfleet.resolve" -}}
{{- toJson .value | replace "@NAMESPACE@" .root.Release.Namespace | replace "@RELEASE@" .root.Release.Name | replace "@PROMETHEUS@" (include "tritonfleet.prometheus" .root) -}}
{{- end }}
