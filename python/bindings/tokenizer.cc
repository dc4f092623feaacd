// halftone/tokenizer.h.

#include "halftone/tokenizer.h"

#include <nanobind/nanobind.h>
#include <nanobind/stl/filesystem.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/string_view.h>
#include <nanobind/stl/unique_ptr.h>
#include <nanobind/stl/vector.h>

#include "python/bindings/bindings.h"
#include "python/bindings/call.h"

namespace halftone::python {
namespace {

std::unique_ptr<ModelTokenizer> Open(const std::filesystem::path& path) {
  CallProgress progress;
  return Call(progress, [&] { return ModelTokenizer::Open(Located(path, progress)); });
}

// Tokens may end within a character.
nb::str Decode(const ModelTokenizer& tokenizer, const std::vector<int32_t>& ids,
               bool skip_special) {
  return FileText(tokenizer.Decode(ids, skip_special));
}

nb::str ApplyChatTemplate(const ModelTokenizer& tokenizer, std::string_view variables) {
  return FileText(tokenizer.ApplyChatTemplate(variables));
}

}  // namespace

void BindTokenizer(nb::module_& module) {
  nb::class_<ModelTokenizer>(module, "Tokenizer", "A model's tokenizer and chat template.")
      .def_static("open", Open, nb::arg("path"))
      .def_prop_ro("vocabulary", &ModelTokenizer::vocabulary, "How many tokens there are.")
      .def_prop_ro("bos", &ModelTokenizer::bos, "Begins a text; -1: there is none.")
      .def_prop_ro("eos", &ModelTokenizer::eos, "Ends a text; -1: there is none.")
      .def_prop_ro("chat_template",
                   [](const ModelTokenizer& t) { return FileText(t.chat_template()); })
      .def("ends_generation", &ModelTokenizer::EndsGeneration, nb::arg("id"))
      .def("encode", &ModelTokenizer::Encode, nb::arg("text"), nb::arg("frame") = true)
      .def("decode", Decode, nb::arg("ids"), nb::arg("skip_special") = false)
      .def("apply_chat_template", ApplyChatTemplate, nb::arg("variables"),
           "The template rendered with a JSON object of variables.");
}

}  // namespace halftone::python
