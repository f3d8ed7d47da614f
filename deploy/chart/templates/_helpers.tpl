{{- define "account-service.name" -}}
{{- printf "%s" .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- end }}

{{- /* Takes (dict "root" $ "component" "web"). */ -}}
{{- define "account-service.selector" -}}
app.kubernetes.io/name: account-service
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "account-service.labels" -}}
{{ include "account-service.selector" . }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end }}

{{- define "account-service.image" -}}
{{- $repository := required "image.repository must be set" .Values.image.repository -}}
{{- if .Values.image.digest -}}
{{ $repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ $repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}
{{- end }}

{{- define "account-service.secretEnv" -}}
- name: {{ .name }}
  valueFrom:
    secretKeyRef:
      name: {{ required "secrets.name must be set" .root.Values.secrets.name }}
      key: {{ .name }}
      optional: {{ .optional }}
{{- end }}

{{- define "account-service.env" -}}
{{- $secrets := concat .Values.secrets.required .Values.secrets.optional }}
{{- $noLedger := has (toString (get .Values.settings "LEDGER_ENABLED")) (list "0" "false") }}
{{- range $name, $value := .Values.settings }}
{{- if has $name $secrets }}
{{- fail (printf "settings.%s is a secret: put it into the Secret that secrets.name names" $name) }}
{{- end }}
{{- if has $name (list "PORT" "METRICS_PORT" "HEALTH_ENABLED") }}
{{- fail (printf "settings.%s is set by the chart" $name) }}
{{- end }}
{{- if and $noLedger (eq $name "LEDGER_URL") }}
{{- else if or (kindIs "invalid" $value) (eq (toString $value) "") }}
{{- fail (printf "settings.%s must be set" $name) }}
{{- end }}
{{- /* Helm reads whole numbers as floats, and would print them as 1e+06. */}}
{{- if and (kindIs "float64" $value) (eq (float64 (int64 $value)) $value) }}
{{- $value = int64 $value }}
{{- end }}
- name: {{ $name }}
  value: {{ toString $value | quote }}
{{- end }}
{{- range .Values.secrets.required }}
{{ include "account-service.secretEnv" (dict "root" $ "name" . "optional" false) }}
{{- end }}
{{- range .Values.secrets.optional }}
{{ include "account-service.secretEnv" (dict "root" $ "name" . "optional" true) }}
{{- end }}
{{- end }}

{{- /* The settings that all pods share. Takes (dict "root" $ "of" .Values.web). */ -}}
{{- define "account-service.pod" -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  seccompProfile: {type: RuntimeDefault}
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets: {{ toYaml . | nindent 2 }}
{{- end }}
{{- with .of.nodeSelector }}
nodeSelector: {{ toYaml . | nindent 2 }}
{{- end }}
{{- with .of.tolerations }}
tolerations: {{ toYaml . | nindent 2 }}
{{- end }}
volumes:
  - name: tmp
    emptyDir: {sizeLimit: 256Mi}
{{- end }}

{{- define "account-service.container" -}}
image: {{ include "account-service.image" .root }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
resources: {{ toYaml .of.resources | nindent 2 }}
volumeMounts:
  - {name: tmp, mountPath: /tmp}
{{- end }}

{{- /* Spreads the pods of one component over the nodes. */ -}}
{{- define "account-service.spread" -}}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels: {{ include "account-service.selector" . | nindent 8 }}
{{- end }}

{{- /* Probes for worker and beat at their metrics port. A probe through Redis would restart all workers
       whenever Redis is down. */ -}}
{{- define "account-service.watched" -}}
ports:
  - {name: metrics, containerPort: 9090}
startupProbe:
  httpGet: {path: /metrics, port: metrics}
  periodSeconds: 2
  # Migrations may take several minutes.
  failureThreshold: 150
livenessProbe:
  httpGet: {path: /metrics, port: metrics}
  periodSeconds: 20
  timeoutSeconds: 10
  failureThreshold: 6
{{- end }}
