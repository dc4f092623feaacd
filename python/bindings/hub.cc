// halftone/hub.h.

#include "halftone/hub.h"

#include <nanobind/nanobind.h>
#include <nanobind/stl/filesystem.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "python/bindings/bindings.h"
#include "python/bindings/call.h"

namespace halftone::python {
namespace {

PullReport PullModel(const std::string& model, std::optional<Callback> callback) {
  CallProgress progress(std::move(callback));
  return Call(progress, [&] { return Pull(model, {&progress}); });
}

std::string LocalPath(const std::filesystem::path& model, std::optional<Callback> callback) {
  CallProgress progress(std::move(callback));
  return Call(progress, [&] { return Located(model, progress); });
}

}  // namespace

void BindHub(nb::module_& module) {
  auto file = nb::class_<PulledFile>(module, "PulledFile", "A file of a model of the hub.")
                  .def_ro("name", &PulledFile::name)
                  .def_ro("bytes", &PulledFile::bytes)
                  .def_ro("fetched", &PulledFile::fetched);
  AddRepr(file, {"name", "bytes", "fetched"});
  auto report = nb::class_<PullReport>(module, "PullReport", "What pull() brought.")
                    .def_ro("repository", &PullReport::repository)
                    .def_ro("revision", &PullReport::revision)
                    .def_ro("commit", &PullReport::commit)
                    .def_ro("path", &PullReport::path)
                    .def_ro("bytes", &PullReport::bytes)
                    .def_ro("fetched_bytes", &PullReport::fetched_bytes)
                    .def_ro("seconds", &PullReport::seconds)
                    .def_ro("files", &PullReport::files);
  AddRepr(report, {"repository", "revision", "path", "bytes", "fetched_bytes"});
  module.def(
      "pull", PullModel, nb::arg("model"), nb::kw_only(), nb::arg("progress") = nb::none(),
      "Fetches a model of the Hugging Face Hub, 'ORG/NAME[:FILE][@REVISION]', as far as the\n"
      "cache lacks it.");
  module.def("local_model", LocalPath, nb::arg("model"), nb::kw_only(),
             nb::arg("progress") = nb::none(),
             "Where the model lies: a path, or a name of the hub after pull().");
  module.def("is_hub_model", IsHubModel, nb::arg("model"));
}

}  // namespace halftone::python
