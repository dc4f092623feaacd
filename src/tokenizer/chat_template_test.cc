// Chat templates against jinja2: testdata/chat_templates_golden.py made what is compared with.

#include "tokenizer/chat_template.h"

#include <gtest/gtest.h>

#include <chrono>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <random>
#include <string>

#include "base/error.h"
#include "base/json.h"
#include "base/printable.h"
#include "tests/testing/damage.h"
#include "tests/testing/expect_error.h"
#include "tests/testing/paths.h"

namespace halftone {
namespace {

namespace fs = std::filesystem;

const fs::path kTestData = SourcePath("src/tokenizer/testdata");

std::string ReadFile(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  EXPECT_TRUE(in) << path;
  return {std::istreambuf_iterator<char>(in), {}};
}

OrderedJson ReadGolden(const std::string& name) {
  return OrderedJson::parse(ReadFile(kTestData / name));
}

std::map<std::string, std::string> Templates() {
  std::map<std::string, std::string> templates;
  for (const auto& entry : fs::directory_iterator(kTestData / "chat_templates")) {
    templates[entry.path().stem().string()] = ReadFile(entry.path());
  }
  return templates;
}

// That rendering has jinja2's outcome: a text, or an object with the template's own refusal or the
// line of a syntax error, or null for any other error.
void ExpectOutcome(const OrderedJson& expected, const std::string& source,
                   const OrderedJson& context) {
  std::string text;
  const auto error = Caught([&] { text = RenderChatTemplate(source, context); });
  if (expected.is_string()) {
    if (error) {
      ADD_FAILURE() << error->what() << "\nfor " << source;
    } else {
      EXPECT_EQ(text, expected.get<std::string>()) << source;
    }
    return;
  }
  ASSERT_TRUE(error) << "jinja2 refuses " << source;
  if (expected.contains("refusal")) {
    EXPECT_EQ(error->kind(), Error::Kind::kUsage) << error->what();
    const std::string refusal = Printable(expected["refusal"].get<std::string>(), 1024);
    EXPECT_EQ(error->what(), "chat template: " + refusal) << source;
    return;
  }
  EXPECT_EQ(error->kind(), Error::Kind::kFormat) << error->what() << "\nfor " << source;
  const std::string line =
      expected.contains("line") ? std::to_string(expected["line"].get<int>()) + ":" : std::string();
  EXPECT_EQ(std::string(error->what()).find("chat template, line " + line), 0u)
      << error->what() << "\nfor " << source;
}

void ExpectUnsupported(const std::string& part, const std::string& source) {
  ExpectError(Error::Kind::kUnsupported, part,
              [&] { RenderChatTemplate(source, OrderedJson::object()); });
}

TEST(ChatTemplate, RendersTemplatesAsJinja2Does) {
  const OrderedJson golden = ReadGolden("chat_templates_rendered.json");
  const auto templates = Templates();
  EXPECT_EQ(templates.size(), golden["rendered"].size());
  for (const auto& [name, outcomes] : golden["rendered"].items()) {
    for (const auto& [conversation, expected] : outcomes.items()) {
      SCOPED_TRACE(name + " with '" + conversation + "'");
      ExpectOutcome(expected, templates.at(name), golden["conversations"][conversation]);
    }
  }
}

TEST(ChatTemplate, EvaluatesSingleConstructsAsJinja2Does) {
  const OrderedJson golden = ReadGolden("chat_templates_constructs.json");
  EXPECT_GT(golden["cases"].size(), 3000u);
  for (const OrderedJson& one : golden["cases"]) {
    ExpectOutcome(one[1], one[0].get<std::string>(), golden["context"]);
  }
}

TEST(ChatTemplate, NamesWhatItLacks) {
  ExpectUnsupported("the tag 'block'", "{% block x %}{% endblock %}");
  ExpectUnsupported("the tag 'include'", "{% include 'x' %}");
  ExpectUnsupported("the tag 'autoescape'", "{% autoescape true %}{% endautoescape %}");
  ExpectUnsupported("the filter 'pprint'", "{{ 1|pprint }}");
  ExpectUnsupported("the filter 'wordwrap'", "{{ ['a']|map('wordwrap')|list }}");
  ExpectUnsupported("the attribute 'translate' of str", "{{ 'a'.translate({}) }}");
  ExpectUnsupported("the attribute 'bit_length' of int", "{{ (5).bit_length() }}");
  ExpectUnsupported("complex numbers", "{{ (-1) ** 0.5 }}");
  ExpectUnsupported("integers beyond 64 bits", "{{ 9223372036854775807 + 1 }}");
  ExpectUnsupported("beyond 64 bits", "{{ 9223372036854775808 }}");
  ExpectUnsupported("half a surrogate pair", "{{ '\\ud800' }}");
  ExpectUnsupported("'lipsum'", "{{ lipsum() }}");
  ExpectUnsupported("line 3: the tag 'extends'", "\n\n{% extends 'x' %}");
}

TEST(ChatTemplate, TellsTheTime) {
  const auto today = [] {
    const std::time_t now = std::time(nullptr);
    std::tm local{};
    localtime_r(&now, &local);
    char text[64];
    return std::string(text, std::strftime(text, sizeof text, "%d %b %Y", &local));
  };
  const std::string before = today();
  const std::string rendered =
      RenderChatTemplate("{{ strftime_now('%d %b %Y') }}", OrderedJson::object());
  EXPECT_TRUE(rendered == before || rendered == today()) << rendered;
  EXPECT_EQ(RenderChatTemplate("{{ strftime_now('') }}|{{ strftime_now('%f') | length }}",
                               OrderedJson::object()),
            "|6");
}

TEST(ChatTemplate, KeepsBytesThatAreNoUtf8) {
  OrderedJson context;
  context["s"] = "a\xFF\xC3(z";
  EXPECT_EQ(RenderChatTemplate("{{ s }}|{{ s|upper }}|{{ s|length }}|{{ s[1] }}|{{ s|trim('az') }}",
                               context),
            "a\xFF\xC3(z|A\xFF\xC3(Z|5|\xFF|\xFF\xC3(");
}

// Templates that would never end, or take all memory or stack. Each must fail soon.
TEST(ChatTemplate, BoundsWhatHostileTemplatesTake) {
  const std::string open(5000, '(');
  const std::string close(5000, ')');
  std::string blocks;
  for (int i = 0; i < 1000; ++i) blocks += "{% if true %}";
  std::string sum = "{{ 1";
  for (int i = 0; i < 1000; ++i) sum += "|string";
  std::string nots = "{{ ";
  for (int i = 0; i < 5000; ++i) nots += "not ";
  const std::string forever = "{% for a in range(99999) %}";
  for (const std::string& source : {
           "{{ " + open + "1" + close + " }}",
           "{{ " + std::string(5000, '[') + std::string(5000, ']') + " }}",
           "{{ " + std::string(5000, '-') + "1 }}",
           nots + "1 }}",
           sum + " }}",
           "{{ x" + std::string(10000, '.') + " }}",
           blocks,
           forever + forever + "{% endfor %}{% endfor %}",
           forever + forever + "{{ 'text' }}{% endfor %}{% endfor %}",
           forever + "{% for c in range(99999)|map('string') %}{% endfor %}{% endfor %}",
           std::string("{{ 'a' * 1000000000000 }}"),
           std::string("{{ [1] * 1000000000000 }}"),
           std::string("{{ ('a' * 1000000) * 1000000 }}"),
           std::string("{{ '%1000000000d' % 1 }}"),
           std::string("{{ '%.1000000000f' % 1 }}"),
           std::string("{{ '{:1000000000}'.format(1) }}"),
           std::string("{{ '{:.1000000000f}'.format(1.0) }}"),
           std::string("{{ 'a'.center(1000000000000) }}"),
           std::string("{{ 'a'.zfill(1000000000000) }}"),
           std::string("{{ 'a'|indent(1000000000000) }}"),
           std::string("{{ [1]|tojson(indent=1000000000000) }}"),
           std::string("{{ [1]|batch(1000000000000, 0)|list }}"),
           std::string("{{ [1]|slice(1000000000000)|list }}"),
           "{% set ns = namespace(s='ab') %}" + forever +
               "{% set ns.s = ns.s + ns.s %}{% endfor %}",
           "{% set ns = namespace(s='ab') %}" + forever +
               "{% set ns.s = ns.s ~ ns.s %}{% endfor %}",
           "{% set ns = namespace(s='ab') %}" + forever +
               "{% set ns.s = ns.s|replace('a', ns.s) %}{% endfor %}",
           "{% set ns = namespace(s='ab') %}" + forever +
               "{% set ns.s = ns.s.join(ns.s) %}{% endfor %}",
           "{% set ns = namespace(s='ab') %}" + forever +
               "{% set ns.s %}{{ ns.s }}{{ ns.s }}{% endset %}{% endfor %}",
           "{% set ns = namespace(l=[1]) %}" + forever + "{% set ns.l = ns.l + ns.l %}{% endfor %}",
           "{% set ns = namespace(l=[]) %}" + forever + "{% set ns.l = [ns.l] %}{% endfor %}",
           "{% set ns = namespace(l=[]) %}" + forever + "{% set ns.l = {'a': ns.l} %}{% endfor %}",
           "{% set ns = namespace(l=[]) %}" + forever +
               "{% set ns.l = ns.l|map('string') %}{% endfor %}",
           std::string("{% set ns = namespace(l=[]) %}{% for a in range(100) %}"
                       "{% set ns.l = [ns.l, ns.l] %}{% endfor %}{{ ns.l }}"),
           std::string("{% set ns = namespace(l=[]) %}{% for a in range(100) %}"
                       "{% set ns.l = [ns.l, ns.l] %}{% endfor %}{{ ns.l|tojson }}"),
           std::string("{% set ns = namespace(l=[1], m=[1]) %}{% for a in range(100) %}"
                       "{% set ns.l = [ns.l, ns.l] %}{% set ns.m = [ns.m, ns.m] %}{% endfor %}"
                       "{{ ns.l == ns.m }}"),
           std::string("{% set ns = namespace(t=(1,)) %}{% for a in range(100) %}"
                       "{% set ns.t = (ns.t, ns.t) %}{% endfor %}{{ {ns.t: 1} }}"),
           std::string("{% set ns = namespace() %}{% set ns.ns = ns %}{{ ns }}"),
           "{% set ns = namespace(n=0) %}" + forever +
               "{% set ns.n = namespace(n=ns.n) %}{% endfor %}{{ ns }}",
           std::string("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}"),
           std::string("{% macro m(n) %}{% for x in [1] %}{% if n %}{% filter trim %}{{ [m(n)] }}"
                       "{% endfilter %}{% endif %}{% endfor %}{% endmacro %}{{ m(1) }}"),
           std::string("{% macro m() %}{{ caller() }}{% call m() %}{{ caller() }}{% endcall %}"
                       "{% endmacro %}{% call m() %}x{% endcall %}"),
           std::string("{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}"),
           std::string("{% macro m() %}{{ m() }}{{ m() }}{% endmacro %}{{ m() }}"),
           "{% set big = 'ab' * 10000000 %}" + forever + "{{ 'b' * 100 in big }}{% endfor %}",
           "{% set big = 'ab' * 10000000 %}" + forever + "{{ big == big[1:] }}{% endfor %}",
           "{% set big = 'ab' * 10000000 %}" + forever + "{% set x = big|upper %}{% endfor %}",
           std::string(
               "{% set big = 'ab' * 10000000 %}{% for a in range(99) %}{{ big }}{% endfor %}"),
       }) {
    SCOPED_TRACE(source.substr(0, 200));
    EXPECT_TRUE(Caught([&] { RenderChatTemplate(source, OrderedJson::object()); }));
  }
  ExpectError(Error::Kind::kFormat, "Range too big", [] {
    RenderChatTemplate("{% for x in range(10**9) %}{% endfor %}", OrderedJson::object());
  });
}

TEST(ChatTemplate, BoundsTheDepthOfVariables) {
  OrderedJson deep = 1;
  for (int i = 0; i < 5000; ++i) deep = OrderedJson::array({std::move(deep)});
  const OrderedJson context = {{"deep", std::move(deep)}};
  ExpectError(Error::Kind::kUnsupported, "nested deeper",
              [&] { RenderChatTemplate("{{ deep }}", context); });
}

TEST(ChatTemplate, SurvivesDamagedTemplates) {
  const OrderedJson golden = ReadGolden("chat_templates_rendered.json");
  std::mt19937 random(7);
  int rendered = 0;
  int refused = 0;
  for (const auto& [name, source] : Templates()) {
    for (int i = 0; i < 150; ++i) {
      std::string damaged = source;
      for (unsigned n = 1 + random() % 4; n > 0; --n) Damage(damaged, random);
      const auto error =
          Caught([&] { RenderChatTemplate(damaged, golden["conversations"]["call"]); });
      ++(error ? refused : rendered);
    }
  }
  EXPECT_GT(rendered, 200);
  EXPECT_GT(refused, 500);
}

}  // namespace
}  // namespace halftone
