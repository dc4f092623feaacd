// halftone/compare.h.

#include "halftone/compare.h"

#include <nanobind/nanobind.h>
#include <nanobind/stl/filesystem.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <fstream>

#include "python/bindings/bindings.h"
#include "python/bindings/call.h"

namespace halftone::python {
namespace {

using Path = std::filesystem::path;

CompareReport CompareModel(const Path& model, const Path& text_file, const Path& output_dir,
                           const std::vector<std::string>& grids,
                           const std::vector<std::string>& methods,
                           const std::optional<Path>& calibration, bool keep_files, int64_t context,
                           int64_t chunks, const std::vector<std::string>& prompts,
                           int64_t sample_tokens, const std::string& note, int threads,
                           std::optional<Callback> callback) {
  CallProgress progress(std::move(callback));
  CompareOptions options;
  options.grids = grids;
  options.methods = methods;
  options.text_file = text_file.string();
  options.calibration = TextOf(calibration);
  options.output_dir = output_dir.string();
  options.keep_files = keep_files;
  options.context = context;
  options.chunks = chunks;
  options.prompts = prompts;
  options.sample_tokens = sample_tokens;
  options.threads = threads;
  options.note = note;
  options.progress = &progress;
  return Call(progress, [&] { return Compare(Located(model, progress), options); });
}

void Write(const Path& path, const std::string& text) {
  std::ofstream file(path, std::ios::binary);
  if (!(file << text) || !file.flush()) {
    throw Error(Error::Kind::kIo, path.string() + ": cannot be written");
  }
}

void Save(const CompareReport& report, const Path& path) {
  const Path ending = path.extension();
  if (ending == ".html") return Write(path, CompareHtml(report));
  if (ending == ".json") return Write(path, CompareJson(report));
  if (ending == ".csv") return Write(path, CompareCsv(report));
  throw Error(Error::Kind::kUsage, path.string() + ": ends neither in .html, .json nor .csv");
}

void BindRow(nb::module_& module) {
  auto layer = nb::class_<LayerError>(module, "LayerError", "The relative error of a tensor.")
                   .def_ro("layer", &LayerError::layer)
                   .def_prop_ro("tensor", FileTextOf<&LayerError::tensor, LayerError>)
                   .def_ro("relative_error", &LayerError::relative_error);
  AddRepr(layer, {"layer", "tensor", "relative_error"});

  auto sample = nb::class_<Sample>(module, "Sample", "How a variant completes a prompt.")
                    .def_ro("prompt", &Sample::prompt)
                    .def_prop_ro("completion", FileTextOf<&Sample::completion, Sample>);
  AddRepr(sample, {"prompt", "completion"});

  auto row = nb::class_<CompareRow>(module, "CompareRow", "A variant; the reference comes first.")
                 .def_ro("name", &CompareRow::name)
                 .def_ro("grid", &CompareRow::grid)
                 .def_ro("method", &CompareRow::method)
                 .def_ro("is_reference", &CompareRow::is_reference)
                 .def_ro("file_bytes", &CompareRow::file_bytes)
                 .def_ro("bits_per_weight", &CompareRow::bits_per_weight)
                 .def_ro("quantize_seconds", &CompareRow::quantize_seconds)
                 .def_ro("quality", &CompareRow::quality)
                 .def_ro("speed", &CompareRow::speed)
                 .def_ro("errors", &CompareRow::errors)
                 .def_ro("samples", &CompareRow::samples)
                 .def_ro("pareto", &CompareRow::pareto);
  AddRepr(row, {"name", "bits_per_weight", "file_bytes", "pareto"});
}

}  // namespace

void BindCompare(nb::module_& module) {
  BindRow(module);

  auto report = nb::class_<CompareReport>(module, "CompareReport", "What compare() found.")
                    .def_ro("model", &CompareReport::model)
                    .def_ro("architecture", &CompareReport::architecture)
                    .def_ro("text_file", &CompareReport::text_file)
                    .def_ro("version", &CompareReport::version)
                    .def_ro("note", &CompareReport::note)
                    .def_ro("parameters", &CompareReport::parameters)
                    .def_ro("context", &CompareReport::context)
                    .def_ro("chunks", &CompareReport::chunks)
                    .def_ro("threads", &CompareReport::threads)
                    .def_ro("seconds", &CompareReport::seconds)
                    .def_ro("rows", &CompareReport::rows)
                    .def("html", CompareHtml, "A page that needs nothing else.")
                    .def("json", CompareJson)
                    .def("csv", CompareCsv)
                    .def("save", Save, nb::arg("path"),
                         "Writes one rendering, by the path's ending: .html, .json or .csv.");
  AddRepr(report, {"model", "rows"});

  const CompareOptions c;
  module.def("compare", CompareModel, nb::arg("model"), nb::arg("text_file"), nb::arg("output_dir"),
             nb::kw_only(), nb::arg("grids") = nb::list(), nb::arg("methods") = nb::list(),
             nb::arg("calibration") = nb::none(), nb::arg("keep_files") = c.keep_files,
             nb::arg("context") = c.context, nb::arg("chunks") = c.chunks,
             nb::arg("prompts") = nb::list(), nb::arg("sample_tokens") = c.sample_tokens,
             nb::arg("note") = "", nb::arg("threads") = c.threads,
             nb::arg("progress") = nb::none());
}

}  // namespace halftone::python
