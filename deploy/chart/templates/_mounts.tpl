{{- /* Certificates and secrets as files: the volumes, where the service sees them, and the variables that
       name them. A connection's files are in /etc/account-service/tls/<connection>. */ -}}

{{- /* The connections that a component has certificates for. The migration connects to PostgreSQL only. */ -}}
{{- define "account-service.tlsConnections" -}}
{{- $tls := .root.Values.tls }}
{{- $found := list }}
{{- range $name := ternary (list "database") (list "database" "peers" "redis") (eq .component "migration") }}
{{- $of := get $tls $name }}
{{- if and $of.caConfigMap $of.caSecret }}
{{- fail (printf "tls.%s: set caConfigMap or caSecret, not both" $name) }}
{{- end }}
{{- if or $of.caConfigMap $of.caSecret $of.clientSecret }}
{{- $found = append $found $name }}
{{- end }}
{{- end }}
{{- toYaml $found }}
{{- end }}

{{- define "account-service.tlsEnv" -}}
{{- $tls := .root.Values.tls }}
{{- $env := list }}
{{- $variables := dict
      "database" (dict "ca" "PGSSLROOTCERT" "cert" "PGSSLCERT" "key" "PGSSLKEY")
      "redis" (dict "ca" "REDIS_TLS_CA_FILE" "cert" "REDIS_TLS_CERT_FILE" "key" "REDIS_TLS_KEY_FILE")
      "peers" (dict "ca" "REQUESTS_CA_BUNDLE") }}
{{- range $name := fromYamlArray (include "account-service.tlsConnections" .) }}
{{- $of := get $tls $name }}
{{- $names := get $variables $name }}
{{- $folder := printf "/etc/account-service/tls/%s" $name }}
{{- if or $of.caConfigMap $of.caSecret }}
{{- $env = append $env (dict "name" $names.ca "value" (printf "%s/ca.crt" $folder)) }}
{{- if eq $name "database" }}
{{- $env = append $env (dict "name" "PGSSLMODE" "value" $of.mode) }}
{{- end }}
{{- end }}
{{- if $of.clientSecret }}
{{- $env = append $env (dict "name" $names.cert "value" (printf "%s/tls.crt" $folder)) }}
{{- $env = append $env (dict "name" $names.key "value" (printf "%s/tls.key" $folder)) }}
{{- end }}
{{- end }}
{{- if ne .component "migration" }}
{{- if $tls.redis.enabled }}
{{- $env = append $env (dict "name" "REDIS_TLS" "value" "1") }}
{{- else if or $tls.redis.caConfigMap $tls.redis.caSecret $tls.redis.clientSecret }}
{{- fail "tls.redis has certificates: set tls.redis.enabled, too" }}
{{- end }}
{{- end }}
{{- toYaml $env }}
{{- end }}

{{- define "account-service.volumes" -}}
{{- $values := .root.Values }}
- name: tmp
  emptyDir: {sizeLimit: 256Mi}
{{- if ne .component "test" }}
{{- with fromYamlArray (include "account-service.secretFiles" .) }}
- name: secrets
  secret:
    secretName: {{ quote $values.secrets.name }}
    defaultMode: 0440
    items:
      {{- range . }}
      - {key: {{ . }}, path: {{ . }}}
      {{- end }}
{{- end }}
{{- range $name := fromYamlArray (include "account-service.tlsConnections" .) }}
{{- $of := get $values.tls $name }}
- name: tls-{{ $name }}
  projected:
    # PostgreSQL's client library refuses a key that others may read.
    defaultMode: 0440
    sources:
      {{- with $of.caConfigMap }}
      - configMap: {name: {{ quote . }}, items: [{key: ca.crt, path: ca.crt}]}
      {{- end }}
      {{- with $of.caSecret }}
      - secret: {name: {{ quote . }}, items: [{key: ca.crt, path: ca.crt}]}
      {{- end }}
      {{- with $of.clientSecret }}
      - secret: {name: {{ quote . }}, items: [{key: tls.crt, path: tls.crt}, {key: tls.key, path: tls.key}]}
      {{- end }}
{{- end }}
{{- with concat $values.pods.extraVolumes (.of.extraVolumes | default list) }}
{{ toYaml . }}
{{- end }}
{{- end }}
{{- end }}

{{- define "account-service.volumeMounts" -}}
{{- $values := .root.Values }}
- {name: tmp, mountPath: /tmp}
{{- if ne .component "test" }}
{{- if fromYamlArray (include "account-service.secretFiles" .) }}
- {name: secrets, mountPath: /etc/account-service/secrets, readOnly: true}
{{- end }}
{{- range fromYamlArray (include "account-service.tlsConnections" .) }}
- {name: tls-{{ . }}, mountPath: /etc/account-service/tls/{{ . }}, readOnly: true}
{{- end }}
{{- with concat $values.pods.extraVolumeMounts (.of.extraVolumeMounts | default list) }}
{{ toYaml . }}
{{- end }}
{{- end }}
{{- end }}
