{{- define "penstock.name" -}}
{{- .Chart.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- define "penstock.fullname" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "penstock.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "penstock.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/* What selects the pods of this release; with (dict "root" $ "role" role) those of one role. */}}
{{- define "penstock.selector" -}}
app.kubernetes.io/name: {{ include "penstock.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- with .role }}
app.kubernetes.io/component: {{ . }}
{{- end }}
{{- end -}}

{{- define "penstock.labels" -}}
{{ include "penstock.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
app.kubernetes.io/part-of: penstock
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "penstock.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end -}}
{{- end -}}

{{/* The definition's path inside the container. */}}
{{- define "penstock.definition" -}}
{{- if hasPrefix "/" .Values.definition.path -}}
{{ .Values.definition.path }}
{{- else -}}
/definitions/{{ .Values.definition.path }}
{{- end -}}
{{- end -}}

{{- define "penstock.configMap" -}}
{{- if .Values.definition.existingConfigMap -}}
{{ .Values.definition.existingConfigMap }}
{{- else if .Values.definition.files -}}
{{ include "penstock.fullname" . }}-definition
{{- end -}}
{{- end -}}

{{/* What must be said, and what does not fit together: one sentence each. */}}
{{- define "penstock.check" -}}
{{- $v := .Values -}}
{{- if and $v.definition.files $v.definition.existingConfigMap -}}
{{- fail "definition.files and definition.existingConfigMap: give one of them" -}}
{{- end -}}
{{- if and $v.definition.files (not (hasPrefix "/" $v.definition.path)) (not (hasKey $v.definition.files $v.definition.path)) -}}
{{- fail (printf "definition.path is %q, and definition.files has no such file" $v.definition.path) -}}
{{- end -}}
{{- if and (not $v.definition.files) (not $v.definition.existingConfigMap) (not (hasPrefix "/" $v.definition.path)) -}}
{{- fail "where is the definition? Give definition.files or definition.existingConfigMap, or in definition.path an absolute path in the image" -}}
{{- end -}}
{{- if and $v.keda.enabled (not $v.keda.prometheusAddress) -}}
{{- fail "keda.enabled: give keda.prometheusAddress, where the age of the newest event is asked" -}}
{{- end -}}
{{- if and $v.keda.enabled (not $v.roles.featurize.enabled) -}}
{{- fail "keda.enabled scales featurize, and roles.featurize.enabled is false" -}}
{{- end -}}
{{- end -}}

{{/* The pod of a role: (dict "root" $ "role" "learn" "slots" true). */}}
{{- define "penstock.pod" -}}
{{- $root := .root -}}
{{- $v := $root.Values -}}
{{- $role := index $v.roles .role -}}
metadata:
  labels:
    {{- include "penstock.labels" . | nindent 4 }}
  annotations:
    {{- if $v.definition.files }}
    checksum/definition: {{ toJson $v.definition.files | sha256sum }}
    {{- end }}
    {{- with $v.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
    {{- if not (or $v.definition.files $v.podAnnotations) }}
    checksum/definition: none
    {{- end }}
spec:
  serviceAccountName: {{ include "penstock.serviceAccountName" $root }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ $role.terminationGracePeriodSeconds }}
  securityContext:
    runAsNonRoot: true
    runAsUser: 10001
    runAsGroup: 10001
    fsGroup: 10001
    seccompProfile:
      type: RuntimeDefault
  {{- with $v.imagePullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with default $v.priorityClassName $role.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- with default $v.nodeSelector $role.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with default $v.tolerations $role.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with default $v.affinity $role.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  topologySpreadConstraints:
    - maxSkew: 1
      topologyKey: {{ $v.topologyKey }}
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels:
          {{- include "penstock.selector" . | nindent 10 }}
  containers:
    - name: {{ .role }}
      image: {{ include "penstock.image" $root }}
      imagePullPolicy: {{ $v.image.pullPolicy }}
      args:
        - run
        - {{ include "penstock.definition" $root }}
        - --role
        - {{ .role }}
        {{- if eq .role "serve" }}
        - --workers
        - {{ $role.workers | quote }}
        {{- end }}
      env:
        {{- include "penstock.env" . | nindent 8 }}
      ports:
        - name: http
          containerPort: 9100
      {{- include "penstock.probes" . | nindent 6 }}
      resources:
        {{- toYaml $role.resources | nindent 8 }}
      securityContext:
        allowPrivilegeEscalation: false
        readOnlyRootFilesystem: true
        capabilities:
          drop: [ALL]
      volumeMounts:
        - name: tmp
          mountPath: /tmp
        {{- if include "penstock.configMap" $root }}
        - name: definition
          mountPath: /definitions
          readOnly: true
        {{- end }}
        {{- if $v.kafka.existingCaSecret }}
        - name: kafka-ca
          mountPath: /kafka-ca
          readOnly: true
        {{- end }}
        {{- if and (eq .role "console") $role.existingUsersSecret }}
        - name: users
          mountPath: /users
          readOnly: true
        {{- end }}
  volumes:
    - name: tmp
      emptyDir: {}
    {{- with include "penstock.configMap" $root }}
    - name: definition
      configMap:
        name: {{ . }}
    {{- end }}
    {{- with $v.kafka.existingCaSecret }}
    - name: kafka-ca
      secret:
        secretName: {{ . }}
        items:
          - key: ca.crt
            path: ca.crt
    {{- end }}
    {{- if and (eq .role "console") $role.existingUsersSecret }}
    - name: users
      secret:
        secretName: {{ $role.existingUsersSecret }}
        items:
          - key: users
            path: users
    {{- end }}
{{- end -}}

{{/* What a role is told: addresses, secrets by reference, and its slot. */}}
{{- define "penstock.env" -}}
{{- $root := .root -}}
{{- $v := $root.Values -}}
{{- $role := index $v.roles .role -}}
{{- $redis := default $v.redis.existingSecret (index $v.redis.existingSecretOf .role) -}}
{{- $kafka := default $v.kafka.existingSecret (index $v.kafka.existingSecretOf .role) -}}
- name: HOME
  value: /tmp
- name: PENSTOCK_HOST
  value: 0.0.0.0
- name: PENSTOCK_PORT
  value: "9100"
- name: PENSTOCK_MODELS
  value: {{ $v.models | quote }}
{{- with $v.prefix }}
- name: PENSTOCK_PREFIX
  value: {{ . | quote }}
{{- end }}
- name: REDIS_URL
  valueFrom:
    secretKeyRef:
      name: {{ required (printf "redis.existingSecret: name the secret with the key url (or redis.existingSecretOf.%s)" .role) $redis }}
      key: url
- name: PENSTOCK_SECRET
  valueFrom:
    secretKeyRef:
      name: {{ required "signing.existingSecret: name the secret with the key secret" $v.signing.existingSecret }}
      key: secret
- name: PENSTOCK_SECRETS_FORMER
  valueFrom:
    secretKeyRef:
      name: {{ $v.signing.existingSecret }}
      key: former
      optional: true
{{- if ne .role "serve" }}
- name: KAFKA_BOOTSTRAP_SERVERS
  value: {{ required "kafka.bootstrapServers: say where Kafka is" $v.kafka.bootstrapServers | quote }}
{{- range $name, $value := $v.kafka.settings }}
- name: PENSTOCK_KAFKA_{{ $name }}
  value: {{ $value | quote }}
{{- end }}
{{- if $kafka }}
- name: PENSTOCK_KAFKA_SASL_USERNAME
  valueFrom:
    secretKeyRef:
      name: {{ $kafka }}
      key: username
- name: PENSTOCK_KAFKA_SASL_PASSWORD
  valueFrom:
    secretKeyRef:
      name: {{ $kafka }}
      key: password
{{- end }}
{{- if $v.kafka.existingCaSecret }}
- name: PENSTOCK_KAFKA_SSL_CA_LOCATION
  value: /kafka-ca/ca.crt
{{- end }}
{{- end }}
{{- if .slots }}
- name: PENSTOCK_SLOT
  valueFrom:
    fieldRef:
      fieldPath: metadata.labels['apps.kubernetes.io/pod-index']
{{- end }}
{{- if and (eq .role "serve") $role.existingSecret }}
- name: PENSTOCK_SERVE_TOKENS
  valueFrom:
    secretKeyRef:
      name: {{ $role.existingSecret }}
      key: tokens
{{- end }}
{{- if eq .role "console" }}
- name: PENSTOCK_CONSOLE_ANONYMOUS
  value: {{ $role.anonymous | quote }}
- name: PENSTOCK_CONSOLE_HOSTS
  value: {{ join "," $role.hosts | quote }}
- name: PENSTOCK_CONSOLE_PROXIES
  value: {{ join "," $role.proxies | quote }}
- name: PENSTOCK_CONSOLE_GROUPS
  value: {{ join "," $role.groups | quote }}
{{- if $role.existingUsersSecret }}
- name: PENSTOCK_CONSOLE_USERS
  value: /users/users
{{- end }}
{{- end }}
{{- with $v.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Alive is that the loop turns, which depends on no server; ready is that it works. A start may take as long as a rebuild. */}}
{{- define "penstock.probes" -}}
startupProbe:
  httpGet: {path: /healthz, port: http}
  periodSeconds: 5
  timeoutSeconds: 3
  failureThreshold: 60
livenessProbe:
  httpGet: {path: /healthz, port: http}
  periodSeconds: 15
  timeoutSeconds: 5
  failureThreshold: 6
readinessProbe:
  httpGet: {path: /readyz, port: http}
  periodSeconds: 5
  timeoutSeconds: 3
  failureThreshold: 3
{{- end -}}
