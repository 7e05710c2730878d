# SPDX-License-Identifier: Apache-2.0
"""A small reading of Alloy's language, and of those stages and rules that the configurations here use: enough to see what
becomes of a line. What a stage does is what its documentation says; Alloy itself is asked where it is there."""
import json
import re

TOKEN = re.compile(r'\s*(?://[^\n]*\s*)*(?:(?P<text>"(?:\\.|[^"\\])*")|(?P<word>[A-Za-z_][\w.]*|\d+)|(?P<sign>[{}\[\]()=+,]))')


class Block:
    """NAME "LABEL" { attribute = value, and blocks inside }"""

    def __init__(self, name, label):
        self.name, self.label, self.values, self.blocks = name, label, {}, []

    def all(self, name):
        return [block for block in self.blocks if block.name == name]


class Name(str):
    """A reference, or a call with its arguments, as it is written."""


def tokens(text):
    at = 0
    while text[at:].strip() and not re.fullmatch(r"\s*(//[^\n]*\s*)*", text[at:]):
        found = TOKEN.match(text, at)
        assert found, f"not Alloy's language: {text[at:at + 40]!r}"
        at = found.end()
        if found["text"]:
            yield json.loads(found["text"])
        else:
            yield Name(found["word"] or found["sign"])


def is_sign(token, sign):
    return isinstance(token, Name) and token == sign


class Reader:
    def __init__(self, text):
        self._tokens, self._at = list(tokens(text)), 0

    def _next(self):
        self._at += 1
        return self._tokens[self._at - 1]

    def _sees(self, sign):
        return self._at < len(self._tokens) and is_sign(self._tokens[self._at], sign)

    def body(self, block):
        while self._at < len(self._tokens) and not self._sees("}"):
            name = self._next()
            assert isinstance(name, Name), name
            if self._sees("="):
                self._next()
                assert name not in block.values, f"{name} twice"
                block.values[name] = self._expression()
                continue
            label = None if self._sees("{") else self._next()
            assert is_sign(self._next(), "{"), name
            inner = Block(name, label)
            self.body(inner)
            assert is_sign(self._next(), "}"), name
            block.blocks.append(inner)
        return block

    def _expression(self):
        value = self._value()
        while self._sees("+"):
            self._next()
            value = Name(f"{value}{self._value()}")
        return value

    def _value(self):
        token = self._next()
        if is_sign(token, "["):
            return self._list("]")
        if is_sign(token, "{"):
            return self._object()
        if isinstance(token, Name) and self._sees("("):
            self._next()
            return Name(f"{token}({','.join(self._list(')'))})")
        return token

    def _list(self, end):
        values = []
        while not self._sees(end):
            values.append(self._expression())
            if self._sees(","):
                self._next()
        self._next()
        return values

    def _object(self):
        values = {}
        while not self._sees("}"):
            key = self._next()
            assert is_sign(self._next(), "=")
            values[str(key)] = self._expression()
            if self._sees(","):
                self._next()
        self._next()
        return values


def read(text):
    """The whole file as a Block."""
    reader = Reader(text)
    return reader.body(Block("file", None))


def relabel(rules, labels):
    """What Prometheus' rules with the action `replace` make of the labels of a target."""
    labels = dict(labels)
    for rule in rules:
        values = rule.values
        assert values.get("action", "replace") == "replace"
        source = values.get("separator", ";").join(labels.get(name, "") for name in values["source_labels"])
        found = re.fullmatch(values.get("regex", "(.*)"), source)
        if found:
            made = re.sub(r"\$(\d)", r"\\\1", values.get("replacement", "$1"))
            labels[values["target_label"]] = found.expand(made)
    return {name: value for name, value in labels.items() if value}


class Entry:
    def __init__(self, line, labels):
        self.line, self.labels, self.extracted, self.metadata, self.time = line, dict(labels), {}, {}, None


def run(stages, entry):
    for stage in stages:
        STAGES[stage.name](stage, entry)
    return entry


def _cri(stage, entry):
    entry.time, _, flags, entry.line = entry.line.split(" ", 3)
    assert flags == "F"


def _match(stage, entry):
    name, pattern = re.fullmatch(r'\{(\w+)=~"(.*)"\}', stage.values["selector"]).groups()
    if re.fullmatch(pattern, entry.labels.get(name, "")):
        run(stage.blocks, entry)


def _json(stage, entry):
    try:
        fields = json.loads(entry.line)
    except ValueError:
        return
    for name, path in stage.values["expressions"].items():
        if fields.get(path or name) is not None:
            entry.extracted[name] = str(fields[path or name])


def _labels(stage, entry):
    for name, source in stage.values["values"].items():
        if (source or name) in entry.extracted:
            entry.labels[name] = entry.extracted[source or name]


def _metadata(stage, entry):
    for name, source in stage.values["values"].items():
        source = source or name
        if source in entry.extracted:
            entry.metadata[name] = entry.extracted[source]
        elif source in entry.labels:
            entry.metadata[name] = entry.labels.pop(source)


def _static(stage, entry):
    entry.labels.update(stage.values["values"])


def _keep(stage, entry):
    entry.labels = {name: value for name, value in entry.labels.items() if name in stage.values["values"]}


STAGES = {"stage.cri": _cri, "stage.match": _match, "stage.json": _json, "stage.labels": _labels,
          "stage.structured_metadata": _metadata, "stage.static_labels": _static, "stage.label_keep": _keep}
