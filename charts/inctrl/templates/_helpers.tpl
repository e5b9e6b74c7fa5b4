{{/* Name of the release's objects; 40 characters leave room for what is appended. */}}
{{- define "inctrl.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" (.Release.Name | trunc 33 | trimSuffix "-") .Chart.Name -}}
{{- end -}}
{{- end -}}

{{/* What selects the pods of a part: dict "root" $ "part" "server". Never changes. */}}
{{- define "inctrl.selector" -}}
app.kubernetes.io/name: inctrl-{{ .part }}
app.kubernetes.io/instance: {{ .root.Release.Name | quote }}
{{- end -}}

{{/* Labels of an object of a part. */}}
{{- define "inctrl.labels" -}}
{{ include "inctrl.selector" . }}
app.kubernetes.io/component: {{ .part }}
app.kubernetes.io/part-of: inctrl
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service | quote }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name (.root.Chart.Version | replace "+" "_") | quote }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Labels of a pod: none that another version of the chart would change, for that would restart it. */}}
{{- define "inctrl.pod-labels" -}}
{{ include "inctrl.selector" . }}
app.kubernetes.io/component: {{ .part }}
app.kubernetes.io/part-of: inctrl
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- with (index .root.Values .part).podLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* An image: dict "root" $ "image" .Values.operator.image. */}}
{{- define "inctrl.image" -}}
{{- with .root.Values.imageRegistry }}{{ . | trimSuffix "/" }}/{{ end -}}
{{- .image.repository -}}
{{- if .image.digest }}@{{ .image.digest }}{{ else }}:{{ .image.tag | default .root.Chart.AppVersion }}{{ end -}}
{{- end -}}

{{/* What every pod of the chart has: dict "root" $ "part" "server". Passes the restricted pod security standard. */}}
{{- define "inctrl.pod" -}}
{{- $values := index .root.Values .part -}}
serviceAccountName: {{ include "inctrl.fullname" .root }}-{{ .part }}
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  seccompProfile:
    type: RuntimeDefault
{{- with $values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.topologySpreadConstraints }}
topologySpreadConstraints:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end -}}

{{/* What every container has. */}}
{{- define "inctrl.container-security" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
{{- end -}}

{{/* Mounts and volumes of claims: a list of {name, readOnly}; read-only where not said otherwise. */}}
{{- define "inctrl.claim-mounts" -}}
{{- range . }}
- name: claim-{{ .name }}
  mountPath: /mnt/inctrl/pvc/{{ .name }}
  readOnly: {{ dig "readOnly" true . }}
{{- end }}
{{- end -}}
{{- define "inctrl.claim-volumes" -}}
{{- range . }}
- name: claim-{{ .name }}
  persistentVolumeClaim:
    claimName: {{ .name }}
    readOnly: {{ dig "readOnly" true . }}
{{- end }}
{{- end -}}

{{/* Names of the Secrets of the roll-out port's two sides. */}}
{{- define "inctrl.server-tls" -}}
{{- .Values.adminTls.serverSecret | default (printf "%s-server-tls" (include "inctrl.fullname" .)) -}}
{{- end -}}
{{- define "inctrl.operator-tls" -}}
{{- .Values.adminTls.operatorSecret | default (printf "%s-operator-tls" (include "inctrl.fullname" .)) -}}
{{- end -}}

{{/* The server's configuration file: what the chart decides, under what the values say. */}}
{{- define "inctrl.server-config" -}}
{{- $certificates := dict "certificate" "/etc/inctrl/rollout-tls/tls.crt" "key" "/etc/inctrl/rollout-tls/tls.key" "client_ca" "/etc/inctrl/rollout-tls/ca.crt" -}}
{{- $config := dict "backbone" .Values.server.backbone "state_dir" "/var/lib/inctrl" "log" (dict "format" "json") "rollout" (dict "tls" $certificates) -}}
{{- if .Values.server.tlsSecret -}}
{{- $_ := set $config "tls" (dict "certificate" "/etc/inctrl/tls/tls.crt" "key" "/etc/inctrl/tls/tls.key") -}}
{{- end -}}
{{- if .Values.server.tokensSecret -}}
{{- $_ := set $config "tokens_file" "/etc/inctrl/tokens/tokens" -}}
{{- end -}}
{{- toYaml (mergeOverwrite $config (deepCopy .Values.server.config)) -}}
{{- end -}}
