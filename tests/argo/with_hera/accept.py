"""Run by a Python that has hera: tells as JSON what its models leave of the WorkflowTemplates in files."""

import json
import sys

import yaml
from hera.workflows import models

found = []
for path in sys.argv[1:]:
    with open(path) as file:
        template = models.WorkflowTemplate.model_validate(yaml.safe_load(file))
    found.append(json.loads(template.model_dump_json(exclude_none=True, by_alias=True)))
print(json.dumps(found))
