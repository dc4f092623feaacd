// halftone._core, the compiled part of the Python package.

#include "python/bindings/bindings.h"

NB_MODULE(_core, module) {
  using namespace halftone::python;
  module.doc() = "The compiled part of halftone; import halftone instead.";
  BindErrors(module);
  BindSupport(module);
  BindTokenizer(module);
  BindModel(module);
  BindEvaluate(module);
  BindQuantize(module);
  BindFinetune(module);
  BindCompare(module);
  BindPlan(module);
  BindInspect(module);
  BindHub(module);
}
