{{- /* One egress rule. Takes (dict "namespace" "data" "podLabels" (dict) "cidrs" (list) "ports" (list 5432)),
       with all but the ports optional, and `protocols` (TCP). Without a destination: any address. */ -}}
{{- define "account-service.egressRule" -}}
{{- $to := list }}
{{- range .cidrs }}
{{- $to = append $to (dict "ipBlock" (dict "cidr" .)) }}
{{- end }}
{{- if or .namespace .podLabels }}
{{- $peer := dict }}
{{- if .namespace }}
{{- $_ := set $peer "namespaceSelector" (dict "matchLabels" (dict "kubernetes.io/metadata.name" .namespace)) }}
{{- else if .anyNamespace }}
{{- $_ := set $peer "namespaceSelector" dict }}
{{- end }}
{{- if .podLabels }}
{{- $_ := set $peer "podSelector" (dict "matchLabels" .podLabels) }}
{{- end }}
{{- $to = append $to $peer }}
{{- end }}
{{- $ports := list }}
{{- range $port := .ports }}
{{- range ($.protocols | default (list "TCP")) }}
{{- $ports = append $ports (dict "protocol" . "port" $port) }}
{{- end }}
{{- end }}
{{- $rule := dict "ports" $ports }}
{{- if $to }}
{{- $_ := set $rule "to" $to }}
{{- end }}
{{- toYaml (list $rule) }}
{{- end }}

{{- define "account-service.dnsRule" -}}
{{- $more := dict "protocols" (list "UDP" "TCP") "anyNamespace" true }}
{{- include "account-service.egressRule" (merge $more .Values.networkPolicy.dns) }}
{{- end }}

{{- /* Takes (dict "root" $ "to" .Values.networkPolicy.database). Without a destination, the rules in
       networkPolicy.egress say where it is; without these either, it may be anywhere. */ -}}
{{- define "account-service.storeRule" -}}
{{- if or .to.cidrs .to.namespace .to.podLabels (not .root.Values.networkPolicy.egress) }}
{{- include "account-service.egressRule" .to }}
{{- end }}
{{- end }}

{{- define "account-service.databaseRule" -}}
{{- include "account-service.storeRule" (dict "root" . "to" .Values.networkPolicy.database) }}
{{- end }}

{{- define "account-service.redisRule" -}}
{{- $redis := deepCopy .Values.networkPolicy.redis }}
{{- if not $redis.ports }}
{{- $ports := list (int (include "account-service.redisPortInUrl" . | default .Values.settings.REDIS_PORT | default 6379)) }}
{{- range splitList "," (.Values.settings.REDIS_SENTINELS | default "") }}
{{- with regexFind "[0-9]+$" (trim .) }}
{{- $ports = append $ports (int .) }}
{{- end }}
{{- end }}
{{- $_ := set $redis "ports" (uniq $ports) }}
{{- end }}
{{- include "account-service.storeRule" (dict "root" . "to" $redis) }}
{{- end }}
