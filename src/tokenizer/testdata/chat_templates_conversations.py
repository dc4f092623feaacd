"""What chat_templates_golden.py renders templates with: conversations and variables."""

WEATHER = {"type": "function", "function": {
    "name": "get_weather", "description": "Gets the \"weather\" of today.\nOr a guess: é.",
    "parameters": {"type": "object", "properties": {
        "city": {"type": "string", "description": "A city <in> Europe & 'more'"},
        "unit": {"type": "string", "enum": ["c", "f"], "default": "c"},
        "days": {"type": "integer", "minimum": 1, "maximum": 7.5},
        "spots": {"type": "array", "items": {"type": "array", "items": {"type": "number"}}},
        "more": {"type": "object", "properties": {"deep": {"type": ["string", "integer"]}},
                 "required": ["deep"]}},
        "required": ["city"]}}}
NOTHING = {"type": "function", "function": {
    "name": "noop", "description": "Does nothing", "parameters": {"type": "object",
                                                                  "properties": {}}}}


def user(content):
    return {"role": "user", "content": content}


def assistant(content, **more):
    return {"role": "assistant", "content": content, **more}


def system(content):
    return {"role": "system", "content": content}


def call(name, arguments, identity="abcdefghi"):
    return {"id": identity, "type": "function",
            "function": {"name": name, "arguments": arguments}}


def result(content, name="get_weather", identity="abcdefghi"):
    return {"role": "tool", "content": content, "name": name, "tool_call_id": identity}


CONVERSATIONS = {
    "question": dict(messages=[user("Hello")]),
    "system": dict(messages=[system("Be \"terse\".\n"), user("Héllo 🙂 <|im_end|>")]),
    "turns": dict(messages=[
        system("  S  "), user(" q1 "), assistant("a1\n\n"), user("q2\t'x' \"y\" \\z"),
        assistant("<think>\nhm </think>\n\nanswer"), user("")]),
    "said": dict(messages=[user("日本語のテキスト"), assistant("🇩🇪 ok 👩‍👩‍👧")],
                 add_generation_prompt=False),
    "twice": dict(messages=[user("a"), user("b")]),
    "nothing": dict(messages=[]),
    "critic": dict(messages=[user("a"), {"role": "critic", "content": "b"}]),
    "tools": dict(messages=[system("Use tools"), user("Weather?")], tools=[WEATHER, NOTHING]),
    "call": dict(messages=[
        user("Weather?"),
        assistant("", tool_calls=[call("get_weather", {
            "city": "Zürich", "more": {"deep": ["a", "b\n"], "flag": True, "no": None}, "x": 1.5,
            "big": 1e21, "small": 1e-7, "n": -12345678901})]),
        result("{\"t\": 21}"), assistant("21°"), user("Thanks")], tools=[WEATHER]),
    "calls": dict(messages=[
        user("Weather?"),
        assistant(None, tool_calls=[call("get_weather", {"city": "X"}),
                                    call("noop", {}, "123456789")]),
        result("1"), result("2", "noop", "123456789")], tools=[WEATHER, NOTHING]),
    "text call": dict(messages=[
        user("Weather?"), {"role": "assistant", "tool_calls": [
            call("get_weather", "{\"city\": \"Z\u00fcrich\"}")]}, result("ok")]),
    "thought": dict(messages=[
        user("2+2"), assistant("4", reasoning_content="easy\n", thinking="easy\n"),
        user("/no_think and 3"), assistant("7 /no_think", reasoning_content="\nhard\n",
                                           thinking="hard")],
        enable_thinking=False, add_generation_prompt=False),
    "parts": dict(messages=[
        system([{"type": "text", "text": "sys"}]),
        user([{"type": "text", "text": "one "}, {"type": "image"},
              {"type": "image_url", "image_url": {"url": "http://x"}},
              {"type": "text", "text": "two"}]),
        assistant([{"type": "text", "text": "fine"}])]),
    "documents": dict(messages=[user("q")], documents=[
        {"title": "T", "text": "body\n2"}, {"title": "U", "text": ""}]),
    "developer": dict(messages=[{"role": "developer", "content": "dev"}, user("q")],
                      builtin_tools=["browser", "python"], identity="I am X", effort="low",
                      day="3 May", max_chars=3),
    "number": dict(messages=[user(5)]),
    "empty": dict(messages=[{"role": "user"}]),
    "prefix": dict(messages=[user("q"), assistant("The ans", prefix=True)],
                   add_generation_prompt=False),
}
for conversation in CONVERSATIONS.values():
    conversation.setdefault("add_generation_prompt", True)
    conversation.setdefault("bos_token", "<s>")
    conversation.setdefault("eos_token", "</s>")

CONTEXT = {
    "s": "Hello, wörld! 🙂", "e": "", "w": "  pad\t\n ", "lines": "one\ntwo\r\n\nthree\x0bfour\x85",
    "i": 7, "z": 0, "n": -3, "f": 2.5, "g": 1e16, "m": -0.0, "big": 9007199254740993, "t": True,
    "b": False, "no": None, "l": [3, 1, 2], "names": ["b", "A", "c", "a", "C"], "el": [], "ed": {},
    "ll": [[1, 2], [3]], "d": {"x": 1, "y": "why", "items": [1], "Z": None},
    "people": [{"n": "bob", "v": 3, "k": {"q": 1}}, {"n": "Al", "v": 1, "k": {"q": 2}},
               {"n": "al", "v": 2}],
    "mix": [1, "1", 1.0, True, None, "a"], "q": "it's \"q\" \\ <b>&'\u200b\u00a0\u4e2d\x07",
    "csv": "a,b,,c", "tt": "the quick-brown (fox) [x] <y>",
    "up": "ÀÉß ŉ ΑΣ ǆ İı ﬁ Σ", "dig": "１２²٣", "fl": " 3.75 ", "hex": "0x1F",
    "tree": [{"v": 1, "c": [{"v": 2, "c": []}, {"v": 3, "c": [{"v": 4, "c": []}]}]}],
}
