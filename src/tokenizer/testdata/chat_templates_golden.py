#!/usr/bin/env python3
"""Writes what jinja2 makes of templates and of single constructs, for chat_template_test.cc.

  pip install jinja2==3.1.6
  chat_templates_golden.py   (rewrites the three JSON files beside it)

The environment is the one that transformers renders chat templates in (its apply_chat_template):
immutable sandbox, trim_blocks, lstrip_blocks, break and continue, {% generation %}, tojson without
HTML escapes. The templates in chat_templates/ were written for these tests, with the constructs and
habits of those that published models carry.
"""
import copy
import datetime
import json
import pathlib
import unicodedata

import jinja2
import jinja2.ext
from jinja2.sandbox import ImmutableSandboxedEnvironment

from chat_templates_cases import (EXPRESSIONS, FILTERED, METHODS, OPERANDS, OPERATORS, STATEMENTS,
                                  TESTED)
from chat_templates_conversations import CONTEXT, CONVERSATIONS

HERE = pathlib.Path(__file__).parent


class Refusal(jinja2.TemplateError):
    pass


class Generation(jinja2.ext.Extension):
    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        call = self.call_method("render")
        return jinja2.nodes.CallBlock(call, [], [], body).set_lineno(line)

    def render(self, caller):
        return caller()


def refuse(message):
    raise Refusal(message)


def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators,
                      sort_keys=sort_keys)


ENVIRONMENT = ImmutableSandboxedEnvironment(
    trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols])
ENVIRONMENT.filters["tojson"] = tojson
ENVIRONMENT.globals["raise_exception"] = refuse
ENVIRONMENT.globals["strftime_now"] = lambda form: datetime.datetime.now().strftime(form)


def outcome(source, context):
    """The text, or {"refusal": the template's own message}, {"line": of a syntax error}, or None
    for any other error."""
    try:
        return ENVIRONMENT.from_string(source).render(**copy.deepcopy(context))
    except Refusal as e:
        return {"refusal": str(e)}
    except jinja2.TemplateSyntaxError as e:
        return {"line": e.lineno}
    except Exception:
        return None


def product(table, join):
    for subjects, suffixes in table.items():
        for suffix in suffixes:
            for subject in subjects.split():
                yield "{{ " + subject + join + suffix + " }}"


def constructs():
    yield from product(FILTERED, "|")
    yield from product(TESTED, " is ")
    yield from product(METHODS, ".")
    for op in OPERATORS:
        for left in OPERANDS:
            for right in OPERANDS:
                yield "{{ " + f"{left} {op} {right}" + " }}"
    for expression in EXPRESSIONS:
        yield "{{ " + expression + " }}"
    yield from STATEMENTS


CHANGES = {"upper": str.upper, "lower": str.lower, "capitalize": str.capitalize,
           "title": str.title, "swapcase": str.swapcase, "repr": repr}
QUESTIONS = ["isupper", "islower", "isalpha", "isalnum", "isdecimal", "isdigit", "isnumeric",
             "isprintable", "isspace", "isidentifier"]


def fnv(data):
    h = 0xCBF29CE484222325
    for byte in data:
        h = (h ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return f"{h:016x}"


def characters():
    """Hashes of what str's methods answer for the first characters and every 37th of the others,
    among those that Python's version of Unicode knows."""
    known = [c for c in range(0x110000) if unicodedata.category(chr(c)) not in ("Cn", "Cs")]
    codes = [c for c in known if c < 0x700 or c % 37 == 0]
    hashes = {}
    for name, change in CHANGES.items():
        hashes[name] = fnv("".join(change("x" + chr(c) + "Y") + change(chr(c))
                                   for c in codes).encode())
    for name in QUESTIONS:
        hashes[name] = fnv("".join(str(int(getattr(chr(c), name)())) for c in codes).encode())
    ranges = []
    for c in known:
        if ranges and ranges[-1][1] == c - 1:
            ranges[-1][1] = c
        else:
            ranges.append([c, c])
    return {"unicode": unicodedata.unidata_version, "known": ranges, "hashes": hashes}


def write(name, value):
    text = json.dumps(value, ensure_ascii=False, indent=0, separators=(",", ":"))
    (HERE / name).write_text(text + "\n", encoding="utf-8")


def main():
    rendered = {}
    for path in sorted((HERE / "chat_templates").glob("*.jinja")):
        source = path.read_text(encoding="utf-8")
        rendered[path.stem] = {name: outcome(source, context)
                               for name, context in CONVERSATIONS.items()}
    write("chat_templates_rendered.json", {"conversations": CONVERSATIONS, "rendered": rendered})
    cases = {}
    for source in constructs():
        cases.setdefault(source, outcome(source, CONTEXT))
    # Nobody should depend on addresses.
    cases = {s: o for s, o in cases.items() if not (isinstance(o, str) and " at 0x" in o)}
    write("chat_templates_constructs.json", {"context": CONTEXT, "cases": list(cases.items())})
    write("chat_templates_characters.json", characters())


if __name__ == "__main__":
    main()
