"""Chat templates that published models carry: what jinja2 makes of them, in the environment that
transformers renders them in, for conversations with tools, several turns and odd contents.

HALFTONE_LLAMA_CPP names the source of llama.cpp, which collects such templates (models/templates);
without it the test is skipped. The program that says what halftone makes is text_answers.
"""

import json
import os
import pathlib
import sys
import unittest

from tokenizers_test import Answers

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "src" / "tokenizer" / "testdata"))

from chat_templates_conversations import CONVERSATIONS, NOTHING, WEATHER, user  # noqa: E402
from chat_templates_golden import outcome  # noqa: E402

ODD = ["", " ", "\n\n x \n", "{{ 7 * 7 }} {% if %} {# #}", "<|im_end|></s><|eot_id|>", "a\\nb\t'\"",
       "\u00e9\u4e2d\U0001f680 e\u0301 \u202e", "<think>\nhm\n</think>\n\nyes", "&<>'\"", "x" * 3000]


def call(arguments):
    return {"id": "call00001", "type": "function",
            "function": {"name": "get_weather", "arguments": arguments}}


def conversations():
    yield from CONVERSATIONS.items()
    base = {"bos_token": "<s>", "eos_token": "</s>", "add_generation_prompt": True}
    for i, text in enumerate(ODD):
        yield f"odd user {i}", base | {"messages": [user(text)]}
        yield f"odd all {i}", base | {"messages": [
            {"role": "system", "content": text}, user(text), {"role": "assistant", "content": text},
            user(text)]}
        yield f"odd tool {i}", base | {"tools": [WEATHER, NOTHING], "messages": [
            user("weather?"),
            {"role": "assistant", "content": text, "tool_calls": [call({"city": text, "n": [i, None]})]},
            {"role": "tool", "name": "get_weather", "tool_call_id": "call00001", "content": text},
            {"role": "assistant", "content": "done"}, user("again")]}
    many = [m for i in range(12) for m in (user(f"q{i}"), {"role": "assistant", "content": f"a{i}"})]
    yield "many turns", base | {"messages": many}
    yield "no prompt", base | {"messages": many, "add_generation_prompt": False}
    for key, value in [("enable_thinking", False), ("enable_thinking", True), ("thinking", True),
                       ("reasoning_effort", "high"), ("continue_final_message", True),
                       ("date_string", "26 Nov 2026"), ("documents", [{"title": "t", "text": "x"}])]:
        yield f"{key} {value}", base | {key: value, "tools": [WEATHER], "messages": [
            {"role": "system", "content": "Be brief."}, user("Hi"),
            {"role": "assistant", "content": "Yes", "reasoning_content": "hm"}, user("So?")]}


def agree(expected, answer):
    """jinja2's text, or a failure of both."""
    if isinstance(expected, str):
        return answer.get("text") == expected
    if isinstance(expected, dict) and "refusal" in expected:
        return expected["refusal"].split("\n")[0][:40] in answer.get("error", "")
    return "error" in answer


class ChatTemplatesTest(unittest.TestCase):
    def test_published_templates(self):
        source = os.environ.get("HALFTONE_LLAMA_CPP")
        if source is None:
            self.skipTest("needs HALFTONE_LLAMA_CPP, the source of llama.cpp")
        paths = sorted(pathlib.Path(source, "models", "templates").glob("*.jinja"))
        self.assertGreaterEqual(len(paths), 20)
        rendered = refused = unlike = 0
        with Answers(None) as answers:
            for path in paths:
                template = path.read_text()
                for name, context in conversations():
                    expected = outcome(template, context)
                    context = json.loads(json.dumps(context))
                    answer = answers.ask(template=template, context=context)
                    rendered += isinstance(expected, str)
                    refused += not isinstance(expected, str)
                    if not agree(expected, answer):
                        unlike += 1
                        print(f"  {path.name}, {name}:\n    peer {str(expected)[-300:]!r}\n"
                              f"    here {str(answer)[-300:]!r}")
        print(f"  {len(paths)} templates: {rendered} texts and {refused} refusals, "
              f"{unlike} differences", flush=True)
        self.assertEqual(unlike, 0)


if __name__ == "__main__":
    unittest.main(verbosity=1)
