// The parts of halftone._core: each declares what a header of the library has.

#pragma once

#include <nanobind/nanobind.h>

namespace halftone::python {

void BindErrors(nanobind::module_& module);
void BindSupport(nanobind::module_& module);
void BindTokenizer(nanobind::module_& module);
void BindModel(nanobind::module_& module);
void BindQuantize(nanobind::module_& module);
void BindFinetune(nanobind::module_& module);
void BindEvaluate(nanobind::module_& module);
void BindCompare(nanobind::module_& module);
void BindPlan(nanobind::module_& module);
void BindInspect(nanobind::module_& module);
void BindHub(nanobind::module_& module);

}  // namespace halftone::python
