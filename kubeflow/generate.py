"""Writes the components and the examples' pipelines below this folder anew: `python kubeflow/generate.py`; with `--check` it only says what would change."""

import sys
from pathlib import Path

from pachyderm_dagster.errors import InvalidError
from pachyderm_dagster.exported.graph import read_outside
from pachyderm_dagster.kubeflow.components import COMPONENT_NAMES, component_yaml
from pachyderm_dagster.kubeflow.export import export_pipelines
from pachyderm_dagster.kubeflow.options import Options, Transport
from pachyderm_dagster.pps.spec_reading import parse_specs

HERE = Path(__file__).resolve().parent
DEFINITIONS = HERE.parent / "definitions"


def files() -> dict[str, str]:
    """What is to be here, by path; what of the examples cannot be expressed is told."""
    found = {f"components/{name}.yaml": component_yaml(name) for name in COMPONENT_NAMES}
    for source in sorted([*DEFINITIONS.glob("*/pipelines.yaml"), *DEFINITIONS.glob("*/pipeline.json")]):
        name = source.parent.name
        specs = parse_specs(source.read_text(), source=str(source.relative_to(HERE.parent)), notes=[])
        try:
            found[f"pipelines/{name}.yaml"] = export_pipelines(specs, Options(name=name)).to_yaml()
        except InvalidError as error:
            print(f"note: {name} is left out: {error.message}", file=sys.stderr)
    edges = DEFINITIONS / "edges/pipelines.yaml"
    specs = parse_specs(edges.read_text(), source=str(edges.relative_to(HERE.parent)), notes=[])
    images = dict.fromkeys(read_outside(specs), "0" * 32)
    imported = Options(name="edges-imported", commits=images, transport=Transport.IMPORTER, artifact_root="s3://bucket/artifacts")
    found["pipelines/edges-imported.yaml"] = export_pipelines(specs, imported).to_yaml()
    found["pipelines/edges-on-volume.yaml"] = export_pipelines(specs, Options(name="edges-on-volume", transport=Transport.VOLUME)).to_yaml()
    return found


def main(*, check: bool) -> int:
    """Writes the files, or says which would change; the exit status."""
    wanted = files()
    there = {str(path.relative_to(HERE)): path.read_text() for folder in ("components", "pipelines") for path in (HERE / folder).glob("*.yaml")}
    changed = sorted(name for name in wanted.keys() | there.keys() if wanted.get(name) != there.get(name))
    for name in changed:
        print(name)
        if not check:
            path = HERE / name
            path.unlink(missing_ok=True)
            if name in wanted:
                path.parent.mkdir(exist_ok=True)
                path.write_text(wanted[name])
    return int(check and bool(changed))


if __name__ == "__main__":
    sys.exit(main(check="--check" in sys.argv[1:]))
