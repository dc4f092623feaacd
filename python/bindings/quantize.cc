// halftone/quantize.h: quantizing, converting, importance matrices.

#include "halftone/quantize.h"

#include <nanobind/nanobind.h>
#include <nanobind/stl/filesystem.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "python/bindings/bindings.h"
#include "python/bindings/call.h"

namespace halftone::python {
namespace {

using Path = std::filesystem::path;

// `dry_run`: says what would be written, and writes nothing.
QuantizeReport QuantizeModel(const Path& model, const std::optional<Path>& output,
                             const std::string& grid, uint64_t target_bytes, double target_bits,
                             uint64_t target_memory, int64_t target_context,
                             const std::string& method, const std::string& container,
                             const std::optional<Path>& imatrix, const std::optional<Path>& adapter,
                             const std::optional<Path>& calibration, int64_t context,
                             int64_t calibration_chunks, bool act_order, bool resume,
                             uint64_t split_bytes, bool dry_run, int threads,
                             std::optional<Callback> callback) {
  CallProgress progress(std::move(callback));
  QuantizeOptions options;
  options.grid = grid;
  options.target_bytes = target_bytes;
  options.target_bits = target_bits;
  options.target_memory = target_memory;
  options.target_context = target_context;
  options.method = method;
  options.container = container;
  options.imatrix = TextOf(imatrix);
  options.adapter = TextOf(adapter);
  options.calibration = TextOf(calibration);
  options.context = context;
  options.calibration_chunks = calibration_chunks;
  options.act_order = act_order;
  options.resume = resume;
  options.split_bytes = split_bytes;
  options.threads = threads;
  options.progress = &progress;
  if (!output && !dry_run) {
    throw Error(Error::Kind::kUsage, "give an output, or dry_run=True to write nothing");
  }
  return Call(progress, [&] {
    const std::string input = Located(model, progress);
    return dry_run ? PlanQuantize(input, options) : Quantize(input, output->string(), options);
  });
}

ConvertReport ConvertModel(const Path& model, const Path& output, const std::string& container,
                           bool requantize, uint64_t split_bytes, int threads,
                           std::optional<Callback> callback) {
  CallProgress progress(std::move(callback));
  ConvertOptions options;
  options.container = container;
  options.requantize = requantize;
  options.split_bytes = split_bytes;
  options.threads = threads;
  options.progress = &progress;
  return Call(progress,
              [&] { return Convert(Located(model, progress), output.string(), options); });
}

ImatrixReport MeasureImatrix(const Path& model, const Path& text_file, const Path& output,
                             const std::optional<Path>& adapter, int64_t context, int64_t chunks,
                             bool process_output, int threads, std::optional<Callback> callback) {
  CallProgress progress(std::move(callback));
  ImatrixOptions options;
  options.adapter = TextOf(adapter);
  options.context = context;
  options.chunks = chunks;
  options.process_output = process_output;
  options.threads = threads;
  options.progress = &progress;
  return Call(progress, [&] {
    return ComputeImatrix(Located(model, progress), text_file.string(), output.string(), options);
  });
}

void BindReports(nb::module_& module) {
  auto tensor = nb::class_<QuantizedTensor>(module, "QuantizedTensor", "What became of a tensor.")
                    .def_prop_ro("name", FileTextOf<&QuantizedTensor::name, QuantizedTensor>)
                    .def_ro("shape", &QuantizedTensor::shape)
                    .def_ro("source_grid", &QuantizedTensor::source_grid)
                    .def_ro("grid", &QuantizedTensor::grid)
                    .def_ro("bytes", &QuantizedTensor::bytes)
                    .def_ro("relative_error", &QuantizedTensor::relative_error)
                    .def_ro("output_error", &QuantizedTensor::output_error)
                    .def_ro("output_error_rtn", &QuantizedTensor::output_error_rtn)
                    .def_ro("damping", &QuantizedTensor::damping)
                    .def_ro("seconds", &QuantizedTensor::seconds)
                    .def_ro("note", &QuantizedTensor::note);
  AddRepr(tensor, {"name", "shape", "source_grid", "grid", "relative_error", "note"});

  auto report = nb::class_<QuantizeReport>(module, "QuantizeReport", "What quantize() wrote.")
                    .def_ro("output", &QuantizeReport::output)
                    .def_ro("grid", &QuantizeReport::grid)
                    .def_ro("method", &QuantizeReport::method)
                    .def_ro("container", &QuantizeReport::container)
                    .def_ro("file_bytes", &QuantizeReport::file_bytes)
                    .def_ro("tensor_bytes", &QuantizeReport::tensor_bytes)
                    .def_ro("bits_per_weight", &QuantizeReport::bits_per_weight)
                    .def_ro("seconds", &QuantizeReport::seconds)
                    .def_ro("tensors", &QuantizeReport::tensors);
  AddRepr(report, {"output", "grid", "method", "container", "file_bytes", "bits_per_weight"});

  auto converted =
      nb::class_<ConvertReport, QuantizeReport>(module, "ConvertReport", "What convert() wrote.")
          .def_ro("exact", &ConvertReport::exact)
          .def_ro("reexpressed", &ConvertReport::reexpressed)
          .def_ro("rounded", &ConvertReport::rounded)
          .def_ro("relative_change", &ConvertReport::relative_change);
  AddRepr(converted, {"output", "container", "file_bytes", "exact", "reexpressed", "rounded",
                      "relative_change"});

  auto imatrix = nb::class_<ImatrixReport>(module, "ImatrixReport", "What imatrix() measured.")
                     .def_ro("tokens", &ImatrixReport::tokens)
                     .def_ro("chunks", &ImatrixReport::chunks)
                     .def_ro("entries", &ImatrixReport::entries)
                     .def_ro("seconds", &ImatrixReport::seconds);
  AddRepr(imatrix, {"tokens", "chunks", "entries", "seconds"});
}

}  // namespace

void BindQuantize(nb::module_& module) {
  BindReports(module);

  const QuantizeOptions q;
  module.def(
      "quantize", QuantizeModel, nb::arg("model"), nb::arg("output") = nb::none(), nb::kw_only(),
      nb::arg("grid") = "", nb::arg("target_bytes") = q.target_bytes,
      nb::arg("target_bits") = q.target_bits, nb::arg("target_memory") = q.target_memory,
      nb::arg("target_context") = q.target_context, nb::arg("method") = "",
      nb::arg("container") = "", nb::arg("imatrix") = nb::none(), nb::arg("adapter") = nb::none(),
      nb::arg("calibration") = nb::none(), nb::arg("context") = q.context,
      nb::arg("calibration_chunks") = q.calibration_chunks, nb::arg("act_order") = q.act_order,
      nb::arg("resume") = q.resume, nb::arg("split_bytes") = q.split_bytes,
      nb::arg("dry_run") = false, nb::arg("threads") = q.threads, nb::arg("progress") = nb::none(),
      "Quantizes a model to a new file or folder, which appears whole or not at all.\n\n"
      "grid: a grid or preset, 'q4_k_m', 'int4:g128'; or one of the targets, which choose the "
      "grid\n"
      "of each tensor: target_bytes of the file, target_bits for each weight, target_memory of a\n"
      "running model with target_context tokens. method: empty: best where there is calibration\n"
      "text, imatrix where there is an imatrix file, else rtn. container: empty: the first that\n"
      "holds the grid. adapter: a LoRA that is put into the weights first. dry_run: says what "
      "would be written, and writes nothing. progress: called\n"
      "with task, done and total.");

  const ConvertOptions c;
  module.def("convert", ConvertModel, nb::arg("model"), nb::arg("output"), nb::kw_only(),
             nb::arg("container") = "gguf", nb::arg("requantize") = c.requantize,
             nb::arg("split_bytes") = c.split_bytes, nb::arg("threads") = c.threads,
             nb::arg("progress") = nb::none(),
             "Writes a model in another container, with the same codes and scales; what that\n"
             "container cannot hold is refused, or with requantize rounded anew.");

  const ImatrixOptions i;
  module.def(
      "imatrix", MeasureImatrix, nb::arg("model"), nb::arg("text_file"), nb::arg("output"),
      nb::kw_only(), nb::arg("adapter") = nb::none(), nb::arg("context") = i.context,
      nb::arg("chunks") = i.chunks, nb::arg("process_output") = i.process_output,
      nb::arg("threads") = i.threads, nb::arg("progress") = nb::none(),
      "Measures the mean squares of the activations that meet each weight while the model\n"
      "reads a text, and writes them as llama.cpp does. adapter: a LoRA beside its weights.");
}

}  // namespace halftone::python
