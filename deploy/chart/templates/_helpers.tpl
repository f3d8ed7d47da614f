{{- define "account-service.name" -}}
{{- .Values.fullnameOverride | default .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- end }}

{{- /* What tells the pods of a component from others. Deployments can't change it in an upgrade.
       Takes (dict "root" $ "component" "web"). */ -}}
{{- define "account-service.selector" -}}
app.kubernetes.io/name: account-service
app.kubernetes.io/instance: {{ quote .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "account-service.labels" -}}
{{- $labels := fromYaml (include "account-service.selector" .) }}
{{- $labels = merge $labels (dict
      "app.kubernetes.io/managed-by" .root.Release.Service
      "app.kubernetes.io/version" .root.Chart.AppVersion
      "helm.sh/chart" (printf "%s-%s" .root.Chart.Name .root.Chart.Version)) }}
{{- toYaml (merge $labels .root.Values.commonLabels) }}
{{- end }}

{{- define "account-service.podLabels" -}}
{{- $labels := fromYaml (include "account-service.labels" .) }}
{{- toYaml (merge $labels (.of.podLabels | default dict) .root.Values.pods.podLabels) }}
{{- end }}

{{- define "account-service.image" -}}
{{- $repository := required "image.repository must be set" .Values.image.repository -}}
{{- if .Values.image.digest -}}
{{ $repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ $repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}
{{- end }}

{{- /* The migration runs before an install creates the release's account, so it has one of its own. */ -}}
{{- define "account-service.serviceAccount" -}}
{{- $account := .root.Values.serviceAccount }}
{{- $name := $account.name | default (include "account-service.name" .root) }}
{{- if not $account.create -}}
{{ $account.name | default "default" }}
{{- else if eq .component "migration" -}}
{{ $name }}-migration
{{- else -}}
{{ $name }}
{{- end }}
{{- end }}

{{- /* Secrets by name. Helm's user needs the right to read what is looked up. Empty where there is no
       cluster (helm template). A resourceVersion reveals nothing of the data. */ -}}
{{- define "account-service.secretsVersion" -}}
{{- $found := list }}
{{- if .Values.secrets.restartOnChange }}
{{- $tls := .Values.tls }}
{{- range uniq (compact (list .Values.secrets.name
      $tls.database.caSecret $tls.database.clientSecret
      $tls.redis.caSecret $tls.redis.clientSecret $tls.peers.caSecret)) }}
{{- $found = append $found (dig "metadata" "resourceVersion" "" (lookup "v1" "Secret" $.Release.Namespace .)) }}
{{- end }}
{{- range uniq (compact (list $tls.database.caConfigMap $tls.redis.caConfigMap $tls.peers.caConfigMap)) }}
{{- $found = append $found (dig "metadata" "resourceVersion" "" (lookup "v1" "ConfigMap" $.Release.Namespace .)) }}
{{- end }}
{{- end }}
{{- join "." (compact (append $found .Values.secrets.checksum)) }}
{{- end }}

{{- /* Annotations of a Deployment's pods. A change restarts them. */ -}}
{{- define "account-service.podAnnotations" -}}
{{- $annotations := merge dict (.of.podAnnotations | default dict) .root.Values.pods.podAnnotations }}
{{- if ne .component "migration" }}
{{- with include "account-service.secretsVersion" .root }}
{{- $annotations = set $annotations "checksum/secrets" (sha256sum .) }}
{{- end }}
{{- end }}
{{- with $annotations }}
annotations: {{ toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- /* The variables that a component takes from the Secret. The migration needs the database's only. */ -}}
{{- define "account-service.secretNames" -}}
{{- $names := concat .root.Values.secrets.required .root.Values.secrets.optional }}
{{- if eq .component "migration" }}
{{- $names = has "DATABASE_URI" $names | ternary (list "DATABASE_URI") list }}
{{- end }}
{{- toYaml $names }}
{{- end }}

{{- /* Those of them that are mounted as files. */ -}}
{{- define "account-service.secretFiles" -}}
{{- $secrets := .root.Values.secrets }}
{{- $files := list }}
{{- range fromYamlArray (include "account-service.secretNames" .) }}
{{- if and $secrets.asFiles (has . $secrets.required) }}
{{- $files = append $files . }}
{{- end }}
{{- end }}
{{- toYaml $files }}
{{- end }}

{{- /* The variables that come from the Secret: directly, or (NAME_FILE) as mounted files. */ -}}
{{- define "account-service.secretEnv" -}}
{{- $secrets := .root.Values.secrets }}
{{- $files := fromYamlArray (include "account-service.secretFiles" .) }}
{{- $env := list }}
{{- range $name := fromYamlArray (include "account-service.secretNames" .) }}
{{- if has $name $files }}
{{- $env = append $env (dict "name" (printf "%s_FILE" $name)
      "value" (printf "/etc/account-service/secrets/%s" $name)) }}
{{- else }}
{{- $reference := dict "name" $secrets.name "key" $name "optional" (not (has $name $secrets.required)) }}
{{- $env = append $env (dict "name" $name "valueFrom" (dict "secretKeyRef" $reference)) }}
{{- end }}
{{- end }}
{{- toYaml $env }}
{{- end }}

{{- /* Takes a value; returns "true" for one that the service reads as off, else nothing. */ -}}
{{- define "account-service.isOff" -}}
{{- if has (lower (toString .)) (list "0" "false" "no" "off") }}true{{ end }}
{{- end }}

{{- define "account-service.isOn" -}}
{{- if has (lower (toString .)) (list "1" "true" "yes" "on") }}true{{ end }}
{{- end }}

{{- /* The port in REDIS_HOST if that is a URL with one (rediss://redis.example.com:6380), else nothing. */ -}}
{{- define "account-service.redisPortInUrl" -}}
{{- $host := toString (.Values.settings.REDIS_HOST | default "") }}
{{- if contains "://" $host }}
{{- regexFind ":[0-9]+/?$" $host | trimPrefix ":" | trimSuffix "/" }}
{{- end }}
{{- end }}

{{- define "account-service.settingsEnv" -}}
{{- $secrets := concat .Values.secrets.required .Values.secrets.optional (fromYamlArray (.Files.Get "files/secrets.yaml")) }}
{{- $unneeded := list }}
{{- if include "account-service.isOff" .Values.settings.LEDGER_ENABLED }}
{{- $unneeded = append $unneeded "LEDGER_URL" }}
{{- end }}
{{- if get .Values.settings "REDIS_SENTINELS" }}
{{- $unneeded = append $unneeded "REDIS_HOST" }}
{{- end }}
{{- $settings := .Values.settings }}
{{- if include "account-service.redisPortInUrl" . }}
{{- /* The service accepts one port only, and REDIS_PORT has a default here. */}}
{{- $settings = omit $settings "REDIS_PORT" }}
{{- end }}
{{- $env := list }}
{{- range $name, $value := $settings }}
{{- if has $name $secrets }}
{{- fail (printf "settings.%s is a secret: put it into the Secret that secrets.name names" $name) }}
{{- end }}
{{- if has $name (list "PORT" "METRICS_PORT" "HEALTH_ENABLED" "DRAIN_SECONDS") }}
{{- fail (printf "settings.%s is set by the chart" $name) }}
{{- end }}
{{- if and (or (kindIs "invalid" $value) (eq (toString $value) "")) (not (has $name $unneeded)) }}
{{- fail (printf "settings.%s must be set" $name) }}
{{- end }}
{{- /* Helm reads whole numbers as floats, and would print them as 1e+06. */}}
{{- if and (kindIs "float64" $value) (eq (float64 (int64 $value)) $value) }}
{{- $value = int64 $value }}
{{- end }}
{{- $env = append $env (dict "name" $name "value" (toString $value)) }}
{{- end }}
{{- toYaml $env }}
{{- end }}

{{- /* Takes (dict "root" $ "component" "web" "of" .Values.web "more" (list of further variables)). */ -}}
{{- define "account-service.env" -}}
{{- $values := .root.Values }}
{{- $_ := required "secrets.name must be set" $values.secrets.name }}
{{- $env := list }}
{{- if ne .component "migration" }}
{{- $env = fromYamlArray (include "account-service.settingsEnv" .root) }}
{{- end }}
{{- $env = concat $env
      (fromYamlArray (include "account-service.secretEnv" .))
      (fromYamlArray (include "account-service.tlsEnv" .))
      (.more | default list)
      $values.pods.extraEnv .of.extraEnv }}
{{- $seen := list }}
{{- range $env }}
{{- if has .name $seen }}
{{- fail (printf "The variable %s is set twice (settings, secrets, tls, extraEnv, or by the chart)" .name) }}
{{- end }}
{{- $seen = append $seen .name }}
{{- end }}
env: {{ toYaml $env | nindent 2 }}
{{- with concat $values.pods.extraEnvFrom .of.extraEnvFrom }}
envFrom: {{ toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- /* What a pod has, but for its own container. Takes (dict "root" $ "component" "web" "of" .Values.web). */ -}}
{{- define "account-service.pod" -}}
{{- $pods := .root.Values.pods }}
serviceAccountName: {{ include "account-service.serviceAccount" . | quote }}
automountServiceAccountToken: {{ .root.Values.serviceAccount.automountToken }}
enableServiceLinks: false
securityContext: {{ toYaml .root.Values.podSecurityContext | nindent 2 }}
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets: {{ toYaml . | nindent 2 }}
{{- end }}
{{- with merge dict (.of.nodeSelector | default dict) $pods.nodeSelector }}
nodeSelector: {{ toYaml . | nindent 2 }}
{{- end }}
{{- with concat $pods.tolerations (.of.tolerations | default list) }}
tolerations: {{ toYaml . | nindent 2 }}
{{- end }}
{{- with .of.affinity | default $pods.affinity }}
affinity: {{ toYaml . | nindent 2 }}
{{- end }}
{{- with .of.priorityClassName | default $pods.priorityClassName }}
priorityClassName: {{ quote . }}
{{- end }}
{{- with .of.extraInitContainers }}
initContainers: {{ toYaml . | nindent 2 }}
{{- end }}
volumes: {{ include "account-service.volumes" . | nindent 2 }}
{{- end }}

{{- define "account-service.container" -}}
image: {{ include "account-service.image" .root }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
securityContext: {{ toYaml .root.Values.securityContext | nindent 2 }}
resources: {{ toYaml .of.resources | nindent 2 }}
volumeMounts: {{ include "account-service.volumeMounts" . | nindent 2 }}
{{- end }}

{{- /* Spreads the pods of one component over the nodes, unless the values say how. */ -}}
{{- define "account-service.spread" -}}
{{- if .of.topologySpreadConstraints -}}
topologySpreadConstraints: {{ toYaml .of.topologySpreadConstraints | nindent 2 }}
{{- else -}}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels: {{ include "account-service.selector" . | nindent 8 }}
{{- end }}
{{- end }}

{{- /* Metadata and pod template of a Deployment, up to its spec. */ -}}
{{- define "account-service.deploymentMetadata" -}}
metadata:
  name: {{ include "account-service.name" .root }}-{{ .component }}
  labels: {{ include "account-service.labels" . | nindent 4 }}
  {{- with .root.Values.deploymentAnnotations }}
  annotations: {{ toYaml . | nindent 4 }}
  {{- end }}
{{- end }}

{{- define "account-service.podMetadata" -}}
metadata:
  labels: {{ include "account-service.podLabels" . | nindent 4 }}
  {{- include "account-service.podAnnotations" . | nindent 2 }}
{{- end }}

{{- /* Port and probes of worker and Beat at their metrics port. A probe through Redis would restart all
       workers whenever Redis is down. */ -}}
{{- define "account-service.watched" -}}
ports:
  - {name: metrics, containerPort: {{ .root.Values.monitoring.metricsPort }}}
startupProbe:
  httpGet: {path: /metrics, port: metrics}
  periodSeconds: 2
  failureThreshold: {{ max 1 (div (int .of.startupSeconds) 2) }}
livenessProbe:
  httpGet: {path: /metrics, port: metrics}
  periodSeconds: 20
  timeoutSeconds: 10
  failureThreshold: 6
{{- end }}
