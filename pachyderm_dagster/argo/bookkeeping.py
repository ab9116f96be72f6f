"""What is said around a template and a workflow: what is measured, kept from before, locked, and written on pods."""

import msgspec

from pachyderm_dagster.argo.parameters import KeyRef, Text


class PodMetadata(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Labels and annotations of a pod of Kubernetes."""

    labels: dict[str, Text] = {}
    """Labels."""
    annotations: dict[str, Text] = {}
    """Annotations."""


class MetricLabel(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A label of a metric."""

    key: str
    """Its name."""
    value: Text
    """Its value."""


class Gauge(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A metric that goes up and down."""

    value: Text
    """Its value."""
    realtime: bool = False
    """Taken; the value is that at the end."""


class Counter(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A metric that is added to."""

    value: Text
    """What is added."""


class Histogram(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A metric that is counted in buckets."""

    value: Text
    """What is counted."""
    buckets: tuple[float, ...] = ()
    """The upper ends of the buckets."""


class Prometheus(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A metric; it has one of the kinds."""

    name: str
    """Its name."""
    help: str = ""
    """For people."""
    labels: tuple[MetricLabel, ...] = ()
    """Its labels."""
    when: str = ""
    """It is left out when this is false."""
    gauge: Gauge | None = None
    """It goes up and down."""
    counter: Counter | None = None
    """It is added to."""
    histogram: Histogram | None = None
    """It is counted in buckets."""


class Metrics(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """What is measured of a node; it is kept with the node, and `argo get -o json` shows it."""

    prometheus: tuple[Prometheus, ...] = ()
    """The metrics."""


class CacheName(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """The name of a cache."""

    name: str
    """Its name."""


class CacheRef(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A cache."""

    config_map: CacheName
    """Its name; it is kept in the home."""


class Memoize(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """What a template gave before is taken instead of running it again."""

    key: str
    """Under which its outputs are kept: letters, digits and `-`."""
    cache: CacheRef
    """Where they are kept."""
    max_age: Text = ""
    """How old they may be: `1h`; any age without it."""


class SemaphoreRef(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A lock that several may hold at once: as many as the key of a ConfigMap says."""

    config_map_key_ref: KeyRef | None = None
    """The key."""
    namespace: str = ""
    """The namespace of the lock; that of the workflow without it."""


class Mutex(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A lock that one holds."""

    name: Text
    """Its name."""
    namespace: str = ""
    """The namespace of the lock; that of the workflow without it."""
    database: bool = False
    """It is another lock than the one of the same name without this."""


class Synchronization(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Locks that are held for as long as a node, or the workflow, runs; all workflows of a home know of them."""

    mutexes: tuple[Mutex, ...] = ()
    """One holds each."""
    semaphores: tuple[SemaphoreRef, ...] = ()
    """Several hold each."""
    mutex: Mutex | None = None
    """A single one; v3's way to write it."""
    semaphore: SemaphoreRef | None = None
    """A single one; v3's way to write it."""


class ArchiveLocation(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Where a template's outputs are kept, and whether its log is one of them."""

    archive_logs: bool | None = None
    """What it printed is the artifact `main-logs`."""
