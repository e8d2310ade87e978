{{- define "headgate.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else if contains "headgate" .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-headgate" .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* The labels of a selector: it cannot be changed later, so no version is among them. */}}
{{- define "headgate.selector" -}}
app.kubernetes.io/name: headgate
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "headgate.labels" -}}
{{ include "headgate.selector" . }}
app.kubernetes.io/part-of: headgate
app.kubernetes.io/version: {{ .Chart.AppVersion }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* The labels of pods: those of `headgate.labels` that do not change the pods for nothing. */}}
{{- define "headgate.podLabels" -}}
{{ include "headgate.selector" . }}
app.kubernetes.io/part-of: headgate
app.kubernetes.io/version: {{ .Chart.AppVersion }}
{{- end -}}

{{/* The labels, annotations and environment that the chart sets itself on the pods of the control plane, and of the gateway of Envoys. */}}
{{- define "headgate.controlPlaneLabels" -}}
{{ include "headgate.podLabels" . }}
app.kubernetes.io/component: control-plane
{{- if include "headgate.isIstio" . }}
sidecar.istio.io/inject: "true"
{{- with .Values.istio.revision }}
istio.io/rev: {{ . | quote }}
{{- end }}
{{- end }}
{{- end -}}
{{- define "headgate.controlPlaneAnnotations" -}}
kubectl.kubernetes.io/default-container: headgate
{{- if include "headgate.isIstio" . }}
proxy.istio.io/config: |
  holdApplicationUntilProxyStarts: true
  terminationDrainDuration: 20s
{{- end }}
{{- end -}}
{{- define "headgate.environment" -}}
{{- if .Values.adminTls.secretName }}
# For `kubectl exec`: `headgate status` in the pod queries over TLS.
- name: HEADGATE_ADMIN_CA
  value: /etc/headgate/admin-tls/ca.crt
- name: HEADGATE_ADMIN_SERVER_NAME
  value: {{ include "headgate.fullname" . }}.{{ .Release.Namespace }}.svc
{{- end }}
- name: POD_NAMESPACE
  valueFrom:
    fieldRef:
      fieldPath: metadata.namespace
- name: POD_NAME
  valueFrom:
    fieldRef:
      fieldPath: metadata.name
- name: POD_IP
  valueFrom:
    fieldRef:
      fieldPath: status.podIP
{{- end -}}
{{- define "headgate.gatewayLabels" -}}
{{ include "headgate.podLabels" . }}
app.kubernetes.io/component: gateway
headgate.dev/proxy: "true"
{{- end -}}
{{- define "headgate.gatewayAnnotations" -}}
kubectl.kubernetes.io/default-container: envoy
# A new bootstrap starts new pods.
headgate.dev/bootstrap-checksum: {{ include "headgate.bootstrap" . | sha256sum }}
{{- end -}}

{{- define "headgate.isIstio" -}}
{{- if hasPrefix "istio-" .Values.mode }}true{{ end -}}
{{- end -}}

{{/* An image: a dict of `image` and `tag`, the default of its tag. */}}
{{- define "headgate.image" -}}
{{- if .image.digest -}}
{{- printf "%s@%s" .image.repository .image.digest -}}
{{- else -}}
{{- printf "%s:%s" .image.repository (.image.tag | default .tag) -}}
{{- end -}}
{{- end -}}

{{/* The SPIFFE id of a ServiceAccount of this namespace: a list of the context and the name. */}}
{{- define "headgate.spiffeId" -}}
{{- $context := index . 0 -}}
{{- printf "spiffe://%s/ns/%s/sa/%s" $context.Values.identity.trustDomain $context.Release.Namespace (index . 1) -}}
{{- end -}}

{{/*
A file that `make schema` copies from istio-manifests, with the names of this release: a list of the context and the path. Its objects
have no labels and no annotations.
*/}}
{{- define "headgate.file" -}}
{{- $context := index . 0 -}}
{{- $labels := include "headgate.labels" $context | nindent 4 -}}
{{- $text := $context.Files.Get (index . 1) -}}
{{- $text = $text | replace "namespace: headgate-system" (printf "namespace: %s" $context.Release.Namespace) -}}
{{- $text = $text | replace "ame: headgate" (printf "ame: %s" (include "headgate.fullname" $context)) -}}
{{- $text | replace "\nmetadata:\n" (printf "\nmetadata:\n  labels:%s\n" $labels) -}}
{{- end -}}

{{/* The file of the gateway's bootstrap, for the way in which Headgate authenticates proxies. */}}
{{- define "headgate.bootstrap" -}}
{{- $name := dict "none" "bootstrap.yaml" "certManager" "bootstrap-mtls.yaml" "spire" "bootstrap-spire.yaml" -}}
{{- $text := .Files.Get (printf "files/envoy/%s" (get $name .Values.identity.type)) -}}
{{- $full := include "headgate.fullname" . -}}
{{- $text = $text | replace "headgate.headgate-system.svc" (printf "%s.%s.svc" $full .Release.Namespace) -}}
{{- $id := include "headgate.spiffeId" (list . $full) -}}
{{- $text = $text | replace "spiffe://cluster.local/ns/headgate-system/sa/headgate" $id -}}
{{- $text | replace "spiffe://example.org/ns/headgate-system/sa/headgate" $id -}}
{{- end -}}

{{- define "headgate.spread" -}}
{{- range $key := list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
- maxSkew: 1
  topologyKey: {{ $key }}
  whenUnsatisfiable: ScheduleAnyway
  labelSelector:
    matchLabels:
      {{- include "headgate.selector" (index $ 0) | nindent 6 }}
      app.kubernetes.io/component: {{ index $ 1 }}
  matchLabelKeys: [pod-template-hash]
{{- end }}
{{- end -}}

{{- define "headgate.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "headgate.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{/* What one of our pods mounts to prove who it is: a list of the context, the path for certificates, and their Secret. */}}
{{- define "headgate.identityMount" -}}
{{- if eq (index . 0).Values.identity.type "certManager" }}
- name: tls
  mountPath: {{ index . 1 }}
  readOnly: true
{{- else if eq (index . 0).Values.identity.type "spire" }}
- name: spiffe
  mountPath: /spiffe-workload-api
  readOnly: true
{{- end }}
{{- end -}}
{{- define "headgate.identityVolume" -}}
{{- if eq (index . 0).Values.identity.type "certManager" }}
- name: tls
  secret:
    secretName: {{ index . 2 }}
{{- else if eq (index . 0).Values.identity.type "spire" }}
- name: spiffe
  csi:
    driver: csi.spiffe.io
    readOnly: true
{{- end }}
{{- end -}}
