{{/* Refuses values that contradict each other. What one value may be is in values.schema.json. */}}
{{- define "headgate.checks" -}}
{{- $istio := include "headgate.isIstio" . -}}
{{- $identity := .Values.identity.type -}}
{{- if and $istio (ne $identity "none") -}}
{{- fail "identity.type must be `none` in the Istio modes: the sidecar proves who a proxy is" -}}
{{- end -}}
{{- if and .Values.allowNodes (or $istio (ne $identity "none")) -}}
{{- fail "allowNodes has no effect where proxies have an identity, because every proxy can claim a node id: use identity.allow" -}}
{{- end -}}
{{- if and .Values.identity.allow (not $istio) (eq $identity "none") -}}
{{- fail "identity.allow needs proxies with an identity: set identity.type to `certManager` or `spire`, or use allowNodes" -}}
{{- end -}}
{{- if and .Values.adminTls.identities (not .Values.adminTls.secretName) -}}
{{- fail "adminTls.identities needs client certificates: set adminTls.secretName" -}}
{{- end -}}
{{- include "headgate.checkListener" . -}}
{{- if and .Values.autoscaling.enabled (gt (int .Values.autoscaling.minReplicas) (int .Values.autoscaling.maxReplicas)) -}}
{{- fail (printf "autoscaling.minReplicas (%v) is greater than autoscaling.maxReplicas (%v): lower the first or raise the second" .Values.autoscaling.minReplicas .Values.autoscaling.maxReplicas) -}}
{{- end -}}
{{- if and (eq .Values.mode "istio-gateway") (eq .Values.istio.gateway.namespace .Release.Namespace) -}}
{{- fail (printf "istio.gateway.namespace must not be the namespace of the release (%s), because `helm uninstall` deletes the namespace of the gateway: choose another one" .Release.Namespace) -}}
{{- end -}}
{{- $owners := dict -}}
{{- range $namespace, $domains := .Values.domains -}}
{{- range $domain := $domains -}}
{{- with get $owners (lower $domain) -}}
{{- fail (printf "domains has %s twice, in %s and in %s: remove one of them" $domain . $namespace) -}}
{{- end -}}
{{- $_ := set $owners (lower $domain) $namespace -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "headgate.checkListener" -}}
{{- $source := .Values.listenerTls.source -}}
{{- if and (include "headgate.isIstio" .) (ne $source "none") -}}
{{- fail "listenerTls must be `none` in the Istio modes: the mesh terminates TLS" -}}
{{- end -}}
{{- if and (eq $source "secret") (eq .Values.identity.type "none") -}}
{{- fail "listenerTls.source=secret sends a private key to proxies, so Headgate must authenticate them: set identity.type" -}}
{{- end -}}
{{- if and (eq $source "spire") (ne .Values.identity.type "spire") -}}
{{- fail "listenerTls.source=spire needs the SPIRE agent of each proxy: set identity.type=spire" -}}
{{- end -}}
{{- if and (eq $source "none") (or .Values.listenerTls.http3 (ne .Values.listenerTls.clientCertificates "none")) -}}
{{- fail "listenerTls.http3 and listenerTls.clientCertificates need a certificate: set listenerTls.source" -}}
{{- end -}}
{{- end -}}

{{/*
A map of the chart with the keys of a value: a list of the YAML of the map, the value and its path. A key in both would be twice in the
object, or replace what a selector needs.
*/}}
{{- define "headgate.extend" -}}
{{- $own := index . 0 | fromYaml -}}
{{- $given := index . 1 | default dict -}}
{{- $path := index . 2 -}}
{{- range $key := keys $given | sortAlpha -}}
{{- if hasKey $own $key -}}
{{- fail (printf "%s has %s, which the chart sets itself: remove it from %s" $path $key $path) -}}
{{- end -}}
{{- end -}}
{{- index . 0 | trim }}
{{- with $given }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* As `headgate.extend`, for a list of objects with a name. */}}
{{- define "headgate.extendList" -}}
{{- $names := dict -}}
{{- range index . 0 | fromYamlArray -}}
{{- $_ := set $names .name true -}}
{{- end -}}
{{- $path := index . 2 -}}
{{- range $item := index . 1 -}}
{{- if hasKey $names $item.name -}}
{{- fail (printf "%s has %s, which the chart sets itself or %s names twice: remove it from %s" $path $item.name $path $path) -}}
{{- end -}}
{{- $_ := set $names $item.name true -}}
{{- end -}}
{{- index . 0 | trim }}
{{- with index . 1 }}
{{ toYaml . }}
{{- end }}
{{- end -}}
