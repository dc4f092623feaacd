// How the library's work is called from Python: without the interpreter's lock, so that other
// threads go on; with progress for a Python callback; and so that Ctrl-C ends it.

#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "halftone/error.h"
#include "halftone/progress.h"

namespace halftone::python {

namespace nb = nanobind;

// Is told the task, what is done and the total.
using Callback = nb::typed<nb::callable, nb::object(std::string, int64_t, int64_t)>;

// What the library reports, for Python: progress for `callback` if there is one, remarks as
// warnings. Whatever these or a signal's handler raise ends the work, and is raised by Call.
class CallProgress : public Progress {
 public:
  explicit CallProgress(std::optional<Callback> callback = std::nullopt)
      : callback_(std::move(callback)) {}

  void Begin(std::string_view task, int64_t total) override;
  void Advance(int64_t done) override;
  void End() override;
  void Note(std::string_view message) override;
  // Looks for signals, at most ten times a second: looking needs the interpreter's lock.
  bool Cancelled() override;

  // Throws Error (kCancelled).
  void Check();
  // Throws what Python code raised meanwhile, once.
  void Rethrow();

 private:
  template <class Body>
  void InPython(Body&& body);

  std::optional<Callback> callback_;
  std::string task_;
  int64_t total_ = 0;
  int64_t done_ = 0;
  std::chrono::steady_clock::time_point looked_ = std::chrono::steady_clock::now();
  std::optional<nb::python_error> raised_;
};

// Runs work() without the interpreter's lock and returns its result.
template <class Work>
std::invoke_result_t<Work> Call(CallProgress& progress, Work&& work) {
  std::optional<std::invoke_result_t<Work>> result;
  try {
    const nb::gil_scoped_release released;
    result.emplace(work());
  } catch (const Error&) {
    progress.Rethrow();
    throw;
  }
  progress.Rethrow();
  return std::move(*result);
}

// Where the model lies that a person named: a path, or a name of the hub, which is fetched.
std::string Located(const std::filesystem::path& model, CallProgress& progress);

// A path that may be missing, as the library writes it.
inline std::string TextOf(const std::optional<std::filesystem::path>& path) {
  return path ? path->string() : std::string();
}

// Text out of a file or a model, whose bytes may be no UTF-8.
inline nb::str FileText(const std::string& text) {
  return nb::steal<nb::str>(
      PyUnicode_DecodeUTF8(text.data(), static_cast<Py_ssize_t>(text.size()), "replace"));
}

// The same of a member.
template <auto kMember, class Class>
nb::str FileTextOf(const Class& object) {
  return FileText(object.*kMember);
}

// A repr() of these attributes: "Estimate(value=1.5, error=0.1)".
template <class Class>
void AddRepr(Class& type, std::initializer_list<const char*> attributes) {
  type.def("__repr__", [names = std::vector<const char*>(attributes)](nb::handle self) {
    std::string text = nb::cast<std::string>(self.type().attr("__name__")) + "(";
    for (const char* name : names) {
      if (name != names.front()) text += ", ";
      text += std::string(name) + "=" + nb::repr(self.attr(name)).c_str();
    }
    return text + ")";
  });
}

}  // namespace halftone::python
