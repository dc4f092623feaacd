// halftone/inspect.h.

#include "halftone/inspect.h"

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/filesystem.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <memory>

#include "python/bindings/bindings.h"
#include "python/bindings/call.h"

namespace halftone::python {
namespace {

using Path = std::filesystem::path;
using Values = nb::ndarray<nb::numpy, float, nb::c_contig>;

Inspection InspectModel(const Path& model) {
  CallProgress progress;
  return Call(progress, [&] { return Inspect(Located(model, progress)); });
}

// The array owns the library's buffer.
Values Decode(const Path& model, const std::string& tensor) {
  CallProgress progress;
  auto decoded = std::make_unique<DecodedTensor>(
      Call(progress, [&] { return DecodeTensor(Located(model, progress), tensor); }));
  const std::vector<size_t> shape(decoded->shape.begin(), decoded->shape.end());
  float* const data = decoded->values.data();
  const nb::capsule owner(decoded.get(),
                          [](void* p) noexcept { delete static_cast<DecodedTensor*>(p); });
  decoded.release();
  return Values(data, shape.size(), shape.data(), owner);
}

}  // namespace

void BindInspect(nb::module_& module) {
  auto tensor = nb::class_<TensorInfo>(module, "TensorInfo", "A tensor of a file.")
                    .def_prop_ro("name", FileTextOf<&TensorInfo::name, TensorInfo>)
                    .def_ro("grid", &TensorInfo::grid)
                    .def_ro("shape", &TensorInfo::shape)
                    .def_ro("bytes", &TensorInfo::bytes)
                    .def_ro("bits_per_weight", &TensorInfo::bits_per_weight);
  AddRepr(tensor, {"name", "grid", "shape", "bytes"});
  auto metadata = nb::class_<MetadataInfo>(module, "MetadataInfo", "A key of a file.")
                      .def_prop_ro("key", FileTextOf<&MetadataInfo::key, MetadataInfo>)
                      .def_ro("type", &MetadataInfo::type)
                      .def_prop_ro("value", FileTextOf<&MetadataInfo::value, MetadataInfo>);
  AddRepr(metadata, {"key", "type", "value"});
  auto inspection =
      nb::class_<Inspection>(module, "Inspection", "What a model file holds.")
          .def_ro("path", &Inspection::path)
          .def_ro("container", &Inspection::container)
          .def_prop_ro("architecture", FileTextOf<&Inspection::architecture, Inspection>)
          .def_ro("file_bytes", &Inspection::file_bytes)
          .def_ro("tensor_bytes", &Inspection::tensor_bytes)
          .def_ro("parameters", &Inspection::parameters)
          .def_ro("bits_per_weight", &Inspection::bits_per_weight)
          .def_ro("metadata", &Inspection::metadata)
          .def_ro("tensors", &Inspection::tensors);
  AddRepr(inspection,
          {"path", "container", "architecture", "parameters", "bits_per_weight", "file_bytes"});

  module.def("inspect", InspectModel, nb::arg("model"), "Looks into any readable file or folder.");
  module.def("decode_tensor", Decode, nb::arg("model"), nb::arg("tensor"),
             "The values of one tensor as f32.");
}

}  // namespace halftone::python
