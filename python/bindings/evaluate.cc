// halftone/evaluate.h: quality and speed.

#include "halftone/evaluate.h"

#include <nanobind/nanobind.h>
#include <nanobind/stl/filesystem.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>

#include "python/bindings/bindings.h"
#include "python/bindings/call.h"
#include "python/bindings/options.h"

namespace halftone::python {
namespace {

using Path = std::filesystem::path;

EvaluateReport EvaluateModel(const Path& model, const Path& text_file,
                             const std::optional<Path>& reference,
                             const std::optional<Path>& adapter,
                             const std::optional<Path>& reference_adapter, int64_t context,
                             int64_t chunks, const std::optional<Precision>& precision,
                             const std::string& activations, const std::string& kv_grid,
                             int threads, std::optional<Callback> callback) {
  CallProgress progress(std::move(callback));
  EvaluateOptions options;
  options.adapter = TextOf(adapter);
  options.reference_adapter = TextOf(reference_adapter);
  options.context = context;
  options.chunks = chunks;
  options.threads = threads;
  if (precision) options.precision = *precision;
  options.activations = ActivationsNamed(activations);
  options.kv_grid = kv_grid;
  options.progress = &progress;
  return Call(progress, [&] {
    if (reference) options.reference = Located(*reference, progress);
    return Evaluate(Located(model, progress), text_file.string(), options);
  });
}

BenchReport BenchModel(const Path& model, int64_t prompt, int64_t generate, int repeats,
                       int64_t depth, int64_t sequences, const std::optional<Precision>& precision,
                       const std::string& activations, const std::string& kv_grid, int threads,
                       std::optional<Callback> callback) {
  CallProgress progress(std::move(callback));
  BenchOptions options;
  options.prompt = prompt;
  options.generate = generate;
  options.repeats = repeats;
  options.depth = depth;
  options.sequences = sequences;
  options.threads = threads;
  if (precision) options.precision = *precision;
  options.activations = ActivationsNamed(activations);
  options.kv_grid = kv_grid;
  options.progress = &progress;
  return Call(progress, [&] { return Bench(Located(model, progress), options); });
}

void BindReports(nb::module_& module) {
  auto estimate = nb::class_<Estimate>(module, "Estimate", "A mean and its standard error.")
                      .def_ro("value", &Estimate::value)
                      .def_ro("error", &Estimate::error)
                      .def("__float__", [](const Estimate& e) { return e.value; });
  AddRepr(estimate, {"value", "error"});

  auto report = nb::class_<EvaluateReport>(module, "EvaluateReport", "What evaluate() measured.")
                    .def_ro("chunks", &EvaluateReport::chunks)
                    .def_ro("tokens", &EvaluateReport::tokens)
                    .def_ro("perplexity", &EvaluateReport::perplexity)
                    .def_ro("seconds", &EvaluateReport::seconds)
                    .def_ro("has_reference", &EvaluateReport::has_reference)
                    .def_ro("reference_perplexity", &EvaluateReport::reference_perplexity)
                    .def_ro("kld_mean", &EvaluateReport::kld_mean)
                    .def_ro("kld_median", &EvaluateReport::kld_median)
                    .def_ro("kld_p99", &EvaluateReport::kld_p99)
                    .def_ro("kld_max", &EvaluateReport::kld_max)
                    .def_ro("same_top1", &EvaluateReport::same_top1)
                    .def_ro("rms_delta_p", &EvaluateReport::rms_delta_p);
  AddRepr(report, {"perplexity", "has_reference", "kld_mean", "same_top1", "tokens"});

  auto speed = nb::class_<BenchReport>(module, "BenchReport", "What bench() measured.")
                   .def_ro("prompt_tps", &BenchReport::prompt_tps)
                   .def_ro("generation_tps", &BenchReport::generation_tps)
                   .def_ro("sequences_tps", &BenchReport::sequences_tps)
                   .def_ro("load_seconds", &BenchReport::load_seconds)
                   .def_ro("peak_bytes", &BenchReport::peak_bytes)
                   .def_ro("weight_bytes", &BenchReport::weight_bytes)
                   .def_ro("kv_cache_bytes", &BenchReport::kv_cache_bytes)
                   .def_ro("read_gbps", &BenchReport::read_gbps)
                   .def_ro("machine_gbps", &BenchReport::machine_gbps)
                   .def_ro("threads", &BenchReport::threads);
  AddRepr(speed, {"prompt_tps", "generation_tps", "weight_bytes", "threads"});
}

}  // namespace

void BindEvaluate(nb::module_& module) {
  BindReports(module);

  const EvaluateOptions e;
  module.def(
      "evaluate", EvaluateModel, nb::arg("model"), nb::arg("text_file"), nb::kw_only(),
      nb::arg("reference") = nb::none(), nb::arg("adapter") = nb::none(),
      nb::arg("reference_adapter") = nb::none(), nb::arg("context") = e.context,
      nb::arg("chunks") = e.chunks, nb::arg("precision") = nb::none(),
      nb::arg("activations") = NameOf(e.activations), nb::arg("kv_grid") = e.kv_grid,
      nb::arg("threads") = e.threads, nb::arg("progress") = nb::none(),
      "Perplexity of a model on a text, and with a reference how far its predictions are\n"
      "from that model's. text_file: text, or chats in JSON lines. adapter: a LoRA beside the\n"
      "model's weights, peft's folder or a .gguf, and reference_adapter beside the reference's.\n"
      "chunks: of so many tokens of context each; 0: all.");

  const BenchOptions b;
  module.def("bench", BenchModel, nb::arg("model"), nb::kw_only(), nb::arg("prompt") = b.prompt,
             nb::arg("generate") = b.generate, nb::arg("repeats") = b.repeats,
             nb::arg("depth") = b.depth, nb::arg("sequences") = b.sequences,
             nb::arg("precision") = nb::none(), nb::arg("activations") = NameOf(b.activations),
             nb::arg("kv_grid") = b.kv_grid, nb::arg("threads") = b.threads,
             nb::arg("progress") = nb::none(),
             "Tokens a second of a prompt and of generation, median of the repeats.");
}

}  // namespace halftone::python
