"""The programs that make up a cluster, in the order in which they start, with their command lines."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.plan import Plan


@dataclass(frozen=True, slots=True)
class Program:
    """One process of a cluster."""

    name: str
    command: Sequence[str]
    on_node: bool
    """Runs in the node's network and mounts."""


def cluster_programs(plan: Plan, find: Callable[[str], Path]) -> list[Program]:
    """Etcd, the control plane and the node; `find` knows where a program is installed."""

    def on_machine(name: str, *flags: str) -> Program:
        return Program(name, [str(find(name)), *flags], on_node=False)

    def on_node(name: str, *flags: str) -> Program:
        return Program(name, [str(find(name)), *flags], on_node=True)

    return [
        on_machine("etcd", *_etcd_flags(plan)),
        on_node("containerd", "--config", str(plan.configuration("containerd.toml"))),
        on_machine("kube-apiserver", *_api_server_flags(plan)),
        on_machine("kube-controller-manager", *_controller_manager_flags(plan)),
        on_machine("kube-scheduler", f"--kubeconfig={plan.kubeconfig_of('scheduler')}", f"--bind-address={plan.loopback}", "--leader-elect=false"),
        on_node(
            "kubelet",
            f"--config={plan.configuration('kubelet.json')}",
            f"--kubeconfig={plan.kubeconfig_of('kubelet')}",
            f"--hostname-override={plan.name}",
            f"--node-ip={plan.node}",
            f"--root-dir={plan.folder}/kubelet",
            f"--cert-dir={plan.folder}/kubelet-certificates",
        ),
        # On the machine, whose address pods reach: the node needs no pod that has to be there before others.
        on_machine("coredns", "-conf", str(plan.configuration("Corefile"))),
        on_node("kube-proxy", f"--config={plan.configuration('kube-proxy.json')}"),
    ]


def _etcd_flags(plan: Plan) -> list[str]:
    peers = f"http://{plan.loopback}:2380"
    return [
        f"--data-dir={plan.folder}/etcd",
        f"--listen-client-urls={plan.etcd}",
        f"--advertise-client-urls={plan.etcd}",
        f"--listen-peer-urls={peers}",
        f"--initial-advertise-peer-urls={peers}",
        f"--initial-cluster=default={peers}",
        # No test cuts the power.
        "--unsafe-no-fsync",
    ]


def _api_server_flags(plan: Plan) -> list[str]:
    return [
        f"--etcd-servers={plan.etcd}",
        f"--bind-address={plan.host}",
        f"--advertise-address={plan.host}",
        "--secure-port=6443",
        f"--tls-cert-file={plan.certificate('api-server')}",
        f"--tls-private-key-file={plan.key('api-server')}",
        f"--client-ca-file={plan.certificate('ca')}",
        # Without these, logs and exec fail.
        f"--kubelet-certificate-authority={plan.certificate('ca')}",
        f"--kubelet-client-certificate={plan.certificate('admin')}",
        f"--kubelet-client-key={plan.key('admin')}",
        "--kubelet-preferred-address-types=InternalIP",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={plan.certificate('service-accounts')}",
        f"--service-account-signing-key-file={plan.key('service-accounts')}",
        f"--service-cluster-ip-range={plan.services}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged=true",
        f"--cert-dir={plan.folder}/api-server",
    ]


def _controller_manager_flags(plan: Plan) -> list[str]:
    return [
        f"--kubeconfig={plan.kubeconfig_of('controller-manager')}",
        f"--bind-address={plan.loopback}",
        f"--cluster-signing-cert-file={plan.certificate('ca')}",
        f"--cluster-signing-key-file={plan.key('ca')}",
        f"--root-ca-file={plan.certificate('ca')}",
        f"--service-account-private-key-file={plan.key('service-accounts')}",
        "--use-service-account-credentials",
        "--leader-elect=false",
        f"--cert-dir={plan.folder}/controller-manager",
    ]
