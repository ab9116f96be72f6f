"""What EventSources and Sensors may say beyond the fields that are built, as `vocabulary` has it for workflows."""

from collections.abc import Mapping

from pachyderm_dagster.argo.event_sources import BucketSource, CalendarSource, EventBucket, EventSourceSpec, GenericSource, WebhookSource
from pachyderm_dagster.argo.sensors import ContextFilter, Dependency, DependencyFilters, SensorSpec, Trigger, TriggerObject, TriggerTemplate, WorkflowTrigger
from pachyderm_dagster.pps.strict import OtherNames

_POD = "no pod is started for it"
_BUS = "events are kept in the home"
_OTHER_SOURCES = (
    "amqp",
    "azureEventsHub",
    "azureQueueStorage",
    "azureServiceBus",
    "bitbucket",
    "bitbucketserver",
    "emitter",
    "file",
    "gerrit",
    "github",
    "gitlab",
    "hdfs",
    "kafka",
    "mns",
    "mqtt",
    "nats",
    "nsq",
    "pubSub",
    "pulsar",
    "redis",
    "redisStream",
    "resource",
    "sftp",
    "slack",
    "sns",
    "sqs",
    "storageGrid",
    "stripe",
)
_OTHER_TRIGGERS = (
    "awsLambda",
    "azureEventHubs",
    "azureServiceBus",
    "custom",
    "email",
    "http",
    "kafka",
    "log",
    "nats",
    "openWhisk",
    "pulsar",
    "slack",
)

EVENT_NAMES: Mapping[type, OtherNames] = {
    EventSourceSpec: OtherNames(
        without_effect={"eventBusName": _BUS, "template": _POD, "replicas": _POD, "service": "`argo listen` says where it listens"},
        refused=dict.fromkeys(_OTHER_SOURCES, "have it sent to a `webhook`, put into a bucket (`minio`), or committed (`generic` with `pfs://REPO@BRANCH`)"),
    ),
    CalendarSource: OtherNames(without_effect={"persistence": "the newest time that was missed is always made up for"}),
    WebhookSource: OtherNames(
        without_effect={"url": "requests come to `argo listen`"},
        refused={
            "serverCertSecret": "let a proxy before `argo listen` speak TLS",
            "serverKeySecret": "let a proxy before `argo listen` speak TLS",
            "basicAuth": "write `authSecret`",
        },
    ),
    EventBucket: OtherNames(refused={"key": "write `filter.prefix`"}),
    BucketSource: OtherNames(refused={"caCertificate": "set SSL_CERT_FILE"}),
    GenericSource: OtherNames(
        without_effect={
            "insecure": "no server is asked",
            "jsonBody": "the body of a commit is an object",
            "authSecret": "no server is asked",
        },
        refused={"config": "no server is asked; the commits are those of the branch in `url`"},
    ),
    SensorSpec: OtherNames(
        without_effect={
            "eventBusName": _BUS,
            "template": _POD,
            "replicas": _POD,
            "revisionHistoryLimit": _POD,
            "loggingFields": _POD,
            "errorOnFailedRound": "the tick in Dagster tells what failed",
        }
    ),
    Dependency: OtherNames(refused={"transform": "take the values by `dataKey` or `dataTemplate`"}),
    DependencyFilters: OtherNames(refused={"script": "nothing here runs Lua; write `exprs`"}),
    ContextFilter: OtherNames(without_effect=dict.fromkeys(("id", "specversion", "time"), "Argo does not look at it either")),
    Trigger: OtherNames(
        without_effect={
            "policy": "the run in Dagster tells how the workflow ended",
            "retryStrategy": "Dagster starts what was asked for",
            "atLeastOnce": "each event starts exactly one run",
        },
        refused={
            "parameters": "give those of `argoWorkflow` or `k8s`; what a trigger is stands fast here",
            "rateLimit": "limit the runs at once in Dagster's run queue",
            "dlqTrigger": "let a sensor on failed runs in Dagster do it",
        },
    ),
    TriggerTemplate: OtherNames(
        refused={
            **dict.fromkeys(_OTHER_TRIGGERS, "start a workflow (`argoWorkflow`) that does it"),
            "conditionsReset": "what waits for its other events waits on",
        }
    ),
    WorkflowTrigger: OtherNames(
        refused={
            "args": "write the arguments into the workflow",
            "liveObject": "only new workflows are started",
            "patchStrategy": "only new workflows are started",
        }
    ),
    TriggerObject: OtherNames(refused=dict.fromkeys(("s3", "inline", "file", "url", "configmap", "git"), "write the workflow as `resource`")),
}
