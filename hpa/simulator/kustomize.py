# SPDX-License-Identifier: Apache-2.0
"""What a simulation needs of `kubectl kustomize`, for machines that have none: resources, components, patches.

Names get no hash, labels are not spread, replacements are not made: nothing
that scaling reads depends on them. A test holds the two against each other.
"""

import copy
import pathlib

import yaml

from simulator.settings import SettingsError


def build(folder, components=()):
    """The documents that the kustomization in this folder stands for, with components (folders) on top."""
    documents = _build(pathlib.Path(folder), [])
    for component in components:
        documents = _build(pathlib.Path(component), documents)
    return documents


def _build(folder, above):
    """above: what a component is applied to."""
    rules = (load(folder / "kustomization.yaml") or [{}])[0]
    documents = list(above)
    for name in rules.get("resources", ()):
        target = folder / name
        documents += _build(target, []) if target.is_dir() else load(target)
    documents += [_config_map(folder, item) for item in rules.get("configMapGenerator", ())]
    for name in rules.get("components", ()):
        documents = _build(folder / name, documents)
    for patch in rules.get("patches", ()):
        documents = _patched(documents, patch, folder)
    return documents


def load(path):
    """The documents of one file."""
    try:
        with open(path, encoding="utf-8") as file:
            return [document for document in yaml.safe_load_all(file) if document]
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SettingsError(f"{path}: {error}") from error


def _config_map(folder, item):
    data = dict(pair.split("=", 1) for pair in item.get("literals", ()))
    for name in item.get("envs", ()):
        lines = (folder / name).read_text(encoding="utf-8").splitlines()
        data.update(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))
    for name in item.get("files", ()):
        key, _, path = name.rpartition("=")
        data[key or pathlib.Path(path).name] = (folder / path).read_text(encoding="utf-8")
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": item["name"]}, "data": data}


# ---- patches ---------------------------------------------------------------

def _patched(documents, patch, folder):
    text = patch.get("patch") or (folder / patch["path"]).read_text(encoding="utf-8")
    for change in yaml.safe_load_all(text):
        is_list = isinstance(change, list)  # of JSON patch operations; otherwise a document to be laid over
        target = patch.get("target") or {"kind": change["kind"], "name": change["metadata"]["name"]}
        result = []
        for document in documents:
            if not _is_meant(document, target):
                result.append(document)
            elif is_list:
                result.append(_operated(document, change))
            elif change.get("$patch") != "delete":
                kept = document["metadata"]["name"]
                document = merged(document, change)
                document["metadata"]["name"] = kept
                result.append(document)
        documents = result
    return documents


def _is_meant(document, target):
    metadata = document.get("metadata", {})
    labels = metadata.get("labels", {})
    wanted = dict(pair.split("=", 1) for pair in target.get("labelSelector", "").split(",") if pair)
    return (target.get("kind") in (None, document.get("kind")) and target.get("name") in (None, metadata.get("name"))
            and all(labels.get(key) == value for key, value in wanted.items()))


KEYS = ("name", "mountPath", "containerPort", "key")  # by which items of a list are the same, the first that all have


def merged(old, new):
    """A strategic merge: new laid over old."""
    if isinstance(old, dict) and isinstance(new, dict):
        result = dict(old)
        for key, value in new.items():
            if value is None:
                result.pop(key, None)
            elif key != "$patch":
                result[key] = merged(result[key], value) if key in result else copy.deepcopy(value)
        return result
    if isinstance(old, list) and isinstance(new, list) and all(isinstance(item, dict) for item in old + new):
        key = next((key for key in KEYS if all(key in item for item in old + new)), None)
        if key:
            return _merged_lists(old, new, key)
    return copy.deepcopy(new)


def _merged_lists(old, new, key):
    changes = {item[key]: item for item in new}
    result = [merged(item, changes.pop(item[key])) if item[key] in changes else item for item in old
              if changes.get(item[key], {}).get("$patch") != "delete"]
    return [item for item in changes.values() if item.get("$patch") != "delete"] + result


def _operated(document, operations):
    document = copy.deepcopy(document)
    for operation in operations:
        *path, last = [part.replace("~1", "/").replace("~0", "~") for part in operation["path"].split("/")[1:]]
        at = document
        for part in path:
            at = at[int(part) if isinstance(at, list) else part]
        if operation["op"] == "remove":
            del at[int(last) if isinstance(at, list) else last]
        elif isinstance(at, list):
            if operation["op"] == "add":
                at.insert(len(at) if last == "-" else int(last), operation["value"])
            else:
                at[int(last)] = operation["value"]
        else:
            at[last] = operation["value"]
    return document
