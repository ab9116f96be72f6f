"""The certificates of a cluster, all signed by an authority of its own, made by openssl."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.commands import run
from tests.cluster.plan import Plan

DAYS = "3650"


@dataclass(frozen=True, slots=True)
class Certificate:
    """What one says of its owner. Those with addresses are servers' too."""

    name: str
    user: str
    group: str = ""
    addresses: Sequence[str] = ()

    @property
    def subject(self) -> str:
        return (f"/O={self.group}" if self.group else "") + f"/CN={self.user}"

    @property
    def extensions(self) -> str:
        usage = "serverAuth,clientAuth" if self.addresses else "clientAuth"
        lines = ["basicConstraints=CA:FALSE", "keyUsage=digitalSignature", f"extendedKeyUsage={usage}"]
        if self.addresses:
            lines.append("subjectAltName=" + ",".join(f"{'IP' if one[0].isdigit() else 'DNS'}:{one}" for one in self.addresses))
        return "\n".join(lines) + "\n"


def certificates(plan: Plan) -> list[Certificate]:
    """Whom the API server knows, by the names that its built-in roles are bound to, and what servers show."""
    return [
        Certificate("admin", "admin", "system:masters"),
        Certificate("controller-manager", "system:kube-controller-manager"),
        Certificate("scheduler", "system:kube-scheduler"),
        Certificate("proxy", "system:kube-proxy"),
        Certificate("dns", "system:kube-dns", "system:masters"),
        Certificate("kubelet", f"system:node:{plan.name}", "system:nodes", [plan.node, plan.name]),
        Certificate(
            "api-server",
            "kube-apiserver",
            "",
            [plan.host, plan.api_service, "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"],
        ),
        # Signs the tokens of service accounts; nobody shows it.
        Certificate("service-accounts", "service-accounts"),
    ]


def make_certificates(plan: Plan) -> None:
    """Makes those that are missing. A certificate is there when its file is: openssl gets a name beside it that becomes the file's at the end."""
    plan.certificate("ca").parent.mkdir(mode=0o700, exist_ok=True)
    if not plan.certificate("ca").exists():
        _make_key(plan.key("ca"))
        beside = plan.certificate("ca").with_suffix(".new")
        run(["openssl", "req", "-x509", "-new", "-key", plan.key("ca"), "-subj", f"/CN={plan.name}", "-days", DAYS, "-out", beside])
        beside.rename(plan.certificate("ca"))
    for certificate in certificates(plan):
        if not plan.certificate(certificate.name).exists():
            _make(plan, certificate)


def _make(plan: Plan, certificate: Certificate) -> None:
    target = plan.certificate(certificate.name)
    key, request, extensions, beside = plan.key(certificate.name), target.with_suffix(".request"), target.with_suffix(".extensions"), target.with_suffix(".new")
    _make_key(key)
    extensions.write_text(certificate.extensions)
    run(["openssl", "req", "-new", "-key", key, "-subj", certificate.subject, "-out", request])
    authority: list[str | Path] = ["-CA", plan.certificate("ca"), "-CAkey", plan.key("ca"), "-CAcreateserial"]
    run(["openssl", "x509", "-req", "-in", request, *authority, "-days", DAYS, "-extfile", extensions, "-out", beside])
    beside.rename(target)


def _make_key(path: Path) -> None:
    run(["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", path])
