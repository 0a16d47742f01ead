{{/* What the front lets through. Everything else (repository, trace, logging, shared memory) is not reachable from outside:
     loading a model is running its code. */}}

{{- define "tritonfleet.openaiPaths" -}}
[/v1, /tokenize, /detokenize, /rerank, /v2/rerank, /score, /pooling, /classify, /health]
{{- end }}

{{/* Service of the OpenAI API: the door, or the only pool's own. */}}
{{- define "tritonfleet.openaiService" -}}
{{- if .Values.door.enabled }}{{ include "tritonfleet.fullname" (dict "root" . "name" "door") }}
{{- else }}{{ include "tritonfleet.fullname" (dict "root" . "name" (keys .Values.pools | sortAlpha | first)) }}{{ end -}}
{{- end }}

{{/* KServe paths of one model. */}}
{{- define "tritonfleet.modelPaths" -}}
{{- $base := printf "/v2/models/%s" . -}}
{{- $paths := list $base (printf "%s/config" $base) -}}
{{- range $prefix := list $base (printf "%s/versions/1" $base) -}}
{{- range $verb := list "ready" "infer" "generate" "generate_stream" -}}
{{- $paths = append $paths (printf "%s/%s" $prefix $verb) -}}
{{- end -}}
{{- end -}}
{{- toJson $paths -}}
{{- end }}

{{/* Triton asks nobody for a key, and without keys neither does the OpenAI door: such doors stay inside. */}}
{{- define "tritonfleet.checkFront" -}}
{{- if eq .Values.front.scheme "internet-facing" -}}
{{- if .Values.front.kserve }}{{ fail "front.scheme: internet-facing would open Triton's own doors, which ask for no API key, to everybody; set front.kserve: false" }}{{ end -}}
{{- if not .Values.apiKeysSecret }}{{ fail "front.scheme: internet-facing needs API keys; name their Secret with apiKeysSecret" }}{{ end -}}
{{- end -}}
{{- end }}
