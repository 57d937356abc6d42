"""What the published types of Kubernetes and of Kubeflow's training operator say of a manifest."""

import re
from collections.abc import Iterator
from typing import Any

KINDS = {"ConfigMap": "V1ConfigMap", "PersistentVolumeClaim": "V1PersistentVolumeClaim", "Pod": "V1Pod"}
KINDS["PyTorchJob"] = "KubeflowOrgV1PyTorchJob"
PLAIN: dict[str, type] = {"str": str, "int": int, "bool": bool, "object": object}
ITEMS = re.compile(r"list\[(.*)\]")
VALUES = re.compile(r"dict\(str, (.*)\)")


def wrong(value: Any, kind: str, place: str = "") -> Iterator[str]:
    """Yield what is wrong with a value of a kind: unknown keys, missing ones, and others' types.

    A server drops unknown keys in silence, or refuses them.
    """
    if kind in PLAIN:
        if not isinstance(value, PLAIN[kind]) or (kind == "int" and isinstance(value, bool)):
            yield f"{place}: {value!r} is no {kind}"
    elif items := ITEMS.fullmatch(kind):
        for number, item in enumerate(value):
            yield from wrong(item, items[1], f"{place}[{number}]")
    elif values := VALUES.fullmatch(kind):
        for key, item in value.items():
            yield from wrong(item, values[1], f"{place}.{key}")
    else:
        yield from _wrong_object(value, _model(kind), place)


def _wrong_object(value: Any, model: Any, place: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{place}: {value!r} is no {model.__name__}"
        return
    names = {key: name for name, key in model.attribute_map.items()}
    yield from (f"{place}.{key}: is no key of {model.__name__}" for key in sorted(set(value) - set(names)))
    known = {names[key]: item for key, item in value.items() if key in names}
    try:
        model(**known)
    except ValueError as error:
        yield f"{place}: {error}"
    for name, item in known.items():
        yield from wrong(item, model.openapi_types[name], f"{place}.{model.attribute_map[name]}")


def _model(kind: str) -> Any:
    import kubeflow.training.models
    import kubernetes.client.models

    homes = kubernetes.client.models, kubeflow.training.models
    return next(getattr(home, kind) for home in homes if hasattr(home, kind))
