#include "python/bindings/call.h"

#include "halftone/hub.h"

namespace halftone::python {
namespace {

constexpr std::chrono::milliseconds kLookEvery(100);

}  // namespace

// Runs body() with the interpreter's lock, unless something was raised already.
template <class Body>
void CallProgress::InPython(Body&& body) {
  if (raised_) return;
  const nb::gil_scoped_acquire acquired;
  try {
    body();
  } catch (nb::python_error& error) {
    raised_.emplace(std::move(error));
  }
}

void CallProgress::Begin(std::string_view task, int64_t total) {
  task_ = task;
  total_ = total;
  Advance(0);
}

void CallProgress::Advance(int64_t done) {
  done_ = done;
  InPython([&] {
    if (callback_) (*callback_)(task_, done, total_);
  });
}

void CallProgress::End() {
  if (done_ != total_) Advance(total_);
}

void CallProgress::Note(std::string_view message) {
  InPython([&] {
    const nb::object category = nb::module_::import_("halftone.errors").attr("HalftoneWarning");
    const std::string text(message);
    if (PyErr_WarnEx(category.ptr(), text.c_str(), 1) != 0) nb::raise_python_error();
  });
}

bool CallProgress::Cancelled() {
  const auto now = std::chrono::steady_clock::now();
  if (!raised_ && now - looked_ >= kLookEvery) {
    InPython([] {
      if (PyErr_CheckSignals() != 0) nb::raise_python_error();
    });
    looked_ = std::chrono::steady_clock::now();
  }
  return raised_.has_value();
}

void CallProgress::Check() {
  if (Cancelled()) throw Error(Error::Kind::kCancelled, "cancelled");
}

void CallProgress::Rethrow() {
  if (!raised_) return;
  nb::python_error error = std::move(*raised_);
  raised_.reset();
  throw error;
}

std::string Located(const std::filesystem::path& model, CallProgress& progress) {
  return LocalModel(model.string(), &progress);
}

}  // namespace halftone::python
