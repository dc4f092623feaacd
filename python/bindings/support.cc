// halftone/support.h and halftone/precision.h: what this build can do.

#include "halftone/support.h"

#include <nanobind/nanobind.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "halftone/precision.h"
#include "python/bindings/bindings.h"
#include "python/bindings/call.h"

namespace halftone::python {

void BindSupport(nb::module_& module) {
  auto grid = nb::class_<GridInfo>(module, "GridInfo", "Which values a weight may take.")
                  .def_ro("name", &GridInfo::name)
                  .def_ro("bits_per_weight", &GridInfo::bits_per_weight)
                  .def_ro("block", &GridInfo::block)
                  .def_ro("writable", &GridInfo::writable)
                  .def_ro("plain", &GridInfo::plain)
                  .def_ro("needs_importance", &GridInfo::needs_importance);
  AddRepr(grid, {"name", "bits_per_weight", "writable"});
  auto summary = nb::class_<NamedSummary>(module, "NamedSummary", "A name and what it means.")
                     .def_ro("name", &NamedSummary::name)
                     .def_ro("summary", &NamedSummary::summary);
  AddRepr(summary, {"name", "summary"});
  module.def("grids", Grids);
  module.def("kv_grids", KvGrids, "What keys and values can be rounded to.");
  module.def("presets", Presets, "Mixes of grids.");
  module.def("methods", Methods);
  module.def("containers", Containers);
  module.def("architectures", Architectures, "The models that run.");
  module.def("version", Version);

  nb::enum_<LoadIn>(module, "LoadIn")
      .value("AS_STORED", LoadIn::kAsStored)
      .value("FOUR_BIT", LoadIn::k4Bit)
      .value("EIGHT_BIT", LoadIn::k8Bit);
  const Precision usual;
  nb::class_<Precision>(module, "Precision", "Rounding while a model is loaded.")
      .def(
          "__init__",
          [](Precision* self, LoadIn load_in, const std::string& quant_type, bool double_quant,
             int block, std::optional<float> int8_threshold) {
            new (self) Precision{load_in, quant_type, double_quant, block, int8_threshold};
          },
          nb::kw_only(), nb::arg("load_in") = usual.load_in,
          nb::arg("quant_type") = usual.quant_type, nb::arg("double_quant") = usual.double_quant,
          nb::arg("block") = usual.block, nb::arg("int8_threshold") = nb::none())
      .def_ro("load_in", &Precision::load_in)
      .def_ro("quant_type", &Precision::quant_type)
      .def_ro("double_quant", &Precision::double_quant)
      .def_ro("block", &Precision::block)
      .def_ro("int8_threshold", &Precision::int8_threshold);
}

}  // namespace halftone::python
