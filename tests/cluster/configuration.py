"""The files that a cluster's programs read, as texts."""

import base64
import json
from collections.abc import Mapping
from typing import Any

from tests.cluster.plan import Plan

PAUSE_IMAGE = "localhost/pause:1"
CLUSTER_DOMAIN = "cluster.local"
CNI_PLUGINS = "/usr/lib/cni"
"""Where Debian has them."""


def containerd_configuration(plan: Plan, *, snapshotter: str) -> str:
    """For containerd 1.6 in the form of version 2 of its configuration, which 1.7 and 2 read too."""
    cri = '[plugins."io.containerd.grpc.v1.cri"'
    return f"""version = 2
root = "{plan.folder}/containerd"
state = "{plan.folder}/containerd-state"
# It writes to a folder outside of the cluster's.
disabled_plugins = ["io.containerd.internal.v1.opt"]

[grpc]
address = "{plan.containerd_socket}"

{cri}]
sandbox_image = "{PAUSE_IMAGE}"
netns_mounts_under_state_dir = true
# Without CAP_SYS_RESOURCE no pod starts otherwise.
restrict_oom_score_adj = true
disable_apparmor = true

{cri}.cni]
bin_dir = "{CNI_PLUGINS}"
conf_dir = "{plan.configuration("cni")}"

{cri}.containerd]
snapshotter = "{snapshotter}"

{cri}.containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

{cri}.containerd.runtimes.runc.options]
SystemdCgroup = false
Root = "{plan.folder}/runc"
"""


def cni_configuration(plan: Plan) -> str:
    """Pods are on a bridge in the node's network. The machine has a route to them, so that nothing is masqueraded."""
    bridge = {
        "type": "bridge",
        "bridge": "pods",
        "isGateway": True,
        "hairpinMode": True,
        "ipam": {
            "type": "host-local",
            "dataDir": f"{plan.folder}/addresses",
            "ranges": [[{"subnet": plan.pods, "gateway": plan.bridge_address}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        },
    }
    return _json({"cniVersion": "0.4.0", "name": "pods", "plugins": [bridge]})


def kubelet_configuration(plan: Plan) -> str:
    return _json(
        {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "address": plan.node,
            "healthzBindAddress": plan.loopback,
            "authentication": {"anonymous": {"enabled": False}, "webhook": {"enabled": True}, "x509": {"clientCAFile": str(plan.certificate("ca"))}},
            "authorization": {"mode": "Webhook"},
            "tlsCertFile": str(plan.certificate("kubelet")),
            "tlsPrivateKeyFile": str(plan.key("kubelet")),
            "containerRuntimeEndpoint": f"unix://{plan.containerd_socket}",
            "podLogsDir": f"{plan.folder}/pods",
            "volumePluginDir": f"{plan.folder}/volume-plugins",
            "resolvConf": "",
            "clusterDNS": [plan.host],
            "clusterDomain": CLUSTER_DOMAIN,
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": f"/{plan.name}",
            "failCgroupV1": False,
            "failSwapOn": False,
            "enforceNodeAllocatable": [],
            "localStorageCapacityIsolation": True,
            # So that a pod is soon evicted that stores more than it may.
            "volumeStatsAggPeriod": "5s",
            # The machine's disk is not the cluster's: neither pods nor images go because others filled it.
            "evictionHard": {"memory.available": "50Mi", "nodefs.available": "0%", "nodefs.inodesFree": "0%", "imagefs.available": "0%"},
            "imageGCHighThresholdPercent": 100,
            "imageGCLowThresholdPercent": 99,
            "kubeAPIQPS": 200,
            "kubeAPIBurst": 400,
            "eventRecordQPS": 0,
        }
    )


def dns_configuration(plan: Plan) -> str:
    """For CoreDNS: names of services and nothing else, since pods reach no other names here."""
    return f"""\
.:53 {{
    bind {plan.host}
    errors
    kubernetes {CLUSTER_DOMAIN} {{
        kubeconfig {plan.kubeconfig_of("dns")}
    }}
}}
"""


def proxy_configuration(plan: Plan) -> str:
    return _json(
        {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "clientConnection": {"kubeconfig": str(plan.kubeconfig_of("proxy"))},
            "bindAddress": plan.node,
            "healthzBindAddress": f"{plan.loopback}:10256",
            "metricsBindAddress": f"{plan.loopback}:10249",
            "hostnameOverride": plan.name,
            "clusterCIDR": plan.pods,
            "mode": "nftables",
            # Or a pod's answer to another one would go over the bridge past the translation of a service's address.
            "nftables": {"masqueradeAll": True},
            # They are the machine's.
            "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
        }
    )


def kubeconfig(plan: Plan, *, authority: bytes, certificate: bytes, key: bytes) -> str:
    """Everything is in the file itself, so that it can be copied to wherever a program runs."""
    return _json(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": plan.name,
            "contexts": [{"name": plan.name, "context": {"cluster": plan.name, "user": plan.name}}],
            "clusters": [{"name": plan.name, "cluster": {"server": plan.server, "certificate-authority-data": _base64(authority)}}],
            "users": [{"name": plan.name, "user": {"client-certificate-data": _base64(certificate), "client-key-data": _base64(key)}}],
        }
    )


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, indent=2) + "\n"


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode()
