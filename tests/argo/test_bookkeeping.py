"""What surrounds templates: locks, caches, metrics, labels, and what is handed on for pods of Kubernetes."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

import pachyderm_dagster.argo.locks as locks_module
from pachyderm_dagster.argo.bookkeeping import Synchronization
from pachyderm_dagster.argo.caches import FileCache, MemoryCache, kept_of
from pachyderm_dagster.argo.locks import FileLocks, Lock, locks_of
from pachyderm_dagster.argo.nodes import KeptArtifact, NodeOutputs, Phase
from pachyderm_dagster.errors import InvalidError, NotFoundError
from tests.argo.playing import Play, Time, play, pod, subject_of
from tests.argo.test_engine import FAIL, TEMPLATES, steps, text

MUTEX = ", synchronization: {mutexes: [{name: m}]}"
CONFIG = "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: sizes}\ndata: {two: '2', none: x}\n"
SEMAPHORE = ", synchronization: {semaphores: [{configMapKeyRef: {name: sizes, key: KEY}}]}"


def locks(folder: Path, holder: str, *, over: bool = False, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> FileLocks:
    return FileLocks(folder, holder, lambda _: over, sleep)


# --- locks


def test_a_mutex_lets_one_node_run_at_a_time(tmp_path: Path) -> None:
    fan = "{name: a, template: wait, withSequence: {count: 4}}"
    played = Play(steps(fan) + pod("wait", "sleep 3", more=MUTEX), locks=tmp_path).run()
    assert played.actors.most_at_once == 1
    assert played.root.phase is Phase.SUCCEEDED


def test_a_semaphore_lets_as_many_run_as_its_config_map_says(tmp_path: Path) -> None:
    fan = "{name: a, template: wait, withSequence: {count: 6}}"
    played = Play(steps(fan) + pod("wait", "sleep 3", more=SEMAPHORE.replace("KEY", "two")) + CONFIG, locks=tmp_path).run()
    assert played.actors.most_at_once == 2


def test_a_node_that_waits_for_a_lock_says_so(tmp_path: Path) -> None:
    told: list[str] = []
    both = "{name: a, template: wait}, {name: b, template: wait}"
    Play(
        steps(both) + pod("wait", "sleep 3", more=MUTEX), locks=tmp_path, tell=lambda node: told.append(f"{node.display_name} {node.phase} {node.message}")
    ).run()
    assert "b Pending Waiting for default/Mutex/m lock" in told


def test_attempts_hold_a_lock_together(tmp_path: Path) -> None:
    flaky = pod("flaky", "sleep 1", "exit {{=retries == '0' ? 1 : 0}}", more=MUTEX + ", retryStrategy: {limit: 1}")
    played = Play(steps("{name: a, template: flaky}, {name: b, template: flaky}") + flaky, locks=tmp_path).run()
    assert [name.partition("(")[0] for name in played.actors.started] == ["wf[0].a", "wf[0].a", "wf[0].b", "wf[0].b"]


@pytest.mark.parametrize(("key", "said"), [("gone", "'gone' of the ConfigMap 'sizes'"), ("none", "is 'x'; it is to be a number")])
def test_a_semaphore_without_a_size_is_an_error(key: str, said: str) -> None:
    played = play(steps("{name: a, template: s}") + pod("s", more=SEMAPHORE.replace("KEY", key)) + CONFIG)
    assert played.node("[0].a").phase is Phase.ERROR and said in played.node("[0].a").message


def test_locks_are_named_by_namespace_and_kind_and_taken_once() -> None:
    found = synchronization("{mutex: {name: a}, mutexes: [{name: a}, {name: a, namespace: ns}, {name: a, database: true}]}")
    assert [lock.name for lock in locks_of(found, "default", {})] == ["default/Database/a", "default/Mutex/a", "ns/Mutex/a"]
    assert locks_of(None, "default", {}) == ()


def test_a_lock_of_the_workflow_is_held_until_its_handler_has_ended(tmp_path: Path) -> None:
    async def scenario() -> list[str]:
        seen: list[str] = []
        first, second = locks(tmp_path, "one"), locks(tmp_path, "two")
        async with first.held([Lock("m")], seen.append):
            other = asyncio.ensure_future(hold(second, seen))
            await asyncio.sleep(0)
            seen.append("first ends")
        await other
        return seen

    async def hold(other: FileLocks, seen: list[str]) -> None:
        async with other.held([Lock("m")], lambda names: seen.append(f"waits for {names}")):
            seen.append("second")

    assert asyncio.run(scenario()) == ["waits for m", "first ends", "second"]


def test_all_locks_are_taken_or_none(tmp_path: Path) -> None:
    async def scenario() -> None:
        first, second, third = (locks(tmp_path, name) for name in "abc")
        async with first.held([Lock("y")], print):
            waiting = asyncio.ensure_future(second.held([Lock("x"), Lock("y")], print).__aenter__())
            await asyncio.sleep(0)
            # The one that waits for y holds no x meanwhile.
            async with third.held([Lock("x")], pytest.fail):
                pass
        await waiting

    asyncio.run(scenario())


def test_a_run_that_waits_for_people_keeps_its_locks_though_its_process_ends(tmp_path: Path) -> None:
    async def scenario() -> None:
        parked = locks(tmp_path, "parked")
        async with parked.held([Lock("s", 2)], pytest.fail):
            parked.park()
        other = locks(tmp_path, "other")
        async with other.held([Lock("s", 2)], pytest.fail):
            waits: list[str] = []
            third = asyncio.ensure_future(locks(tmp_path, "third").held([Lock("s", 2)], waits.append).__aenter__())
            await asyncio.sleep(0)
            assert waits == ["s"]
            third.cancel()
            async with locks(tmp_path, "parked").held([Lock("s", 2)], pytest.fail):
                pass
        async with other.held([Lock("s", 2)], pytest.fail), locks(tmp_path, "third").held([Lock("s", 2)], pytest.fail):
            pass

    asyncio.run(scenario())


def test_a_mark_of_a_run_that_is_over_holds_nothing(tmp_path: Path) -> None:
    async def scenario() -> None:
        parked = locks(tmp_path, "parked")
        async with parked.held([Lock("m")], pytest.fail):
            parked.park()
        async with locks(tmp_path, "other", over=True).held([Lock("m")], pytest.fail):
            pass

    asyncio.run(scenario())


def test_the_longer_a_lock_is_waited_for_the_rarer_are_looks(tmp_path: Path) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 6:
            raise TimeoutError

    async def scenario() -> None:
        async with locks(tmp_path, "one").held([Lock("m")], pytest.fail):
            with pytest.raises(TimeoutError):
                await locks(tmp_path, "two", sleep=sleep).held([Lock("m")], lambda _: None).__aenter__()

    asyncio.run(scenario())
    assert slept == [0.05, 0.1, 0.2, 0.4, 0.5, 0.5]


def test_of_many_places_only_the_marks_that_are_there_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Path] = []
    real = locks_module._read

    def counted(path: Path) -> str:
        read.append(path)
        return real(path)

    async def scenario() -> None:
        parked = locks(tmp_path, "parked")
        async with parked.held([Lock("s", 10_000)], pytest.fail):
            parked.park()
        monkeypatch.setattr(locks_module, "_read", counted)
        async with locks(tmp_path, "other").held([Lock("s", 10_000)], pytest.fail):
            pass

    asyncio.run(scenario())
    assert len(read) < 10


# --- caches

OUTPUTS = "outputs: {parameters: [{name: p, valueFrom: {path: /p}}], artifacts: [{name: a, path: /a}]}"
MEMOIZE = "memoize: {key: 'k-{{inputs.parameters.text}}', cache: {configMap: {name: c}}MORE}"


def memoized(more: str = "") -> str:
    return pod("say", "out p={{inputs.parameters.text}}", "art a", inputs="text", more=f", {MEMOIZE.replace('MORE', more)}, {OUTPUTS}")


def test_what_a_template_gave_is_taken_from_its_cache() -> None:
    cache = MemoryCache()
    main = steps("{name: a, " + text("x") + "}", "{name: b, " + text("x") + "}", "{name: c, " + text("y") + "}") + memoized()
    played = Play(main, cache=cache).run()
    assert played.actors.started == ["wf[0].a", "wf[2].c"]
    assert played.node("[1].b").outputs.parameters == {"p": "x"}
    assert (played.node("[0].a").from_cache, played.node("[1].b").from_cache) == (False, True)
    again = Play(main, cache=cache).run()
    assert again.actors.started == [] and again.root.phase is Phase.SUCCEEDED
    # Another run finds the artifact where it was made.
    assert again.node("[0].a").outputs.artifacts["a"].run == "wf"


def test_what_is_too_old_is_made_again() -> None:
    wait = pod("wait", "sleep 100")
    main = steps("{name: a, " + text("x") + "}", "{name: w, template: wait}", "{name: b, " + text("x") + "}") + wait
    assert len(play(main + memoized(", maxAge: 50s")).actors.started) == 3
    assert len(play(main + memoized(", maxAge: 1h")).actors.started) == 2


def test_only_what_succeeded_is_kept() -> None:
    failing = pod("f", "exit 1", more=", memoize: {key: k, cache: {configMap: {name: c}}}")
    played = play(steps("{name: a, template: f, continueOn: {failed: true}}", "{name: b, template: f}") + failing)
    assert played.actors.started == ["wf[0].a", "wf[1].b"]


def test_steps_have_caches_too() -> None:
    inner = "  - {name: inner, memoize: {key: k, cache: {configMap: {name: c}}}, steps: [[{name: i, template: ok}]]}\n" + pod("ok")
    played = play(steps("{name: a, template: inner}", "{name: b, template: inner}") + inner)
    assert played.actors.started == ["wf[0].a[0].i"]
    assert played.root.phase is Phase.SUCCEEDED


def test_a_key_with_other_characters_is_an_error() -> None:
    played = play(steps("{name: a, " + text("'x y'") + "}") + memoized())
    assert played.node("[0].a").phase is Phase.ERROR and "'k-x y'" in played.node("[0].a").message


def test_a_cache_on_disk_forgets_what_has_lost_its_artifacts(tmp_path: Path) -> None:
    there = {"run"}
    cache = FileCache(tmp_path, lambda kept: kept.run in there)
    assert cache.find("c", "k") is None
    cache.keep("c", "k", kept_of(NodeOutputs(parameters={"p": "1"}, artifacts={"a": KeptArtifact("key")}), 7.0, "run"))
    found = cache.find("c", "k")
    assert found is not None and (found.outputs.parameters, found.outputs.artifacts["a"], found.created) == ({"p": "1"}, KeptArtifact("key", run="run"), 7.0)
    there.clear()
    assert cache.find("c", "k") is None


# --- metrics and labels


def test_metrics_are_measured_when_a_node_has_ended() -> None:
    metrics = (
        ", metrics: {prometheus: ["
        "{name: seconds, help: how long, labels: [{key: at, value: '{{workflow.name}}'}], gauge: {value: '{{duration}}'}},"
        " {name: failures, when: '{{status}} == Failed', counter: {value: '1'}},"
        " {name: sizes, histogram: {buckets: [1, 10.5], value: '{{outputs.parameters.p}}'}}]}"
    )
    main = pod("main", "sleep 5", "out p=7", more=metrics + ", outputs: {parameters: [{name: p, valueFrom: {path: /p}}]}")
    found = [(one.name, one.kind, one.value, one.labels) for one in play(TEMPLATES + main).root.metrics]
    assert found == [("seconds", "gauge", 5.0, {"at": "wf"}), ("sizes", "histogram", 7.0, {})]
    failing = pod("main", "exit 1", more=metrics.replace("'{{outputs.parameters.p}}'", "2"))
    assert [one.name for one in play(TEMPLATES + failing).root.metrics] == ["seconds", "failures", "sizes"]


def test_the_workflow_is_measured_with_what_came_of_it() -> None:
    metrics = "  metrics: {prometheus: [{name: runs, labels: [{key: status, value: '{{workflow.status}}'}], counter: {value: 1}}]}\n"
    assert play(metrics + steps("{name: a, template: fail}") + FAIL).root.metrics[0].labels == {"status": "Failed"}


def test_a_metric_that_is_no_number_is_told_and_changes_nothing() -> None:
    played = play(TEMPLATES + pod("main", more=", metrics: {prometheus: [{name: m, gauge: {value: many}}]}"))
    assert played.root.phase is Phase.SUCCEEDED and "'many'" in played.root.message


def test_labels_of_the_workflow_come_from_its_metadata_and_expressions() -> None:
    more = "  workflowMetadata: {labels: {a: one}, annotations: {c: note}, labelsFrom: {b: {expression: \"workflow.name + '-x'\"}}}\n"
    main = pod("main", "print {{workflow.labels.a}} {{workflow.labels.b}} {{workflow.annotations.c}} {{workflow.labels}}")
    container = play(more + TEMPLATES + main).actors.pods["wf"].template.container
    assert container is not None and container.args == ('print one wf-x note {"a":"one","b":"wf-x"}',)


# --- pods


def test_pending_timeout_is_the_wait_for_a_place() -> None:
    tail = "  parallelism: 1\n" + steps("{name: a, template: wait}, {name: b, template: limited}") + pod("wait", "sleep 10")
    late = play(tail + pod("limited", "sleep 1", more=", pendingTimeout: 5s"))
    assert (late.node("[0].b").phase, late.node("[0].b").message) == (Phase.FAILED, "Pod was pending for longer than the specified time")
    assert play(tail + pod("limited", "sleep 30", more=", pendingTimeout: 15s")).root.phase is Phase.SUCCEEDED


def test_what_is_said_of_pods_is_handed_to_the_executor() -> None:
    of_workflow = (
        "  nodeSelector: {disk: ssd, zone: '{{workflow.name}}'}\n  serviceAccountName: me\n  imagePullSecrets: [{name: s}]\n  hostNetwork: true\n"
        "  podMetadata: {labels: {a: '1', b: '1'}}\n  podSpecPatch: '{\"x\": 1}'\n  archiveLogs: true\n"
    )
    of_template = (
        ", nodeSelector: {disk: '{{inputs.parameters.d}}'}, metadata: {labels: {b: '2'}, annotations: {c: '3'}}, podSpecPatch: 'y: {{inputs.parameters.d}}'"
    )
    main = pod("main", "print {{workflow.serviceAccountName}}", more=of_template).replace("parameters: []", "parameters: [{name: d, value: hdd}]")
    started = play(of_workflow + TEMPLATES + main).actors.pods["wf"]
    assert started.pod_spec == {
        "nodeSelector": {"disk": "hdd", "zone": "wf"},
        "serviceAccountName": "me",
        "imagePullSecrets": ({"name": "s"},),
        "hostNetwork": True,
    }
    assert (started.labels, started.annotations) == ({"a": "1", "b": "2"}, {"c": "3"})
    assert started.pod_spec_patches == ('{"x": 1}', "y: hdd")
    assert started.archives_log
    assert started.template.container is not None and started.template.container.args == ("print me",)


def synchronization(text: str) -> Synchronization | None:
    return subject_of(f"  synchronization: {text}\n{TEMPLATES}{pod('main')}", {}, Time().clock).spec.synchronization


def test_codes_of_what_cannot_be_locked() -> None:
    with pytest.raises(InvalidError, match="semaphore-invalid"):
        locks_of(synchronization("{semaphores: [{}]}"), "default", {})
    with pytest.raises(NotFoundError, match="config-map-not-found"):
        locks_of(synchronization("{semaphore: {configMapKeyRef: {name: a, key: b}}}"), "default", {})
