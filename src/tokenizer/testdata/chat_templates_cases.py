"""The single constructs that chat_templates_golden.py has jinja2 evaluate."""

FILTERED = {
    "s w lines q tt up e no i undef l": [
        "trim", "upper", "lower", "capitalize", "title", "length", "string", "list", "first",
        "replace('l', 'LL')", "replace('', '-')", "replace('o', '0', 1)", "reverse", "tojson",
        "tojson(ensure_ascii=true)", "escape", "forceescape", "safe", "indent", "indent(2, true)",
        "indent('> ', blank=true)", "wordcount", "center(20)", "truncate(8)",
        "truncate(8, true, '~', 0)", "urlencode", "default('D')", "default('D', true)",
        "trim('H !🙂')", "last", "count", "d"],
    "l names people mix ll d el s undef": [
        "join", "join(', ')", "join('|', attribute='n')", "last", "reverse|list", "sort",
        "sort(reverse=true)", "sort(case_sensitive=true)", "sort(attribute='v')",
        "sort(attribute='n,v', reverse=true)", "unique|list", "unique(true)|list",
        "unique(attribute='n')|list", "min", "max", "max(attribute='v')", "sum",
        "sum(attribute='v')", "sum(start=10)", "batch(2)|list", "batch(2, 'f')|list",
        "slice(2)|list", "slice(4, 'f')|list", "groupby('n')", "groupby('v')|list",
        "groupby('k.q', default=0)|map(attribute='grouper')|list", "dictsort",
        "dictsort(false, 'value')", "dictsort(true, reverse=true)", "items|list",
        "tojson(indent=2)", "tojson(indent='\\t')", "tojson(separators=(',', ':'), sort_keys=true)",
        "select|list", "select('odd')|list", "select('string')|list", "select('in', [1, 'a'])|list",
        "reject|list", "reject('none')|list", "selectattr('v')|list", "selectattr('v', 'gt', 1)|list",
        "selectattr('n', 'equalto', 'bob')|list", "rejectattr('k', 'defined')|list",
        "selectattr('k.q', 'eq', 1)|map(attribute='n')|join", "map('upper')|list",
        "map(attribute='n')|list", "map(attribute='k.q', default='-')|list", "map('string')|list",
        "map(attribute=0)|list", "map('default', 'z')|list", "map('tojson')|join(';')",
        "list|first", "attr('x')", "map('nonesuch')", "map('nonesuch')|list", "wordcount"],
    "i z n f g m t b no s e fl hex dig big": [
        "int", "int(5)", "int(base=16)", "int(0, 0)", "float", "float(1.5)", "round", "round(1)",
        "round(-1)", "round(1, 'floor')", "round(0, 'ceil')", "round(2, 'common')", "abs", "string",
        "tojson"],
}
TESTED = {
    "s e i f t no l d undef up z n": [
        "defined", "undefined", "none", "string", "mapping", "iterable", "sequence", "number",
        "integer", "float", "boolean", "true", "false", "odd", "even", "divisibleby 3",
        "divisibleby(2)", "lower", "upper", "in [7, '', 2.5]", "in 'abc'", "equalto 7", "eq ''",
        "ne 7", "gt 1", "lt 3", "ge 2.5", "le 7", "sameas none", "sameas true", "callable",
        "escaped", "not none", "not defined", "nonesuch", "filter", "test"],
}
METHODS = {
    "s w csv lines up tt e": [
        "strip()", "lstrip()", "rstrip()", "strip('H! a')", "rstrip('!🙂')", "lstrip(' \\t')",
        "strip(none)", "split()", "split(',')", "split(', ', 1)", "split(none, 1)",
        "split(maxsplit=1)", "split(sep='l', maxsplit=2)", "split('')", "rsplit()",
        "rsplit(',', 1)", "rsplit(none, 1)", "splitlines()", "splitlines(true)",
        "splitlines(keepends=true)", "startswith('H')", "startswith(('a', 'H'))",
        "startswith(['a'])", "startswith('e', 1)", "endswith('d')", "endswith(('x', '🙂'))",
        "endswith('o', 0, 5)", "upper()", "lower()", "title()", "capitalize()", "swapcase()",
        "replace('l', '_')", "replace('l', '_', 1)", "replace('', '.')", "find('o')",
        "find('o', 5)", "find('zz')", "find('', 3)", "find('', 99)", "find('🙂', -3)",
        "rfind('o')", "rfind('', 2)", "index('l')", "rindex('l')", "count('l')", "count('')",
        "count('l', 3)", "join(['a', 'b'])", "join('xyz')", "join([1])", "isdigit()", "isalpha()",
        "isalnum()", "isspace()", "isnumeric()", "isdecimal()", "isupper()", "islower()",
        "isidentifier()", "isascii()", "isprintable()", "zfill(18)", "zfill(3)", "center(11)",
        "center(21, '*')", "ljust(20, '-')", "rjust(20)", "removeprefix('He')",
        "removesuffix('🙂')", "partition(',')", "rpartition('o')", "partition('zz')",
        "rpartition('zz')", "nonesuch", "nonesuch()", "__class__", "0", "upper|string|length > 0",
        "format()", "encode|d"],
    "d ed": ["get('x')", "get('q')", "get('q', 'D')", "items()", "keys()", "values()",
             "items()|list", "keys()|list", "values()|list", "copy()", "x", "y", "items", "nonesuch",
             "update({})", "pop('x')", "setdefault('a', 1)", "clear()", "popitem()",
             "keys()|first", "items()|first", "items()|length", "values()|list|length", "get()",
             "update is defined", "nonesuch.more", "keys()[0]", "keys()[0] is defined"],
    "l names el": ["index(1)", "count(1)", "copy()", "append(1)", "extend([1])", "pop()",
                   "insert(0, 1)", "remove(1)", "reverse()", "sort()", "clear()", "nonesuch", "0",
                   "1", "append is defined"],
}
OPERANDS = ["7", "2.5", "'ab'", "true", "none", "[1, 2]", "{'a': 1}", "undef"]
OPERATORS = ["+", "-", "*", "/", "//", "%", "**", "~", "==", "!=", "<", "<=", ">", ">=", "in",
             "not in", "and", "or"]
EXPRESSIONS = """
1 + 2 * 3 ** 2 - 4 / 2 // 1 % 3
2 ** 3 ** 2
-2 ** 2
- 2 | abs
-f|abs
7 // 2, -7 // 2, 7 // -2, 7.5 // 2, -7.5 // 2, 7 % 3, -7 % 3, 7 % -3, -7.5 % 2, 5.5 % -2
1 / 3, 1e16, 1e15, 123456789012345680.0, 1e-4, 1e-5, 0.1 + 0.2, 100.0, 1e100, 5e-324
10 ** -2, 2 ** 0.5, 0 ** 0, 10 ** 18
9223372036854775807 - 1
0x1f, 0b101, 0o17, 1_000_000, 1_0.5_0, 1E3, 00
1 < 2 < 3, 1 < 3 < 2, 3 > 2 > 1, 1 == 1.0 == true, 1 < 2 > 1 != 5
not true, not not 1, not none, not ''
1 and 0, 0 or 'x', '' or none, none and 1, 'a' and 'b' or 'c', not 1 or 2
'a' if true, 'a' if false, ('a' if false) is defined, 'a' if 0 else 'b' if 0 else 'c'
('a' if false).x
'a' ~ 1 ~ none ~ 1.5 ~ [1] ~ undef ~ true
'a' 'b' "c"
"tab\\t nl\\n q\\" bs\\\\ u\\u00e9 x\\x41 o\\101 bell\\a z\\z é\\é U\\U0001F642"
'it\\'s', "it's", '"', "'\\""
[], [1], (), (1,), (1, 2), {}, {'a': 1, 2: [none], none: true, (1, 2): 'x', 1.5: {}}
[1, 'a', "it's", none, true, 1.0, [], {}, undef, q]
s[0], s[-1], s[1:4], s[::-1], s[::2], s[-3:], s[:-3], s[5:2], s[10:0:-3], s[99], s[99:], s[1:2:0]
s[1:4], s[-4:-1], s[:], s[::], s[100:200], s[-100:3], s[3::-1]
l[0], l[-1], l[5], l[1:], l[::-1], l[-2:], l['a'], l[1.0], l[true]
d['x'], d.x, d['nonesuch'], d.items, d['items'], d['get'] is defined, d[[1]] is defined, d[none]
ll[0][1], ll.0.1, people[0].k.q, people[2].k
people[2].k.q
undef.x
undef[0]
undef['x']
undef()
undef + 1
undef ~ 1, undef|string, [undef], undef == undef, undef == none, undef in [undef], not undef
undef < 1
none.x, none.x is defined, i.x is defined, i.real, i.imag, f.is_integer()
none.x.y
i[0] is defined, none[0] is defined
1 in [1, 2], 'a' in 'abc', 'x' in d, 1 in (1, 2), 2 not in [1], '' in '', 'items' in d, 1.0 in [1]
1 in 'abc'
1 in 5
1 in undef, 3 in range(5), 5 in range(5), 2.0 in range(3), 'a' in range(3)
[1, 2] == [1, 2], (1, 2) == [1, 2], {'a': 1} == {'a': 1.0}, 'a' < 'b', [1, 2] < [1, 3], [1] < [1, 0]
'a' < 1
none < 1
[1] < (1,)
'é' < 'f', '🙂' > '￿', 'Z' < 'a'
range(5), range(1, 5), range(5, 0, -2), range(0), range(3)|list, range(10)[2:8:3], range(5)[-1]
range(1.5)
range(0, 5, 0)
range(100000)|length
range(100001)|length
range(5)|sum, range(4)|join('-'), range(3)|reverse|list, range(3).stop, range(3).count(1)
dict(a=1, b='x'), dict([('k', 2)]), dict({'a': 1}, b=2), dict()
dict(1)
namespace(a=1).a, namespace({'a': 2}).a, namespace().a is defined, namespace(a=1)
lipsum is defined
joiner('x')(), raise_exception is callable, 1 is callable
raise_exception('because')
raise_exception()
strftime_now is defined
'%s and %s' % ('a', 1), '%d' % 3.7, '%5d|%-5d|%05d|%+d' % (1, 2, 3, 4)
'%x %X %o %#x' % (255, 255, 8, 255)
'%.2f %e %g %G %8.3f|%-8.1f|' % (3.14159, 12345.678, 0.0001, 1e20, 2.5, 2.5)
'%r %s %a' % ('é', 'é', 'é'), '%c%c' % (65, 'é'), '%%', '%5s|%-5s|%.2s' % ('a', 'b', 'cde')
'%(a)s-%(b)d' % {'a': 1, 'b': 2}, '%s' % [1], 'x' % [1], '%s' % undef, '%*d' % (5, 42)
'%d' % 'a'
'%s' % (1, 2)
'%s %s' % 1
'%z' % 1
'%(a)s' % {'b': 1}
'{} {}'.format(1, 'a'), '{0}{1}{0}'.format('x', 'y'), '{a}-{b}'.format(a=1, b=2), '{{}}'.format()
'{:>5}|{:<5}|{:^5}|{:*^7}'.format('a', 'b', 'c', 'd')
'{:5}|{:05d}|{:+d}|{:,}'.format(1, 2, 3, 1234567)
'{:.2f}|{:8.3f}|{:e}|{:g}|{:%}|{:.1%}'.format(3.14159, 2.5, 1234.5, 0.0001, 0.5, 0.255)
'{:x}|{:#x}|{:b}|{:o}|{:X}|{:c}|{:_}'.format(255, 255, 5, 8, 255, 65, 1234567)
'{!r}|{!s}|{!a}'.format('é', 'é', 'é'), '{0[x]}|{0.y}|{1[0]}'.format(d, l)
'{:{}}|{:.{}}'.format('a', 5, 'abc', 2)
'{}'.format()
'{a}'.format()
'{0.__class__}'.format(1)
'{:d}'.format('a')
'{'.format()
'a'.format_map({'a': 1}), '{a}'.format_map({'a': 1})
'%s,%s' | format('a', 1), '%(x)s' | format(x=1), '%d%%' | format(50)
('<b>' | safe) + '<i>', '<i>' + ('<b>' | e), ('<b>' | safe) ~ '<i>', ('%s' | safe) % '<', ['<' | e]
('<' | safe).upper(), ('a<b' | safe).replace('a', '<')
('<' | safe).join(['<', '>']), ('{}' | safe).format('<')
('<' | e | e), ('<' | e | string | e), ('<' | forceescape | forceescape), (1 | e), (none | safe)
'a' * 3, 3 * 'a', [1] * 2, (1,) * 2, 'a' * -1, 'a' * true, 2 * [none]
'a' * 1.5
'a' + 1
[1] + (2,)
[1] + [2], (1,) + (2,), 'a' + 'b'
true + true, true * 2.5, -true, +true, true / 2, true // 1, true % 2, 1 - true
- 'a'
1 / 0
1 // 0
1.0 % 0
0 ** -1
[1, [2, [3, {'a': (4,)}]]] | tojson, {'b': 1, 'a': {1: none}} | tojson(sort_keys=true)
1e20 | tojson, '\\x00\\x1f\\x7f\\u2028/' | tojson
[[], {}, [1], {'a': []}] | tojson(indent=2), [1, 2] | tojson(indent=0)
{} | tojson(indent=2), 'a' | tojson(indent=4)
'é🙂' | tojson, 'é🙂' | tojson(ensure_ascii=true), {1: 2, none: 3, true: 4, 1.5: 5} | tojson
undef | tojson
{'a': undef} | tojson
l | map('upper') | tojson
{(1, 2): 3} | tojson
[1, 2, 3] | map('string') | join, l | select('odd') | length
l | select('odd') | first, (l | select('odd') | list)[0], (l | select('odd'))[0] is defined
l | map('nonesuch') | first
l | nonesuch
l is nonesuch
l | first | string | upper | length
d | length, d | list, d | first, d | last, d | join, d | sort, d | tojson, d | reverse | list
s | first, s | last, s | list | length, s | reverse, s | batch(4) | first | join, s | sort | join
names | sort, names | sort(reverse=true), names | unique | list
names | min, names | max, names | map('lower') | unique | sort | join
mix | unique | list, mix | map('string') | list
mix | select('number') | list, mix | reject('in', [1]) | list
people | sort(attribute='v') | map(attribute='n') | list
people | groupby('n') | length, (people | groupby('n') | first).list | length
people | groupby('n')
people | map(attribute='k.q', default=9) | list, people | sum(attribute='v')
people | max(attribute='v'), people | selectattr('k') | list | length
[3, 'a'] | sort
[3, 'a'] | max
[[1], 2] | unique | list
[{'a': 1}, {'a': 1}] | unique | list
['a', 'b'] | sum
[0.1] * 3 | sum, ([0.1] * 10) | sum, [1, 2.5] | sum
2.5 | round, 3.5 | round, -2.5 | round, 2.675 | round(2)
1234.5678 | round(-2), 15 | round(-1), 25 | round(-1), 2.5 | round | int
42.55 | round(1, 'floor'), 42.51 | round(0, 'ceil')
5 | round(0, 'ceil'), -1.5 | round(0, 'floor'), 1e300 | round(2)
'12' | int, ' -7 ' | int, '1.9' | int, 'x' | int, 'x' | int('d'), '0x1A' | int(base=16)
'zz' | int(0, 36), '1_000' | int, none | int, true | int, '' | int
'1.5' | float, 'x' | float, 'x' | float('d'), '1e3' | float, 'inf' | float
'-nan' | float, ' 2 ' | float, '1_0.5' | float, none | float
'a\\nb\\n\\nc' | indent, 'a\\nb' | indent(2, first=true)
'a\\n\\nb' | indent(1, false, true), '' | indent, 'a\\n' | indent
'foo bar baz qux' | truncate(9), 'foo bar baz qux' | truncate(9, true)
'foo bar baz qux' | truncate(11), 'foo bar' | truncate(5, false, '', 0)
'a b&c=d/é' | urlencode, {'a b': 1, 'c': '/'} | urlencode, [('k', 'v')] | urlencode, 5 | urlencode
'hello world' | title, "it's o'clock-time (now)" | title, 'ÀB éF' | title, "they're bill's".title()
'ΑΣ ΣΑ Σ ΑΣ.' | lower, 'straße' | upper, 'ŉ' | capitalize, 'ǆa' | capitalize, 'İ' | lower | length
'１２'.isdigit(), '²'.isdigit(), '²'.isdecimal()
'½'.isnumeric(), '٣' | int, '一'.isnumeric(), 'ⅷ'.islower()
'a' is lower, 'A' is upper, 'é' is lower, '1' is upper, 'ªA' is upper, '' is lower
'one two' | wordcount, 'a-b c_d é日本' | wordcount, '' | wordcount
messages is defined, messages | default([]) | length, undef | default
undef | default('a') | upper, none | default('a', true)
loop is defined, caller is defined
[1, 2, 3][1:] + [4], [1, 2, 3] | reverse | list, (1, 2, 3) | last, {'a': 1} | items | list
none | items
undef | items | list, undef | list, undef | join, undef | length
undef | sort, undef | first is defined, undef | reverse | list
undef | dictsort
undef | int
undef | abs
undef | indent
x if x is defined else 'default'
1 if 2 if 0 else 3 else 4
[x for x in l]
a.b.c = 1
s | replace('l')
s | replace(1, 2, 3, 4)
s.split(1)
s.split(nonesuch=1)
l | join(', ', 'n', 3)
d.get(*[1, 2]), d.get(*('x',)), dict(**{'a': 1}), '{a}{}'.format(*[1], **{'a': 2})
d.get(*5)
dict(**[1])
{[1]: 2}
{'a': 1}[[1]] is defined
'abc
1 +
(1
[1, 2
{'a' 1}
1 2
a b
foo(a=1, 2)
foo(a=1, a=2)
'a' is string is string
x |
x.
x[
@
1 ! 2
""".strip("\n").split("\n")

STATEMENTS = [
    # white space
    "a\n  {% if true %}\n  b\n  {% endif %}\nc\n",
    "a {% if true %} b {% endif %} c\n\n",
    "  {{ 1 }}\n  {% set x = 1 %}\n  {{ x }}\n",
    "a {%- if true -%} b {%- endif -%} c",
    "a\n\n {%- if true -%}\n\n b\n\n {%- endif -%} \n\n c",
    "a\n  {%+ if true %}\n b\n  {%+ endif +%}\n c",
    "{{ 1 -}}  \n x {{- 2 }}",
    "a  {{- 1 -}}  b",
    "{% if true +%}\nx{% endif %}",
    "{%- if true %}\n\nx{% endif %}\n\n",
    "a\n{# c #}\nb",
    "a\n  {# c #}\nb",
    "a {#- c -#} b",
    "a\n  {#+ c +#}\nb",
    "a {# c\nd #} b\n",
    "{#{# #}",
    "a\r\nb\rc\n",
    "{% if true %}\r\nx{% endif %}",
    "\t{% if true %}\t\nx\t{% endif %}",
    "\u00a0{% if true %}x{% endif %}\u00a0{{- 1 }}",
    "x{% set a = 1 %}\n  {% set b = 2 %}  y",
    "{% set a = 1 %}  {% set b = 2 %}\n {{ a }}",
    " {{ 1 }}{% if true %} {% endif %}",
    "{% raw %}{{ x }}{% endraw %}",
    "a\n  {% raw %}\n {% if %}\n  {% endraw %}\nb",
    "{%- raw -%}  x {{ y {%- endraw -%} z",
    "{% raw %}\n\nx{% endraw +%}\ny",
    "{ { }} %} #} {",
    "{{ '{{' }} {{ '%}' }} {{ \"}}\" }}",
    "{{ {'a': {'b': 1}} }}",
    "{{ {'a': {'b': 1}}}}",
    # for
    "{% for x in l %}{{ x }}{% if not loop.last %}, {% endif %}{% endfor %}",
    "{% for x in [] %}x{% else %}none{% endfor %}",
    "{% for x in l %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}"
    "{{ loop.first }}{{ loop.last }}{{ loop.length }} {% endfor %}",
    "{% for x in l %}[{{ loop.previtem }}|{{ x }}|{{ loop.nextitem }}]{% endfor %}",
    "{% for x in l %}{{ loop.previtem is defined }}{{ loop.nextitem is defined }}{% endfor %}",
    "{% for x in l if x > 1 %}{{ loop.index }}/{{ loop.length }}:{{ x }} {% endfor %}",
    "{% for x in l if x > 5 %}x{% else %}none{% endfor %}",
    "{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}",
    "{% for k in d %}{{ k }}{% endfor %}",
    "{% for c in s %}{{ c }}.{% endfor %}",
    "{% for a, (b, c) in [(1, (2, 3))] %}{{ a }}{{ b }}{{ c }}{% endfor %}",
    "{% for (a, b) in ll %}x{% endfor %}",
    "{% for a, b in [[1, 2]] %}{{ a + b }}{% endfor %}",
    "{% for x in undef %}x{% else %}e{% endfor %}",
    "{% for x in none %}x{% endfor %}",
    "{% for x in 5 %}x{% endfor %}",
    "{% for x in 1, 2 %}{{ x }}{% endfor %}",
    "{% for x in l %}{% if x == 1 %}{% continue %}{% endif %}{{ x }}{% endfor %}",
    "{% for x in l %}{% if x == 1 %}{% break %}{% endif %}{{ x }}{% else %}e{% endfor %}",
    "{% for x in [1] %}{% continue %}{% else %}nothing reached its end{% endfor %}",
    "{% for x in l %}{% for y in l %}{{ loop.index }}{% endfor %}{{ loop.index }}{% endfor %}",
    "{% for x in l %}{{ loop.cycle('a', 'b') }}{{ loop.changed(x > 1) }}{% endfor %}",
    "{% for x in l|map('string') %}{{ loop.length }}{{ x }}{{ loop.last }}{% endfor %}",
    "{% for n in tree recursive %}{{ n.v }}{{ loop.depth }}{% if n.c %}({{ loop(n.c) }}){% "
    "endif %}{% endfor %}",
    "{% for x in l %}{{ loop(l) }}{% endfor %}",
    "{% for x in l %}{% set y = x %}{% endfor %}{{ y }}",
    "{% set y = 0 %}{% for x in l %}{{ y }}{% set y = x %}{{ y }}{% endfor %}{{ y }}",
    "{% set ns = namespace(y=0) %}{% for x in l %}{% set ns.y = ns.y + x %}{% endfor %}{{ ns.y }}",
    "{% for x in l %}{{ x }}{% endfor %}{{ x }}",
    "{% for loop in l %}{% endfor %}",
    "{% for x in l %}{% set loop = 1 %}{% endfor %}",
    "{{ loop }}{% for x in [1] %}{{ loop }}{% endfor %}",
    "{% for x in l[1:] + [9] %}{{ x }}{% endfor %}",
    "{% set ns = namespace(on=true) %}{% for x in [1, 2, 3] if ns.on %}{{ x }}{% if x == 2 %}"
    "{% set ns.on = false %}{% endif %}{% endfor %}",
    "{% for x in l %}{{ loop.nonesuch is defined }}{% endfor %}",
    "{% for x in [1, 2]: %}{{ x }}{% endfor %}",
    "{% for i in range(3) %}{{ i }}{% endfor %}{{ i }}",
    "{% break %}",
    "{% for x in l %}{% macro m() %}{% break %}{% endmacro %}{% endfor %}",
    # if
    "{% if s %}1{% elif e %}2{% else %}3{% endif %}",
    "{% if e %}1{% elif s %}2{% else %}3{% endif %}",
    "{% if e %}1{% elif no %}2{% else %}3{% endif %}",
    "{% if undef %}1{% endif %}2",
    "{% if undef is defined and undef.x %}1{% endif %}2",
    "{% if [] %}1{% elif {} %}2{% elif 0.0 %}3{% elif '' %}4{% else %}5{% endif %}",
    "{% if l|select('gt', 9) %}a generator is true{% endif %}",
    "{% if false %}{{ 1|nonesuch }}{% endif %}ok",
    "{% if not undef %}{% set a = 1 %}{% endif %}{{ a }}",
    "{% if 1 %}{% else %}",
    # set
    "{% set a = 1 %}{{ a }}",
    "{% set a, b = 1, 2 %}{{ a }}{{ b }}",
    "{% set a, b = [1, 2, 3] %}",
    "{% set a, b = 'xy' %}{{ b }}{{ a }}",
    "{% set a = 1, %}{{ a }}",
    "{% set a %} x {{ 1 }} {% endset %}[{{ a }}]",
    "{% set a | upper | trim %} x {% endset %}[{{ a }}]",
    "{% set a | length %}xyz{% endset %}{{ a + 1 }}",
    "{% set ns = namespace() %}{% set ns.a = 1 %}{{ ns.a }}{{ ns.b }}",
    "{% set d.x = 1 %}",
    "{% set ns = namespace() %}{% set ns.a, b = 1, 2 %}{{ ns.a }}{{ b }}",
    "{% set ns = namespace(a=1) %}{% set ns.a %}x{% endset %}{{ ns.a }}{{ ns['a'] }}{{ ns.get "
    "is defined }}",
    "{% set 1 = 2 %}",
    "{% set true = 2 %}",
    "{% set a.b.c = 2 %}",
    "{% set a[0] = 2 %}",
    "{% set a = %}",
    "{% set x = i %}{% with %}{% set x = 2 %}{{ x }}{% endwith %}{{ x }}",
    "{% with a = 1, b = 2 %}{{ a }}{{ b }}{% endwith %}{{ a }}",
    "{% set a = 5 %}{% with a = 1, b = a %}{{ a }}{{ b }}{% endwith %}",
    "{% for x in l %}{{ s }}{% endfor %}{% set s = 1 %}{{ s }}",
    "{{ s }}{% for x in l %}{{ s }}{% endfor %}{% set s = 1 %}{{ s }}",
    "{% macro m() %}{{ s }}{% endmacro %}{{ m() }}{% set s = 1 %}{{ m() }}",
    "{% if true %}{% set s = 1 %}{% endif %}{% for x in [1] %}{{ s }}{% endfor %}",
    # macros
    "{% macro m(a, b=2, c='x') %}{{ a }}{{ b }}{{ c }}{% endmacro %}{{ m(1) }} {{ m(1, 3) }} "
    "{{ m(1, c=4) }} {{ m(b=1, a=0) }} {{ m() }}",
    "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1, 2) }}",
    "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(b=2) }}",
    "{% macro m(a, b=a) %}{{ a }}{{ b }}{% endmacro %}{{ m(1) }}{{ m(1, 2) }}",
    "{% macro m() %}{{ varargs }}{{ kwargs }}{% endmacro %}{{ m(1, 'x', k=2) }}",
    "{% macro m(a) %}{{ a is defined }}{% endmacro %}{{ m() }}{{ m(none) }}",
    "{% macro m(n) %}{{ n }}{% if n > 0 %}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(5) }}",
    "{% macro m() %}[{{ caller() }}]{% endmacro %}{% call m() %}x{{ i }}{% endcall %}",
    "{% macro m() %}[{{ caller(1, 2) }}]{% endmacro %}{% call(a, b=3) m() %}{{ a }}{{ b }}{% "
    "endcall %}",
    "{% macro m() %}x{% endmacro %}{% call m() %}y{% endcall %}",
    "{% macro m() %}{{ caller is defined }}{{ caller }}{% endmacro %}{{ m() }}",
    "{{ m() }}{% macro m() %}x{% endmacro %}",
    "{% macro m(a) %}{{ a }}{% endmacro %}{{ m }} {{ m.name }} {{ m.arguments }}",
    "{% macro m() %}{% set z = 5 %}{{ z }}{% endmacro %}{{ m() }}{{ z }}",
    "{% set v = 1 %}{% macro m() %}{{ v }}{% endmacro %}{{ m() }}{% set v = 2 %}{{ m() }}",
    "{% macro a() %}{{ b() }}{% endmacro %}{% macro b() %}B{% endmacro %}{{ a() }}",
    "{% macro m(a, a) %}{% endmacro %}",
    "{% macro m(a=1, b) %}{% endmacro %}",
    "{% macro m() %} x {% endmacro %}[{{ m()|trim }}]{{ m() is string }}{{ m() + 'y' }}",
    "{% for x in l %}{% macro m() %}{{ x }}{% endmacro %}{{ m() }}{% endfor %}",
    "{% call raise_exception('x') %}{% endcall %}",
    "{% call 5 %}{% endcall %}",
    "{% macro m(caller=none) %}{{ caller() if caller }}{% endmacro %}{{ m() }}{% call m() %}"
    "z{% endcall %}",
    # filter blocks and others
    "{% filter upper %}a{{ s }}{% endfilter %}",
    "{% filter replace('a', 'b') | trim %} a {% endfilter %}",
    "{% filter indent(2, first=true) %}a\nb{% endfilter %}",
    "{% filter length %}abc{% endfilter %}",
    "{% filter nonesuch %}{% endfilter %}",
    "{% generation %}x{{ i }}{% endgeneration %}",
    "{%- generation -%} x {%- endgeneration -%} y",
    "{% print 1, 'a' %}",
    "{% do x %}",
    "{% nonesuch %}",
    "{% endif %}",
    "{% if true %}{% endfor %}",
    "{% for %}{% endfor %}",
    "{% if %}{% endif %}",
    "{{ }}",
    "{% %}",
    "{{ 1",
    "{% if 1",
    "{# x",
    "{% raw %}x",
    "}}",
    "{{ 1 }}}}",
    "{{ 1 +}}",
    "{{ (1 }}",
    "{{ 1) }}",
    "{{ [1} }}",
    "line\nline\n{{ 1 +* 2 }}",
    "\n\n{% if x %}\n\n{% nonesuch %}{% endif %}",
    "a\n{# x\n\n#}\n{{ 'x\ny' + }}",
    "{% set c = cycler(1, 2) %}{{ c.next() }}{{ c.next() }}{{ c.current }}{{ c.next() }}{{ "
    "c.reset() }}{{ c.current }}",
    "{% set j = joiner() %}{% for x in l %}{{ j() }}{{ x }}{% endfor %}",
    "{{ cycler() }}",
    "{{ [s|safe, namespace(a=[1])] }}",
    "{% set g = l|map('string') %}{{ g|list }}{{ g|list }}",
    "{% set g = l|reverse %}{{ g|first }}{{ g|list }}",
]
