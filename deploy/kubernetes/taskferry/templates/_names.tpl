{{/* Names and labels that several templates use. */}}

{{- define "taskferry.fullname" -}}
{{- .Values.fullnameOverride | default (contains .Chart.Name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name .Chart.Name)) | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{/* What Services and policies select pods by: must never change, so it has no version. */}}
{{- define "taskferry.selector" -}}
app.kubernetes.io/name: taskferry
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "taskferry.labels" -}}
{{ include "taskferry.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end -}}

{{/* "s" if the broker of this release speaks TLS: for ws:// and http://. */}}
{{- define "taskferry.s" -}}
{{- if .Values.broker.tls.secret }}s{{ end -}}
{{- end -}}

{{/* Every pod: an unprivileged user, no capabilities, a read-only file system. */}}
{{- define "taskferry.podSecurity" -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  seccompProfile:
    type: RuntimeDefault
{{- end -}}

{{- define "taskferry.containerSecurity" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: ["ALL"]
{{- end -}}

{{/* Where a pod may run; given the values of the broker or the worker. */}}
{{- define "taskferry.placement" -}}
{{- with .nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}
