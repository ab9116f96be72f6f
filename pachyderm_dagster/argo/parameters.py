"""What is handed between templates: parameters and artifacts, as arguments, inputs and outputs."""

from typing import Annotated, Any, TypeAlias

import msgspec

Text: TypeAlias = Annotated[str, "any scalar"]
"""A scalar of any kind, which becomes a string."""
Texts: TypeAlias = Annotated[tuple[str, ...], "any scalars"]
Plain: TypeAlias = Annotated[dict[str, Any], "plain"]
"""An object that is handed on as it is."""


class KeyRef(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A value under a key of a ConfigMap or Secret."""

    name: str
    """The name of the ConfigMap or Secret, which stands in one of the files that are submitted."""
    key: str
    """Whose value it is."""
    optional: bool = False
    """Without it, or its key, nothing is wrong."""


class ValueFrom(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Where the value of a parameter comes from."""

    path: str = ""
    """A file of the main container; one line end at its end is removed."""
    parameter: str = ""
    """In outputs of `steps` and `dag`: a tag, as `{{steps.a.outputs.parameters.b}}`."""
    expression: str = ""
    """In outputs of `steps` and `dag`: an expression."""
    json_path: str = ""
    """In outputs of `resource`: what is there in the object: `{.status.phase}`."""
    jq_filter: str = ""
    """In outputs of `resource`: what the program `jq` makes of the object."""
    supplied: Plain | None = None
    """In outputs of `suspend`: whoever resumes gives it."""
    config_map_key_ref: KeyRef | None = None
    """In arguments and inputs: a key of a ConfigMap."""
    default: Text | None = None
    """The value when there is no file, when the step was skipped, when nobody gave one."""


class Parameter(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A named string."""

    name: str
    """Its name, which no other parameter beside it has."""
    value: Text | None = None
    """The string; numbers and booleans become one."""
    default: Text | None = None
    """In inputs: the value when no argument is given."""
    enum: Texts = ()
    """The values that it may have; any without it."""
    value_from: ValueFrom | None = None
    """Where the value comes from."""
    global_name: str = ""
    """In outputs: it is `workflow.outputs.parameters.NAME` too."""
    description: str = ""
    """For people."""


class RawArtifact(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An artifact that stands in the workflow."""

    data: str
    """Its content."""


class KeyArtifact(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A place in a bucket or, without one, in the store of the workflow."""

    key: str
    """The path of it there; in inputs also the beginning of the paths of several files."""
    bucket: str = ""
    """The bucket; it needs `--network`."""
    endpoint: str = ""
    """The host of the service, with its port; that of Amazon without it."""
    region: str = ""
    """The region of the bucket."""
    insecure: bool = False
    """The service is asked without TLS."""
    access_key_secret: KeyRef | None = None
    """A key of a Secret; the variables of the environment count without it."""
    secret_key_secret: KeyRef | None = None
    """A key of a Secret; the variables of the environment count without it."""


class HttpArtifactHeader(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A header of the request for a file."""

    name: str
    """Its name."""
    value: Text
    """Its value."""


class BasicAuth(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A name and a password."""

    username_secret: KeyRef | None = None
    """A key of a Secret."""
    password_secret: KeyRef | None = None
    """A key of a Secret."""


class ClientCertAuth(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A certificate that says who asks."""

    client_cert_secret: KeyRef
    """A key of a Secret, whose value is PEM."""
    client_key_secret: KeyRef
    """The same of the key of the certificate."""


class EndpointParam(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A parameter of a request for a token."""

    key: str
    """Its name."""
    value: Text = ""
    """Its value."""


class OAuth2Auth(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A token that a server gives for the credentials of a client."""

    client_id_secret: KeyRef = msgspec.field(name="clientIDSecret")
    """A key of a Secret."""
    client_secret_secret: KeyRef
    """A key of a Secret."""
    token_url_secret: KeyRef = msgspec.field(name="tokenURLSecret")
    """A key of a Secret: the address that gives tokens."""
    scopes: tuple[str, ...] = ()
    """What the token is to be good for."""
    endpoint_params: tuple[EndpointParam, ...] = ()
    """More of the request."""


class HttpAuth(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Who asks a web server."""

    basic_auth: BasicAuth | None = None
    """By a name and a password."""
    client_cert: ClientCertAuth | None = None
    """By a certificate."""
    oauth2: OAuth2Auth | None = None
    """By a token."""


class HttpArtifact(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A file that a web server gives, or takes (PUT); it needs `--network`."""

    url: str
    """Its address."""
    headers: tuple[HttpArtifactHeader, ...] = ()
    """Headers of the request."""
    auth: HttpAuth | None = None
    """Who asks."""


class GitArtifact(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """The files of a commit of Git; it needs `--network`, and the program `git`."""

    repo: str
    """The address of the repository."""
    revision: str = ""
    """The commit, branch or tag; the head of the default branch without it."""
    branch: str = ""
    """The branch that is fetched."""
    single_branch: bool = False
    """No other branch is fetched."""
    depth: int | None = None
    """So many commits are fetched."""
    disable_submodules: bool = False
    """Submodules are left out."""
    username_secret: KeyRef | None = None
    """A key of a Secret."""
    password_secret: KeyRef | None = None
    """A key of a Secret."""
    ssh_private_key_secret: KeyRef | None = None
    """A key of a Secret, with which the program `ssh` reaches the repository; the host is to be in `known_hosts` of whoever runs the workflow."""
    insecure_ignore_host_key: bool = False
    """Any host is taken."""
    insecure_skip_tls: bool = msgspec.field(name="insecureSkipTLS", default=False)
    """The certificate of the server is not looked at."""
    fetch: tuple[str, ...] = ()
    """What else is fetched, before `revision` is looked for: `refs/meta/*`."""


class Location(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Where an artifact is that is not in the store of a workflow."""

    s3: KeyArtifact | None = None
    http: HttpArtifact | None = None
    git: GitArtifact | None = None

    def __bool__(self) -> bool:
        return bool(self.s3 or self.http or self.git)


class Tar(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A compressed tar archive."""

    compression_level: int | None = None
    """The level of gzip, 0 to 9."""


class Archive(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """How an output artifact is kept: as it is, or in an archive; a compressed tar archive unless this says otherwise."""

    none: Plain | None = None
    """As it is."""
    tar: Tar | None = None
    """As a compressed tar archive."""
    zip: Plain | None = None
    """As a zip archive."""


class Artifact(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A file or folder."""

    name: str
    """Its name, which no other artifact beside it has."""
    path: str = ""
    """Where it is in the container, absolute."""
    source: str = msgspec.field(name="from", default="")
    """A tag, as `{{steps.a.outputs.artifacts.b}}`."""
    from_expression: str = ""
    """An expression that is an artifact."""
    raw: RawArtifact | None = None
    """It stands in the workflow."""
    s3: KeyArtifact | None = None
    """Its key in a bucket or, when it says none, in the store of the workflow."""
    http: HttpArtifact | None = None
    """A file of a web server."""
    git: GitArtifact | None = None
    """In inputs: the files of a commit of Git."""
    sub_path: str = ""
    """Of the artifact that `from` names only this file or folder."""
    archive: Archive | None = None
    """In outputs: how it is kept."""
    mode: int | None = None
    """In inputs: permission bits that it gets, as a number (`0644` is one)."""
    recurse_mode: bool = False
    """All that is in the folder gets `mode`."""
    optional: bool = False
    """It may be missing."""
    global_name: str = ""
    """In outputs: it is `workflow.outputs.artifacts.NAME` too."""

    @property
    def has_source(self) -> bool:
        """Whether it says where it comes from."""
        return bool(self.raw or self.s3 or self.http or self.git or self.source or self.from_expression)

    @property
    def location(self) -> Location | None:
        """Where it is, when that is not the store of a workflow."""
        found = Location(s3=self.s3 if self.s3 and self.s3.bucket else None, http=self.http, git=self.git)
        return found or None


class Arguments(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """What a template gets, by the names of its inputs."""

    parameters: tuple[Parameter, ...] = ()
    """Strings."""
    artifacts: tuple[Artifact, ...] = ()
    """Files and folders."""


class Inputs(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """What a template takes."""

    parameters: tuple[Parameter, ...] = ()
    """Strings. One without `value`, `default` and `valueFrom` must be given."""
    artifacts: tuple[Artifact, ...] = ()
    """Files and folders, which are there before the container starts."""


class Outputs(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """What a template gives."""

    parameters: tuple[Parameter, ...] = ()
    """Strings."""
    artifacts: tuple[Artifact, ...] = ()
    """Files and folders."""
