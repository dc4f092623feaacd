// halftone/finetune.h: training an adapter beside a model, putting it into the weights.

#include "halftone/finetune.h"

#include <nanobind/nanobind.h>
#include <nanobind/stl/filesystem.h>
#include <nanobind/stl/function.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <functional>

#include "python/bindings/bindings.h"
#include "python/bindings/call.h"
#include "python/bindings/options.h"

namespace halftone::python {
namespace {

using Path = std::filesystem::path;

Checkpointing CheckpointingNamed(const std::string& name) {
  if (name == "auto") return Checkpointing::kAuto;
  if (name == "on") return Checkpointing::kOn;
  if (name == "off") return Checkpointing::kOff;
  throw Error(Error::Kind::kUsage, "checkpointing is 'auto', 'on' or 'off', not '" + name + "'");
}

FinetuneReport FinetuneModel(const Path& model, const Path& data, const Path& output,
                             const std::optional<Path>& held_out, double held_out_share,
                             int64_t evaluate_every, int64_t context, bool refuse_long,
                             int64_t rank, double alpha, const std::vector<std::string>& targets,
                             double dropout, bool mergeable, const std::optional<Path>& adapter,
                             const std::string& adapter_type, double epochs, int64_t steps,
                             int64_t batch, int64_t accumulate, double learning_rate, double warmup,
                             double weight_decay, double clip, bool optimizer_8bit,
                             const std::string& checkpointing, uint64_t seed,
                             const std::string& activations, bool load_in_4bit, bool resume,
                             int threads, std::optional<Callback> callback) {
  CallProgress progress(std::move(callback));
  FinetuneOptions options;
  options.data = data.string();
  options.held_out = TextOf(held_out);
  options.held_out_share = held_out_share;
  options.evaluate_every = evaluate_every;
  options.context = context;
  options.refuse_long = refuse_long;
  options.rank = rank;
  options.alpha = alpha;
  for (const std::string& target : targets) {
    if (target != "all-linear") options.targets.push_back(target);
  }
  options.dropout = dropout;
  options.mergeable = mergeable;
  options.adapter_type = adapter_type;
  options.adapter = TextOf(adapter);
  options.epochs = epochs;
  options.steps = steps;
  options.batch = batch;
  options.accumulate = accumulate;
  options.learning_rate = learning_rate;
  options.warmup = warmup;
  options.weight_decay = weight_decay;
  options.clip = clip;
  options.moments8 = optimizer_8bit;
  options.checkpointing = CheckpointingNamed(checkpointing);
  options.seed = seed;
  options.activations = ActivationsNamed(activations);
  if (load_in_4bit) options.precision.load_in = LoadIn::k4Bit;
  options.resume = resume;
  options.threads = threads;
  options.progress = &progress;
  return Call(progress,
              [&] { return Finetune(Located(model, progress), output.string(), options); });
}

MergeReport MergeAdapter(const Path& model, const Path& adapter, const Path& output,
                         const std::string& grid, const std::string& method,
                         const std::string& container, const std::optional<Path>& calibration,
                         const std::vector<std::string>& compare, const std::optional<Path>& text,
                         int64_t context, int64_t chunks, int threads,
                         std::optional<Callback> callback) {
  CallProgress progress(std::move(callback));
  MergeOptions options;
  options.adapter = adapter.string();
  options.grid = grid;
  options.method = method;
  options.container = container;
  options.calibration = TextOf(calibration);
  options.compare = compare;
  options.text = TextOf(text);
  options.context = context;
  options.chunks = chunks;
  options.threads = threads;
  options.progress = &progress;
  return Call(progress, [&] { return Merge(Located(model, progress), output.string(), options); });
}

void BindReports(nb::module_& module) {
  auto point = nb::class_<FinetunePoint>(module, "FinetunePoint", "A step of training.")
                   .def_ro("step", &FinetunePoint::step)
                   .def_ro("loss", &FinetunePoint::loss)
                   .def_ro("norm", &FinetunePoint::norm)
                   .def_ro("learning_rate", &FinetunePoint::learning_rate)
                   .def_ro("tokens", &FinetunePoint::tokens)
                   .def_ro("seconds", &FinetunePoint::seconds);
  AddRepr(point, {"step", "loss", "learning_rate", "tokens"});
  auto held_out = nb::class_<HeldOutPoint>(module, "HeldOutPoint", "An evaluation meanwhile.")
                      .def_ro("step", &HeldOutPoint::step)
                      .def_ro("loss", &HeldOutPoint::loss);
  AddRepr(held_out, {"step", "loss"});
  auto report = nb::class_<FinetuneReport>(module, "FinetuneReport", "What finetune() did.")
                    .def_ro("output", &FinetuneReport::output)
                    .def_ro("examples", &FinetuneReport::examples)
                    .def_ro("held_out_examples", &FinetuneReport::held_out_examples)
                    .def_ro("truncated", &FinetuneReport::truncated)
                    .def_ro("dropped", &FinetuneReport::dropped)
                    .def_ro("trained", &FinetuneReport::trained)
                    .def_ro("tokens", &FinetuneReport::tokens)
                    .def_ro("seconds", &FinetuneReport::seconds)
                    .def_ro("tokens_per_second", &FinetuneReport::tokens_per_second)
                    .def_ro("peak_bytes", &FinetuneReport::peak_bytes)
                    .def_ro("checkpointing", &FinetuneReport::checkpointing)
                    .def_ro("points", &FinetuneReport::points)
                    .def_ro("held_out", &FinetuneReport::held_out)
                    .def("svg", &FinetuneSvg, "The curve of the loss, as a picture.")
                    .def("json", &FinetuneJson);
  AddRepr(report, {"output", "examples", "trained", "tokens", "tokens_per_second"});

  auto choice = nb::class_<MergeChoice>(module, "MergeChoice", "A way of keeping merged weights.")
                    .def_ro("grid", &MergeChoice::grid)
                    .def_ro("method", &MergeChoice::method)
                    .def_ro("moved", &MergeChoice::moved)
                    .def_ro("file_bytes", &MergeChoice::file_bytes)
                    .def_ro("quality", &MergeChoice::quality)
                    .def_ro("kept", &MergeChoice::kept);
  AddRepr(choice, {"grid", "method", "file_bytes", "kept"});
  auto merged = nb::class_<MergeReport>(module, "MergeReport", "What merge() wrote.")
                    .def_ro("output", &MergeReport::output)
                    .def_ro("choices", &MergeReport::choices)
                    .def_ro("seconds", &MergeReport::seconds);
  AddRepr(merged, {"output", "choices"});
}

}  // namespace

void BindFinetune(nb::module_& module) {
  BindReports(module);

  const FinetuneOptions f;
  module.def(
      "finetune", FinetuneModel, nb::arg("model"), nb::arg("data"), nb::arg("output"),
      nb::kw_only(), nb::arg("held_out") = nb::none(), nb::arg("held_out_share") = f.held_out_share,
      nb::arg("evaluate_every") = f.evaluate_every, nb::arg("context") = f.context,
      nb::arg("refuse_long") = f.refuse_long, nb::arg("rank") = f.rank, nb::arg("alpha") = f.alpha,
      nb::arg("targets") = f.targets, nb::arg("dropout") = f.dropout,
      nb::arg("mergeable") = f.mergeable, nb::arg("adapter") = nb::none(),
      nb::arg("adapter_type") = f.adapter_type, nb::arg("epochs") = f.epochs,
      nb::arg("steps") = f.steps, nb::arg("batch") = f.batch, nb::arg("accumulate") = f.accumulate,
      nb::arg("learning_rate") = f.learning_rate, nb::arg("warmup") = f.warmup,
      nb::arg("weight_decay") = f.weight_decay, nb::arg("clip") = f.clip,
      nb::arg("optimizer_8bit") = f.moments8, nb::arg("checkpointing") = "auto",
      nb::arg("seed") = f.seed, nb::arg("activations") = NameOf(f.activations),
      nb::arg("load_in_4bit") = false, nb::arg("resume") = f.resume, nb::arg("threads") = f.threads,
      nb::arg("progress") = nb::none(),
      "Trains a LoRA adapter beside a model whose weights stay as they are.\n\n"
      "data: text, or JSON lines of which what an assistant says counts. output: the folder that\n"
      "peft loads, with adapter.gguf for llama.cpp. targets: names of layers, 'q_proj'; empty: "
      "all\n"
      "linear layers. dropout: share of what meets the adapter that a step leaves out.\n"
      "mergeable: trains what merge(grid='same') puts into offsets without rounding weights "
      "again.\n"
      "adapter_type: of the numbers written, 'f32', 'bf16' or 'f16'.\n"
      "load_in_4bit: rounds the weights while loading, as from_pretrained does. "
      "resume: goes on where an interrupted run ended. progress: called with task, done and "
      "total.");

  const MergeOptions m;
  module.def("merge", MergeAdapter, nb::arg("model"), nb::arg("adapter"), nb::arg("output"),
             nb::kw_only(), nb::arg("grid") = "f16", nb::arg("method") = "",
             nb::arg("container") = "", nb::arg("calibration") = nb::none(),
             nb::arg("compare") = m.compare, nb::arg("text") = nb::none(),
             nb::arg("context") = m.context, nb::arg("chunks") = m.chunks,
             nb::arg("threads") = m.threads, nb::arg("progress") = nb::none(),
             "Writes the model with the adapter put into its weights, and measures what that and\n"
             "the grids of compare cost against the adapter beside them.");
}

}  // namespace halftone::python
