// Opens the page of a comparison in a real browser: headless Chromium, from a file. Nothing may
// appear on the browser's console, the charts must have their marks, and what a person does with
// the page (sort, point, switch the axis) must work. A probe, a script appended to a copy of the
// page, acts and leaves what it saw in the document.
//
// Needs `chromium`, `chromium-browser` or `google-chrome` in the PATH, or the environment variable
// HALFTONE_CHROMIUM; skips without. The page stays in <build>/report_pages for a person to look at.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>

#include "halftone/compare.h"
#include "tests/testing/paths.h"
#include "tests/testing/synthetic_report.h"

namespace halftone {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::Not;

std::string FindChromium() {
  if (const char* path = std::getenv("HALFTONE_CHROMIUM")) return path;
  const char* variable = std::getenv("PATH");
  for (const char* name : {"chromium", "chromium-browser", "google-chrome"}) {
    std::istringstream folders(variable == nullptr ? "" : variable);
    for (std::string folder; std::getline(folders, folder, ':');) {
      if (fs::exists(fs::path(folder) / name)) return (fs::path(folder) / name).string();
    }
  }
  return "";
}

std::string ReadFile(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

int CountOf(const std::string& text, const std::string& part) {
  int count = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

struct Visit {
  std::string dom;      // serialized after the page has settled
  std::string console;  // lines that the page's scripts or its policy wrote
  std::string probe;    // what the probe returned
};

class BrowserTest : public testing::Test {
 protected:
  void SetUp() override {
    chromium_ = FindChromium();
    if (chromium_.empty()) GTEST_SKIP() << "needs Chromium (Debian: apt-get install chromium)";
    folder_ = fs::path(BuiltPath("report_pages")) /
              testing::UnitTest::GetInstance()->current_test_info()->name();
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }

  // Opens the page. `probe` is the body of a function whose result, a string, comes back.
  Visit Open(const std::string& html, const std::string& probe = "", int width = 1280,
             const std::string& flags = "") {
    const fs::path page = folder_ / "report.html";
    std::ofstream(page) << html;
    if (!probe.empty()) {
      std::ofstream(page, std::ios::app)
          << "<script>setTimeout(() => {\nlet said;\ntry { said = (() => {" << probe
          << "})(); } catch (error) { said = 'threw ' + error; }\nconst pre = "
             "document.createElement('pre');\npre.id = 'probe';\npre.textContent = said;\n"
             "document.body.append(pre);\n}, 300);</script>";
    }
    const std::string command =
        "timeout 120 '" + chromium_ +
        "' --headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage --hide-scrollbars "
        "--enable-logging=stderr --v=0 --virtual-time-budget=4000 --user-data-dir='" +
        (folder_ / "profile").string() + "' --window-size=" + std::to_string(width) + ",1000 " +
        flags + " --dump-dom 'file://" + page.string() + "' > '" + (folder_ / "dom.html").string() +
        "' 2> '" + (folder_ / "log").string() + "'";
    const int status = std::system(command.c_str());
    Visit visit;
    std::istringstream log(ReadFile(folder_ / "log"));
    for (std::string line; std::getline(log, line);) {
      if (line.find(":CONSOLE") != std::string::npos) visit.console += line + "\n";
    }
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << ReadFile(folder_ / "log");
    visit.dom = ReadFile(folder_ / "dom.html");
    const std::string open = "<pre id=\"probe\">";
    const size_t at = visit.dom.find(open);
    if (at != std::string::npos) {
      visit.probe =
          visit.dom.substr(at + open.size(), visit.dom.find("</pre>", at) - at - open.size());
    }
    fs::remove_all(folder_ / "profile");
    return visit;
  }

  std::string chromium_;
  fs::path folder_;
};

// The test of this test: what the page could do wrong does reach `console`.
TEST_F(BrowserTest, SeesErrors) {
  EXPECT_THAT(Open("<p>x</p><script>nothing.here()</script>").console, HasSubstr("nothing"));
  std::string html = CompareHtml(SyntheticReport::Make());
  html += "<img src='https://example.invalid/x.png'>";
  EXPECT_THAT(Open(html).console, HasSubstr("Content Security Policy"));
}

TEST_F(BrowserTest, DrawsEveryMark) {
  const CompareReport report = SyntheticReport::Make();
  const Visit visit = Open(CompareHtml(report));
  EXPECT_EQ(visit.console, "");
  const int rows = static_cast<int>(report.rows.size());
  EXPECT_EQ(CountOf(visit.dom, "<g class=\"point "), rows);
  EXPECT_EQ(CountOf(visit.dom, "<g class=\"point mr\""), 1);
  EXPECT_EQ(CountOf(visit.dom, " suggested\" data-row"), 1);
  EXPECT_EQ(CountOf(visit.dom, "class=\"bar "), 3 * rows);
  EXPECT_EQ(CountOf(visit.dom, "class=\"limit\""), rows);
  EXPECT_EQ(CountOf(visit.dom, "<path class=\"front\""), 1);
  // The front goes through every Pareto row once: one move, then lines.
  int pareto = 0;
  for (const CompareRow& row : report.rows) pareto += row.pareto && !row.is_reference;
  const size_t at = visit.dom.find("d=\"M", visit.dom.find("<path class=\"front\""));
  const std::string path = visit.dom.substr(at + 3, visit.dom.find('"', at + 3) - at - 3);
  EXPECT_EQ(CountOf(path, "M"), 1);
  EXPECT_EQ(CountOf(path, "L"), pareto - 1);
}

// Smaller is further left, closer is further down, on both axes.
TEST_F(BrowserTest, PointsAreWhereTheNumbersSay) {
  const std::string probe = R"(
    const wrong = [];
    for (const axis of ['file_bytes', 'bits_per_weight']) {
      document.querySelector(`input[value=${axis}]`).click();
      const points = [...document.querySelectorAll('.point')].map(p => {
        const box = p.querySelector('.shape').getBoundingClientRect();
        const row = report.rows[p.dataset.row];
        return {x: box.left + box.width / 2, y: box.top + box.height / 2, row};
      });
      if (points.length !== report.rows.length) wrong.push('count');
      for (const a of points) for (const b of points) {
        if (a.row[axis] < b.row[axis] && !(a.x < b.x)) wrong.push(`${axis} ${a.row.name}`);
        if (b.row.is_reference ? a.y > b.y
            : a.row.kld_mean !== null && a.row.kld_mean < b.row.kld_mean && !(a.y > b.y)) {
          wrong.push(`kld ${a.row.name} ${b.row.name}`);
        }
      }
    }
    return wrong.join('; ') || 'right';)";
  const Visit visit = Open(CompareHtml(SyntheticReport::Make()), probe);
  EXPECT_EQ(visit.console, "");
  EXPECT_EQ(visit.probe, "right");
}

// No label covers a mark or another label, and nothing makes the page scroll sideways.
TEST_F(BrowserTest, LabelsKeepClearAtEveryWidth) {
  const std::string probe = R"(
    const boxes = selector => [...document.querySelectorAll(selector)].map(e => e.getBoundingClientRect());
    const covers = (a, b) => Math.min(a.right, b.right) - Math.max(a.left, b.left) > 3 &&
                             Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 3;
    const out = [];
    for (const axis of ['file_bytes', 'bits_per_weight']) {
      document.querySelector(`input[value=${axis}]`).click();
      const labels = boxes('.scatter .label'), marks = boxes('.scatter .shape');
      let bad = 0;
      labels.forEach((label, i) => {
        for (const other of [...labels.slice(i + 1), ...marks]) bad += covers(label, other);
        if (label.left < 0 || label.right > innerWidth) bad++;
      });
      out.push(`${labels.length > 4 ? 'labels' : 'few labels'}, ${bad} covered`);
    }
    out.push(document.documentElement.scrollWidth <= innerWidth ? 'fits' : 'too wide');
    return out.join(', ');)";
  const std::string html = CompareHtml(SyntheticReport::Make());
  for (const int width : {360, 400, 768, 1280, 1920}) {
    SCOPED_TRACE(width);
    const Visit visit = Open(html, probe, width);
    EXPECT_EQ(visit.console, "");
    EXPECT_EQ(visit.probe, "labels, 0 covered, labels, 0 covered, fits");
  }
}

TEST_F(BrowserTest, SortsTheTable) {
  const std::string probe = R"(
    const button = key => document.querySelector(`.sort[data-key=${key}]`);
    const order = () => [...document.querySelectorAll('#table tbody tr')].map(r => +r.dataset.row);
    const sorted = (key, sign) => {
      const values = order().slice(1).map(i => report.rows[i][key]);
      return values.every((v, i) => i === 0 || (v - values[i - 1]) * sign >= 0);
    };
    const said = [];
    const head = key => button(key).closest('th').getAttribute('aria-sort');
    const given = order().join();
    button('kld_mean').click();
    said.push(sorted('kld_mean', 1), head('kld_mean'), order()[0]);
    button('kld_mean').click();
    said.push(sorted('kld_mean', -1), head('kld_mean'), order()[0]);
    button('kld_mean').click();
    said.push(order().join() === given, head('kld_mean'));
    button('generation_tps').click();
    said.push(sorted('generation_tps', -1), head('generation_tps'));
    button('name').click();
    const names = order().slice(1).map(i => report.rows[i].name);
    said.push(names.join() === [...names].sort().join(), head('generation_tps'));
    return said.join(' ');)";
  const Visit visit = Open(CompareHtml(SyntheticReport::Make()), probe);
  EXPECT_EQ(visit.console, "");
  EXPECT_EQ(visit.probe, "true ascending 0 true descending 0 true  true descending true ");
}

// Pointing at a point or reaching it with the keyboard shows its numbers and marks its row.
TEST_F(BrowserTest, ShowsTooltips) {
  const CompareReport report = SyntheticReport::Make();
  const std::string probe = R"(
    const tip = document.getElementById('tip');
    const said = [];
    const point = document.querySelectorAll('.point')[3];
    point.focus();
    said.push(!tip.hidden && tip.textContent.includes(report.rows[3].name) &&
              tip.textContent.includes('file MB98.0'));
    said.push(document.querySelector('#table tr.hot').dataset.row);
    const box = tip.getBoundingClientRect();
    said.push(box.left >= 0 && box.right <= innerWidth && box.top >= 0 && box.width > 50);
    document.dispatchEvent(new KeyboardEvent('keydown', {key: 'Escape'}));
    said.push(tip.hidden);
    const cell = document.querySelector('.heat td[data-tip]');
    cell.dispatchEvent(new PointerEvent('pointerover', {bubbles: true}));
    said.push(tip.textContent === cell.dataset.tip && !tip.hidden);
    document.body.dispatchEvent(new PointerEvent('pointerover', {bubbles: true}));
    said.push(tip.hidden, document.querySelectorAll('.hot').length);
    return said.join(' ');)";
  const Visit visit = Open(CompareHtml(report), probe);
  EXPECT_EQ(visit.console, "");
  EXPECT_EQ(visit.probe, "true 3 true true true true 0");
}

// Light and dark both keep text readable: contrast of at least 4.5 (WCAG 2, AA).
TEST_F(BrowserTest, TextHasContrastInBothSchemes) {
  const std::string probe = R"(
    const rgb = text => text.match(/[\d.]+/g).map(Number);
    const light = c => {
      const f = u => (u /= 255) <= .03928 ? u / 12.92 : ((u + .055) / 1.055) ** 2.4;
      return .2126 * f(c[0]) + .7152 * f(c[1]) + .0722 * f(c[2]);
    };
    const behind = e => {  // the colours of all that lies below, blended
      const layers = [];
      for (; e; e = e.parentElement) layers.unshift(rgb(getComputedStyle(e).backgroundColor));
      return layers.reduce((below, c) => {
        const a = c.length > 3 ? c[3] : 1;
        return below.map((v, i) => c[i] * a + v * (1 - a));
      }, [255, 255, 255]);
    };
    const bad = new Set();
    let seen = 0;
    for (const e of document.querySelectorAll('main *, header *, footer')) {
      const text = [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim());
      if (!text || e.closest('svg, .vh, noscript, script') || !e.checkVisibility()) continue;
      seen++;
      const [a, b] = [light(rgb(getComputedStyle(e).color)), light(behind(e))].sort((x, y) => y - x);
      if ((a + .05) / (b + .05) < 4.5) {
        bad.add(`${e.tagName}.${e.className} ${((a + .05) / (b + .05)).toFixed(2)}`);
      }
    }
    const page = light(behind(document.body)) > .5 ? 'light' : 'dark';
    return `${page} ${seen > 300} ${[...bad].join(', ')}`;)";
  const std::string html = CompareHtml(SyntheticReport::Make());
  EXPECT_EQ(Open(html, probe, 1280, "--blink-settings=preferredColorScheme=1").probe,
            "light true ");
  EXPECT_EQ(Open(html, probe, 1280, "--blink-settings=preferredColorScheme=0").probe, "dark true ");
}

// Every control has a name, every id is unique, every reference by id leads somewhere.
TEST_F(BrowserTest, IsAccessible) {
  const std::string probe = R"(
    const bad = [];
    const ids = [...document.querySelectorAll('[id]')].map(e => e.id);
    if (new Set(ids).size !== ids.length) bad.push('ids repeat');
    for (const e of document.querySelectorAll('[aria-labelledby], a[href^="#"]')) {
      const id = e.getAttribute('aria-labelledby') || e.getAttribute('href').slice(1);
      if (!document.getElementById(id)) bad.push(`no ${id}`);
    }
    for (const e of document.querySelectorAll('button, a, summary, [tabindex], input, section')) {
      const by = document.getElementById(e.getAttribute('aria-labelledby'));
      const name = e.getAttribute('aria-label') || (by || e.closest('label') || e).textContent.trim();
      if (!name) bad.push(`${e.tagName} has no name`);
    }
    for (const e of document.querySelectorAll('svg:not([aria-hidden=true])')) {
      if (!e.getAttribute('aria-label')) bad.push('picture without a name');
    }
    for (const table of document.querySelectorAll('table')) {
      if (!table.caption) bad.push('table without caption');
      if (table.querySelector('th:not([scope])')) bad.push('heading without scope');
    }
    if (document.querySelectorAll('h1').length !== 1) bad.push('h1');
    if (!document.documentElement.lang || !document.title) bad.push('language or title');
    return bad.join(', ') || 'fine';)";
  EXPECT_EQ(Open(CompareHtml(SyntheticReport::Make()), probe).probe, "fine");
}

TEST_F(BrowserTest, HostileTextsStayText) {
  CompareReport report = SyntheticReport::Make();
  const std::string hostile =
      "</script></title></style><script>document.title='taken'</script><img src=x "
      "onerror=\"document.title='taken'\">' \" onmouseover=alert(1) <!-- {{json}} \xff \x01";
  report.model = report.note = report.text_file = report.version = hostile;
  for (size_t i = 0; i < report.rows.size(); ++i) {
    CompareRow& row = report.rows[i];
    row.name = row.grid = hostile + std::to_string(i);
    row.method = hostile + std::to_string(i % 9);
    for (LayerError& error : row.errors) error.tensor = hostile + error.tensor;
    for (Sample& sample : row.samples) {
      sample.prompt += hostile;
      sample.completion += hostile;
    }
  }
  const std::string probe = R"(
    document.querySelectorAll('.point')[2].focus();
    const tip = document.getElementById('tip').innerHTML;
    return [document.title !== 'taken', document.querySelectorAll('img').length,
            document.scripts.length, document.querySelectorAll('[onerror], [onmouseover]').length,
            tip.includes('&lt;') && !tip.includes('<img')].join(' ');)";
  const Visit visit = Open(CompareHtml(report), probe);
  EXPECT_EQ(visit.console, "");
  EXPECT_EQ(CountOf(visit.dom, "<g class=\"point "), static_cast<int>(report.rows.size()));
  EXPECT_EQ(visit.probe, "true 0 4 0 true");  // the data, two scripts, the probe
}

TEST_F(BrowserTest, TakesReportsWithHoles) {
  CompareReport report;
  EXPECT_EQ(Open(CompareHtml(report)).console, "");
  report = SyntheticReport::Make();
  for (CompareRow& row : report.rows) row.quality.has_reference = false;
  Visit visit = Open(CompareHtml(report));
  EXPECT_EQ(visit.console, "");
  EXPECT_EQ(CountOf(visit.dom, "<g class=\"point "), 0);
  EXPECT_THAT(visit.dom, HasSubstr("nothing to draw"));

  report = SyntheticReport::Make();
  report.rows[1].quality.kld_mean.value = std::nan("");
  report.rows[2].quality.kld_mean.value = 0;  // identical: in the band of the reference
  report.rows.resize(4);
  visit = Open(CompareHtml(report));
  EXPECT_EQ(visit.console, "");
  EXPECT_EQ(CountOf(visit.dom, "<g class=\"point "), 3);
  EXPECT_THAT(visit.dom, HasSubstr("not measured: q8_0 rtn."));
  EXPECT_THAT(visit.dom, Not(HasSubstr("NaN")));
}

}  // namespace
}  // namespace halftone
