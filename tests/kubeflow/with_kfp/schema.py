"""Reads documents as the API's published schema has them: `python schema.py FILE`, whose JSON is a list of a model's name and a document of it.

What the schema does not know, or has of another type, is printed, and fails. The states that a run may have are printed as JSON. The schema is that of
kfp-server-api, which is made from the API's Swagger file.
"""

import datetime
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kfp_server_api import models

PLAIN = {"str": str, "int": int, "float": (int, float), "bool": bool, "object": dict}


def problems(kind: str, found: Any, path: str) -> Iterator[str]:
    """What is wrong with a value of a type of the schema."""
    many = re.fullmatch(r"list\[(.*)\]", kind)
    by_name = re.fullmatch(r"dict\(str, (.*)\)", kind)
    if many or by_name:
        pairs = enumerate(found) if many else found.items()
        inner = (many or by_name).group(1)  # type: ignore[union-attr]
        yield from (one for at, value in pairs for one in problems(inner, value, f"{path}/{at}"))
    elif kind == "datetime":
        datetime.datetime.fromisoformat(found)
    elif kind in PLAIN:
        # A parameter's value may be of any type.
        if not (isinstance(found, PLAIN[kind]) or (kind == "object" and "/parameters/" in path)):  # type: ignore[arg-type]
            yield f"{path}: {found!r} is no {kind}"
    else:
        model = getattr(models, kind)
        known = {model.attribute_map[name]: type for name, type in model.openapi_types.items()}
        if hasattr(model, "allowable_values"):
            if found not in model.allowable_values:
                yield f"{path}: {found!r} is none of {model.allowable_values}"
            return
        for name, value in found.items():
            if name in known:
                yield from problems(known[name], value, f"{path}/{name}")
            else:
                yield f"{path}/{name} is not in {kind}"


if __name__ == "__main__":
    wrong = [one for kind, document in json.loads(Path(sys.argv[1]).read_text()) for one in problems(kind, document, kind)]
    print("states", json.dumps(models.V2beta1RuntimeState.allowable_values))
    print("\n".join(wrong))
    sys.exit(bool(wrong))
