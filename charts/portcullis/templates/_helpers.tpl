{{- define "portcullis.name" -}}
{{- if contains "portcullis" .Release.Name -}}
{{ .Release.Name | trunc 52 | trimSuffix "-" }}
{{- else -}}
{{ printf "%s-portcullis" (.Release.Name | trunc 41) }}
{{- end -}}
{{- end -}}

{{- /* What chooses the pods: it must never change. */ -}}
{{- define "portcullis.selector" -}}
app.kubernetes.io/name: portcullis
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "portcullis.labels" -}}
{{ include "portcullis.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "portcullis.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}
{{- end -}}
{{- end -}}
{{- end -}}

{{- /* NAMESPACE/NAME of the Service whose addresses Ingresses get; empty where there is none. */ -}}
{{- define "portcullis.published" -}}
{{- with .Values -}}
{{- if .publishService -}}
{{ .publishService }}
{{- else if and (not .publishAddresses) (eq .service.type "LoadBalancer") -}}
{{ $.Release.Namespace }}/{{ include "portcullis.name" $ }}
{{- end -}}
{{- end -}}
{{- end -}}

{{- /* One pod, for sure. */ -}}
{{- define "portcullis.single" -}}
{{- if and (not .Values.autoscaling.enabled) (le (int .Values.replicas) 1) -}}true{{- end -}}
{{- end -}}
