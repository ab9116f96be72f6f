{{- define "pd.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 40 | trimSuffix "-" }}{{ else }}{{ printf "%s-%s" (.Release.Name | trunc 22 | trimSuffix "-") .Chart.Name }}{{ end }}
{{- end }}

{{- define "pd.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{- define "pd.labels" -}}
{{ include "pd.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "pd.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- define "pd.workerImage" -}}
{{ .Values.workerImage.repository }}:{{ .Values.workerImage.tag | default .Chart.AppVersion }}
{{- end }}

{{- define "pd.databasesSecret" -}}
{{ if .Values.bundled.enabled }}{{ include "pd.name" . }}-bundled-databases{{ else }}{{ required "databases.existingSecret names the Secret with the URLs of the record and of Dagster's database; or bundled.enabled for a trial" .Values.databases.existingSecret }}{{ end }}
{{- end }}

{{- define "pd.storageSecret" -}}
{{ if .Values.bundled.enabled }}{{ include "pd.name" . }}-bundled-storage{{ else }}{{ .Values.storage.existingSecret }}{{ end }}
{{- end }}

{{- define "pd.storageUrl" -}}
{{ if .Values.bundled.enabled }}s3://pachyderm/home{{ else }}{{ required "storage.url says where the objects are; or bundled.enabled for a trial" .Values.storage.url }}{{ end }}
{{- end }}

{{/* What is in a URL stands in a ConfigMap. */}}
{{- define "pd.coordination" -}}
{{- if contains "@" .Values.coordination.url }}{{ fail "coordination.url has a user in it; give ETCDCTL_USER and ETCDCTL_PASSWORD in the Secret of coordination.existingSecret, and leave them out of the URL" }}{{ end }}
{{- .Values.coordination.url }}
{{- end }}

{{- define "pd.podCoordination" -}}
{{- if contains "@" .Values.coordination.podUrl }}{{ fail "coordination.podUrl has a user in it; give ETCDCTL_USER and ETCDCTL_PASSWORD of workers in the Secret of storage.existingSecret, and leave them out of the URL" }}{{ end }}
{{- if and .Values.coordination.podUrl (not (hasPrefix "etcd://" .Values.coordination.url)) }}{{ fail "coordination.podUrl is the etcd of coordination.url as pods reach it; set coordination.url to an etcd, or leave podUrl empty" }}{{ end }}
{{- .Values.coordination.podUrl }}
{{- end }}

{{- define "pd.podSecurity" -}}
runAsNonRoot: true
runAsUser: 1000
runAsGroup: 1000
fsGroup: 1000
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "pd.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{/* What every process of ours finds in its environment, runs included. The last one counts: the storage Secret may have another user of etcd, that of the pods of jobs. */}}
{{- define "pd.environFrom" -}}
- configMapRef:
    name: {{ include "pd.name" . }}-environ
{{- with include "pd.storageSecret" . }}
- secretRef:
    name: {{ . | quote }}
{{- end }}
{{- with .Values.coordination.existingSecret }}
- secretRef:
    name: {{ . | quote }}
{{- end }}
{{- end }}

{{- define "pd.databaseVariables" -}}
- name: PACHYDERM_METADATA_URL
  valueFrom:
    secretKeyRef:
      name: {{ include "pd.databasesSecret" . | quote }}
      key: {{ .Values.databases.recordKey }}
- name: DAGSTER_POSTGRES_URL
  valueFrom:
    secretKeyRef:
      name: {{ include "pd.databasesSecret" . | quote }}
      key: {{ .Values.databases.dagsterKey }}
{{- end }}

{{/* The pod itself, with which its home goes, and so what workflows have on the cluster. */}}
{{- define "pd.ownVariables" -}}
- name: POD_NAME
  valueFrom:
    fieldRef:
      fieldPath: metadata.name
- name: POD_UID
  valueFrom:
    fieldRef:
      fieldPath: metadata.uid
- name: PACHYDERM_KUBERNETES_OWNER
  value: $(POD_NAME)/$(POD_UID)
{{- end }}

{{/* All of a container of ours but its name, command, ports and probes. */}}
{{- define "pd.container" -}}
image: {{ include "pd.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  {{- include "pd.containerSecurity" . | nindent 2 }}
envFrom:
  {{- include "pd.environFrom" . | nindent 2 }}
env:
  {{- include "pd.databaseVariables" . | nindent 2 }}
  {{- include "pd.ownVariables" . | nindent 2 }}
volumeMounts:
  {{- include "pd.mounts" . | nindent 2 }}
  - name: instance
    mountPath: /var/lib/dagster/dagster.yaml
    subPath: dagster.yaml
    readOnly: true
  - name: instance
    mountPath: /etc/pachyderm-dagster/workspace.yaml
    subPath: workspace.yaml
    readOnly: true
{{- end }}

{{- define "pd.mounts" -}}
- name: state
  mountPath: /var/lib/pachyderm
- name: dagster
  mountPath: /var/lib/dagster
- name: tmp
  mountPath: /tmp
{{- end }}

{{/* What can be written to; nothing there outlives its pod. */}}
{{- define "pd.volumes" -}}
- name: state
  emptyDir: {}
- name: dagster
  emptyDir: {}
- name: tmp
  emptyDir: {}
{{- end }}

{{/* Makes the record's and Dagster's tables, one pod after the other, before anything uses them. */}}
{{- define "pd.prepare" -}}
- name: prepare
  command: [python, -P, -m, pachyderm_dagster.integration.preparing]
  resources:
    requests: {cpu: 50m, memory: 256Mi}
    limits: {memory: 1Gi}
  {{- include "pd.container" . | nindent 2 }}
{{- end }}

{{/* The part of a pod that is the same for all servers: a dict of root and component. */}}
{{- define "pd.podMetadata" -}}
labels:
  {{- include "pd.labels" .root | nindent 2 }}
  app.kubernetes.io/component: {{ .component }}
annotations:
  # Pods start again when their settings change.
  checksum/configuration: {{ include (print .root.Template.BasePath "/configuration.yaml") .root | sha256sum }}
  {{- with .root.Values.podAnnotations }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}

{{- define "pd.podSpec" -}}
serviceAccountName: {{ include "pd.name" .root }}-{{ .account }}
securityContext:
  {{- include "pd.podSecurity" .root | nindent 2 }}
enableServiceLinks: false
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . | quote }}
  {{- end }}
{{- end }}
{{- with .root.Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .root.Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .root.Values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
volumes:
  {{- include "pd.volumes" .root | nindent 2 }}
  - name: instance
    configMap:
      name: {{ include "pd.name" .root }}-instance
initContainers:
  {{- include "pd.prepare" .root | nindent 2 }}
{{- end }}

{{/* Another argument of Dagster's servers, where logs are JSON. */}}
{{- define "pd.dagsterLogs" -}}
{{ if eq .Values.logs.format "json" }}, --log-format=json{{ end }}
{{- end }}
