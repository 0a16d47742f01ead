{{/* Peers that several network policies name. */}}

{{- define "tritonfleet.fromFront" -}}
{{- $front := include "tritonfleet.front" . -}}
{{- if eq $front "nginx-gateway-fabric" }}
- podSelector:
    matchLabels:
      gateway.networking.k8s.io/gateway-name: {{ .Release.Name }}
{{- else if eq $front "ingress-nginx" }}
- namespaceSelector:
    matchLabels:
      kubernetes.io/metadata.name: ingress-nginx
{{- else }}
- podSelector: {}
{{- end }}
{{- end }}

{{- define "tritonfleet.dns" -}}
- to:
    - namespaceSelector:
        matchLabels:
          kubernetes.io/metadata.name: kube-system
  ports:
    - {protocol: UDP, port: 53}
    - {protocol: TCP, port: 53}
{{- end }}

{{- define "tritonfleet.outside" -}}
- to:
    {{- range .Values.networkPolicy.httpsCidrs }}
    - ipBlock: {cidr: {{ . }}}
    {{- end }}
  ports:
    - {protocol: TCP, port: 443}
# The agent of EKS Pod Identity, on the node.
- to:
    - ipBlock: {cidr: 169.254.170.23/32}
  ports:
    - {protocol: TCP, port: 80}
{{- end }}
