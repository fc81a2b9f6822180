{{- define "token-exposure.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- /* The name of the objects: the name of the release if it contains the name of the chart. */}}
{{- define "token-exposure.fullname" -}}
{{- $name := include "token-exposure.name" . }}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" }}
{{- else if contains $name .Release.Name }}
{{- .Release.Name | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "token-exposure.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "token-exposure.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- required "serviceAccount.name: set it to an existing ServiceAccount, as serviceAccount.create is false" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- /* Whether there are several replicas, which elect a leader. */}}
{{- define "token-exposure.several" -}}
{{- if gt (int .Values.replicaCount) 1 }}true{{ end }}
{{- end }}

{{- /* Whether the policy that withholds tokens is on: the values ask for it, and the API server has its kind. */}}
{{- define "token-exposure.cures" -}}
{{- $has := .Capabilities.APIVersions.Has "admissionregistration.k8s.io/v1/MutatingAdmissionPolicy" }}
{{- if and (ne .Values.cure.mode "Off") (or $has .Values.cure.force) }}true{{ end }}
{{- end }}

{{- define "token-exposure.selectorLabels" -}}
app.kubernetes.io/name: {{ include "token-exposure.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "token-exposure.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "token-exposure.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "token-exposure.image" -}}
{{- with .Values.image.registry }}{{ . }}/{{ end }}{{ .Values.image.repository }}
{{- if .Values.image.digest }}@{{ .Values.image.digest }}{{ else }}:{{ default $.Chart.AppVersion .Values.image.tag }}{{ end }}
{{- end }}

{{- /* The endpoint of a PodMonitor or ServiceMonitor, from the values of the monitor. */}}
{{- define "token-exposure.endpoint" -}}
port: http
path: /metrics
# Keeps the label `namespace` of the metrics: the namespace of the finding, not of the controller.
honorLabels: true
interval: {{ .interval }}
{{- with .scrapeTimeout }}
scrapeTimeout: {{ . }}
{{- end }}
{{- with .relabelings }}
relabelings:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .metricRelabelings }}
metricRelabelings:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- /* Whether a label or an annotation in `map` says that a system is used: `names` as in `knownConsumers`. */}}
{{- define "token-exposure.says" -}}
{{- $map := .map }}
{{- $off := toJson (list "" "false" "no" "off" "disabled" "none" "0" "f") }}
{{- range .names }}
{{- $parts := splitn "=" 2 . }}
{{- if hasSuffix "*" $parts._0 -}}
{{ $map }}.exists(key, key.startsWith({{ toJson (trimSuffix "*" $parts._0) }}) && !({{ $map }}[key].trim().lowerAscii() in {{ $off }})) || {{ else if $parts._1 -}}
{{ $map }}[?{{ toJson $parts._0 }}].orValue("").trim().lowerAscii() in {{ toJson (splitList "|" (lower $parts._1)) }} || {{ else -}}
!({{ $map }}[?{{ toJson $parts._0 }}].orValue("").trim().lowerAscii() in {{ $off }}) || {{ end -}}
{{- end }}false
{{- end }}
