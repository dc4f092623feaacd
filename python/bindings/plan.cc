// halftone/plan.h.

#include "halftone/plan.h"

#include <nanobind/nanobind.h>
#include <nanobind/stl/filesystem.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "python/bindings/bindings.h"
#include "python/bindings/call.h"

namespace halftone::python {
namespace {

PlanReport PlanModel(const std::filesystem::path& model, uint64_t memory, int64_t context,
                     const std::string& kv_grid) {
  CallProgress progress;
  return Call(progress, [&] { return Plan(Located(model, progress), {memory, context, kv_grid}); });
}

}  // namespace

void BindPlan(nb::module_& module) {
  auto row = nb::class_<PlanRow>(module, "PlanRow", "What a grid or preset would take.")
                 .def_ro("grid", &PlanRow::grid)
                 .def_ro("bits_per_weight", &PlanRow::bits_per_weight)
                 .def_ro("weight_bytes", &PlanRow::weight_bytes)
                 .def_ro("kv_cache_bytes", &PlanRow::kv_cache_bytes)
                 .def_ro("activation_bytes", &PlanRow::activation_bytes)
                 .def_ro("total_bytes", &PlanRow::total_bytes)
                 .def_ro("fits_ram", &PlanRow::fits_ram)
                 .def_ro("fits_vram", &PlanRow::fits_vram)
                 .def_ro("recommended", &PlanRow::recommended);
  AddRepr(row, {"grid", "total_bytes", "fits_ram", "recommended"});

  auto report = nb::class_<PlanReport>(module, "PlanReport", "What plan() found.")
                    .def_ro("model", &PlanReport::model)
                    .def_ro("parameters", &PlanReport::parameters)
                    .def_ro("exact", &PlanReport::exact)
                    .def_ro("context", &PlanReport::context)
                    .def_ro("kv_grid", &PlanReport::kv_grid)
                    .def_ro("ram_bytes", &PlanReport::ram_bytes)
                    .def_ro("vram_bytes", &PlanReport::vram_bytes)
                    .def_ro("rows", &PlanReport::rows)
                    .def_ro("advice", &PlanReport::advice);
  AddRepr(report, {"model", "parameters", "exact", "advice"});

  const PlanOptions p;
  module.def("plan", PlanModel, nb::arg("model"), nb::kw_only(), nb::arg("memory") = p.memory,
             nb::arg("context") = p.context, nb::arg("kv_grid") = p.kv_grid,
             "Bits against memory. model: a file or folder, or a size such as '7B'. memory: bytes\n"
             "to fit into; 0: this machine's.");
}

}  // namespace halftone::python
