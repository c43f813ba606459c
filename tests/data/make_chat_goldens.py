#!/usr/bin/env python3
"""Makes tests/formats/data/chat_templates.json: published chat templates, and what Jinja makes of them.

    pip install jinja2==3.1.6
    python3 tests/data/make_chat_goldens.py [LLAMA_CPP UNSLOTH]

Without arguments the templates that the file has are rendered again. LLAMA_CPP: a checkout of llama.cpp (its models/templates/*.jinja and tests/test-chat-template.cpp hold
templates of many publishers); UNSLOTH: unsloth/chat_templates.py (Apache 2.0). Templates are rendered as
Transformers does (utils/chat_template_utils.py: trim_blocks, lstrip_blocks, add_generation_prompt), on a
fixed day; those that ask whether they can tell the day are told that they cannot.
"""
import ast
import datetime
import json
import pathlib
import re
import sys

import jinja2
import jinja2.ext
from jinja2.sandbox import ImmutableSandboxedEnvironment

OUT = pathlib.Path(__file__).resolve().parents[1] / "formats" / "data" / "chat_templates.json"
MOST = 5200  # of a template's characters; longer ones only by name
LONG = {"openai-gpt-oss-120b", "google-gemma-4-31B-it-interleaved", "Qwen3.5-4B", "Qwen3-Coder",
        "Mistral-Small-3.2-24B-Instruct-2506"}
# As in their repositories on the Hub.
ALTERNATE = ("{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Conversation "
             "roles must alternate user/assistant/user/assistant/...') }}{% endif %}")
MORE = {
    "meta-llama/Llama-2-7b-chat-hf":
        "{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}{% set system_message = "
        "messages[0]['content'] %}{% else %}{% set loop_messages = messages %}{% set system_message = false %}"
        "{% endif %}{% for message in loop_messages %}" + ALTERNATE + "{% if loop.index0 == 0 and "
        "system_message != false %}{% set content = '<<SYS>>\\n' + system_message + '\\n<</SYS>>\\n\\n' + "
        "message['content'] %}{% else %}{% set content = message['content'] %}{% endif %}{% if message['role'] "
        "== 'user' %}{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}{% elif message['role'] == "
        "'assistant' %}{{ ' '  + content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}",
    "mistralai/Mixtral-8x7B-Instruct-v0.1":
        "{{ bos_token }}{% for message in messages %}" + ALTERNATE + "{% if message['role'] == 'user' %}{{ "
        "'[INST] ' + message['content'] + ' [/INST]' }}{% elif message['role'] == 'assistant' %}{{ "
        "message['content'] + eos_token}}{% else %}{{ raise_exception('Only user and assistant roles are "
        "supported!') }}{% endif %}{% endfor %}",
}
DAY = datetime.date(2025, 8, 1)
CASES = [
    (None, " Hi there \n"), (" Be kind. ", " Hi there \n"), ("Be kind.", "What is\n2 + 2?"),
    (None, "你好 <b>{{ 1 }}</b>"),
]
# What was said before: (system, earlier turns, user).
TALKS = [
    (None, [(" Hi \n", " Hello. \n")], " And now? "),
    (" Be kind. ", [("One", "1"), (" Two ", " 2 ")], "Three"),
]


def environment(template):
    def raise_exception(message):
        raise jinja2.exceptions.TemplateError(message)

    def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators,
                          sort_keys=sort_keys)

    e = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True,
                                      extensions=[jinja2.ext.loopcontrols])
    e.filters["tojson"] = tojson
    e.globals["raise_exception"] = raise_exception
    if "strftime_now is defined" not in template:
        e.globals["strftime_now"] = DAY.strftime
    return e


def render(template, system, user, earlier=()):
    messages = [{"role": "system", "content": system}] if system is not None else []
    for said, answer in earlier:
        messages += [{"role": "user", "content": said}, {"role": "assistant", "content": answer}]
    messages.append({"role": "user", "content": user})
    try:
        return environment(template).from_string(template).render(
            messages=messages, bos_token="<BOS>", eos_token="<EOS>", add_generation_prompt=True)
    except Exception:  # the template refuses, or is not Jinja's
        return None


def of_folder(folder):
    for path in sorted((folder / "models" / "templates").glob("*.jinja")):
        yield path.stem, path.read_text(encoding="utf-8")


def of_test(folder):
    source = (folder / "tests" / "test-chat-template.cpp").read_text(encoding="utf-8")
    literal = r'"((?:[^"\\]|\\.)*)"'
    entry = re.compile(r'/\* \.name= \*/ ' + literal +
                       r',\s*/\* \.template_str= \*/ (?:u8|U8C\()?((?:"(?:[^"\\]|\\.)*"\s*)+)')
    escapes = {"n": "\n", "t": "\t", '"': '"', "\\": "\\"}
    for name, text in entry.findall(source):
        text = "".join(re.findall(literal, text))
        yield "test: " + name, re.sub(r"\\(.)", lambda m: escapes.get(m.group(1), m.group(0)), text)


def of_unsloth(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            name = node.targets[0].id
            try:
                text = ast.literal_eval(node.value)
            except ValueError:
                continue
            if name.endswith("_template") and isinstance(text, str) and "messages" in text:
                yield "unsloth: " + name, text


def published():
    if len(sys.argv) == 1:
        for entry in json.loads(OUT.read_text(encoding="utf-8")):
            yield entry["name"], entry["template"]
        return
    llama_cpp, unsloth = map(pathlib.Path, sys.argv[1:])
    for source in MORE.items(), of_folder(llama_cpp), of_test(llama_cpp), of_unsloth(unsloth):
        for name, template in source:
            if len(template) > MOST and name not in LONG:
                continue
            if "{system_message}" not in template:  # else a template for templates
                yield name, template


def main():
    seen, out = set(), []
    for name, template in published():
        if template in seen:
            continue
        seen.add(template)
        cases = [{"system": s, "user": u, "text": render(template, s, u)} for s, u in CASES]
        cases += [{"system": s, "earlier": e, "user": u, "text": render(template, s, u, e)}
                  for s, e, u in TALKS]
        if any(c["text"] for c in cases):
            out.append({"name": name, "template": template, "cases": cases})
    OUT.write_text(json.dumps(out, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    print(f"{len(out)} templates, {OUT.stat().st_size} bytes")


main()
