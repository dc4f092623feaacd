// training.json and loss.svg: the numbers of a training, and a picture of them that stands alone,
// for light and dark pages.

#include "pipeline/finetune_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/json.h"
#include "pipeline/report_text.h"

namespace halftone {
namespace {

// ---- The picture ----

constexpr double kWidth = 720, kHeight = 360;
constexpr double kLeft = 56, kRight = 20, kTop = 44, kBottom = 44;

// Values between which an axis shows round ticks.
struct Axis {
  double low = 0, high = 1, tick = 1;
};

// About `ticks` steps of 1, 2 or 5 times a power of ten.
Axis AxisOver(double low, double high, int ticks) {
  if (!(high > low)) high = low + 1;
  const double raw = (high - low) / ticks;
  const double power = std::pow(10, std::floor(std::log10(raw)));
  double tick = 10 * power;
  for (const double step : {1.0, 2.0, 5.0}) {
    if (step * power >= raw) {
      tick = step * power;
      break;
    }
  }
  return {std::floor(low / tick) * tick, std::ceil(high / tick) * tick, tick};
}

class Picture {
 public:
  Picture(const Axis& steps, const Axis& losses) : steps_(steps), losses_(losses) {}

  double X(double step) const {
    return kLeft + (step - steps_.low) / (steps_.high - steps_.low) * (kWidth - kLeft - kRight);
  }
  double Y(double loss) const {
    return kHeight - kBottom -
           (loss - losses_.low) / (losses_.high - losses_.low) * (kHeight - kTop - kBottom);
  }

  std::string Grid() const {
    std::string svg;
    for (double y = losses_.low; y <= losses_.high + losses_.tick / 2; y += losses_.tick) {
      svg += fmt::format(
          "<line class=\"grid\" x1=\"{:.1f}\" y1=\"{:.1f}\" x2=\"{:.1f}\" y2=\"{:.1f}\"/>"
          "<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"end\">{:g}</text>\n",
          kLeft, Y(y), kWidth - kRight, Y(y), kLeft - 8, Y(y) + 4, y);
    }
    for (double x = steps_.low; x <= steps_.high + steps_.tick / 2; x += steps_.tick) {
      svg += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"middle\">{:g}</text>\n",
                         X(x), kHeight - kBottom + 20, x);
    }
    return svg + fmt::format(
                     "<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"middle\">step</text>\n"
                     "<text x=\"12\" y=\"{:.1f}\">loss, nats per token</text>\n",
                     (kLeft + kWidth - kRight) / 2, kHeight - 8, kTop - 24);
  }

  using Points = std::vector<std::pair<double, double>>;
  std::string Line(const char* kind, const Points& points) const {
    std::string path;
    for (const auto& [x, y] : points) {
      path += fmt::format("{}{:.1f},{:.1f}", path.empty() ? "" : " ", X(x), Y(y));
    }
    return fmt::format("<polyline class=\"{}\" points=\"{}\"/>\n", kind, path);
  }
  std::string Marks(const Points& points) const {
    std::string svg;
    for (const auto& [x, y] : points) {
      svg += fmt::format(
          "<circle class=\"mark\" cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"3.5\"><title>step {:g}: "
          "{:.4f}</title></circle>\n",
          X(x), Y(y), x, y);
    }
    return svg;
  }

 private:
  Axis steps_, losses_;
};

// Each step's loss and those of the last ones, weighed down by a tenth each.
Picture::Points Smoothed(const Picture::Points& points) {
  Picture::Points smooth;
  double mean = points.empty() ? 0 : points[0].second;
  for (const auto& [x, y] : points) {
    mean += 0.1 * (y - mean);
    smooth.emplace_back(x, mean);
  }
  return smooth;
}

constexpr std::string_view kStyle =
    "<style>text{font:12px system-ui,sans-serif;fill:#555}.grid{stroke:#ddd}"
    "polyline{fill:none;stroke-width:2;stroke-linejoin:round}.step{stroke:#9bb8d3;stroke-width:1}"
    ".smooth{stroke:#2166ac}.held{stroke:#d6604d}.mark{fill:#d6604d}"
    "@media (prefers-color-scheme:dark){text{fill:#aaa}.grid{stroke:#333}"
    ".step{stroke:#3d5a73}.smooth{stroke:#74add1}}</style>\n";

std::string Legend(bool held_out) {
  std::string svg = fmt::format(
      "<polyline class=\"smooth\" points=\"{0},{1} {2},{1}\"/><text x=\"{3}\" y=\"{4}\">training "
      "(smoothed; thin: each step)</text>\n",
      kWidth - 420, kTop - 28, kWidth - 396, kWidth - 390, kTop - 24);
  if (held_out) {
    svg += fmt::format(
        "<polyline class=\"held\" points=\"{0},{1} {2},{1}\"/><text x=\"{3}\" y=\"{4}\">held "
        "out</text>\n",
        kWidth - 130, kTop - 28, kWidth - 106, kWidth - 100, kTop - 24);
  }
  return svg;
}

}  // namespace

std::string FinetuneSvg(const FinetuneReport& report) {
  Picture::Points steps, held_out;
  double low = INFINITY, high = -INFINITY;
  const auto add = [&](Picture::Points& points, int64_t step, double loss) {
    if (!std::isfinite(loss)) return;
    points.emplace_back(static_cast<double>(step), loss);
    low = std::min(low, loss);
    high = std::max(high, loss);
  };
  for (const FinetunePoint& point : report.points) add(steps, point.step, point.loss);
  for (const HeldOutPoint& point : report.held_out) add(held_out, point.step, point.loss);
  if (!(low <= high)) low = 0, high = 1;
  const auto last = report.points.empty() ? 1 : report.points.back().step;
  const Picture picture(AxisOver(0, static_cast<double>(last), 8), AxisOver(low, high, 5));
  return fmt::format(
             "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0} {1}\" width=\"{0}\" "
             "height=\"{1}\" role=\"img\" aria-label=\"Loss by step\">\n",
             kWidth, kHeight) +
         std::string(kStyle) + picture.Grid() + picture.Line("step", steps) +
         picture.Line("smooth", Smoothed(steps)) + picture.Line("held", held_out) +
         picture.Marks(held_out) + Legend(!held_out.empty()) + "</svg>\n";
}

// ---- The numbers ----

std::string FinetuneJson(const FinetuneReport& report) {
  OrderedJson points = OrderedJson::array(), held_out = OrderedJson::array();
  for (const FinetunePoint& p : report.points) {
    points.push_back({{"step", p.step},
                      {"loss", p.loss},
                      {"norm", p.norm},
                      {"learning_rate", p.learning_rate},
                      {"tokens", p.tokens},
                      {"seconds", p.seconds}});
  }
  for (const HeldOutPoint& p : report.held_out) {
    held_out.push_back({{"step", p.step}, {"loss", p.loss}, {"perplexity", std::exp(p.loss)}});
  }
  const OrderedJson json = {{"output", report.output},
                            {"examples", report.examples},
                            {"held_out_examples", report.held_out_examples},
                            {"truncated", report.truncated},
                            {"dropped", report.dropped},
                            {"trained", report.trained},
                            {"tokens", report.tokens},
                            {"seconds", report.seconds},
                            {"tokens_per_second", report.tokens_per_second},
                            {"peak_bytes", report.peak_bytes},
                            {"checkpointing", report.checkpointing},
                            {"points", points},
                            {"held_out", held_out}};
  return json.dump(1, ' ', false, OrderedJson::error_handler_t::replace);
}

void ReadCurve(const std::string& text, FinetuneReport& report) {
  const Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object() || !json.contains("points") || !json.contains("held_out")) return;
  const auto number = [](const Json& point, const char* key) {
    return point.contains(key) && point[key].is_number() ? point[key].get<double>() : NAN;
  };
  for (const Json& p : json["points"]) {
    report.points.push_back({static_cast<int64_t>(number(p, "step")), number(p, "loss"),
                             number(p, "norm"), number(p, "learning_rate"),
                             static_cast<int64_t>(number(p, "tokens")), number(p, "seconds")});
    report.tokens += report.points.back().tokens;
    report.seconds += report.points.back().seconds;
  }
  for (const Json& p : json["held_out"]) {
    report.held_out.push_back({static_cast<int64_t>(number(p, "step")), number(p, "loss")});
  }
}

}  // namespace halftone
