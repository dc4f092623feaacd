// halftone::Error as the exceptions of halftone/errors.py.

#include <nanobind/nanobind.h>

#include <exception>

#include "halftone/error.h"
#include "python/bindings/bindings.h"

namespace halftone::python {
namespace {

namespace nb = nanobind;

const char* NameOf(Error::Kind kind) {
  switch (kind) {
    case Error::Kind::kUsage:
      return "UsageError";
    case Error::Kind::kFormat:
      return "FormatError";
    case Error::Kind::kUnsupported:
      return "UnsupportedError";
    case Error::Kind::kIo:
      return "IoError";
    case Error::Kind::kCancelled:
      return "CancelledError";
  }
  return "Error";
}

void Translate(const std::exception_ptr& thrown, void*) {
  try {
    std::rethrow_exception(thrown);
  } catch (const Error& error) {
    const nb::object type = nb::module_::import_("halftone.errors").attr(NameOf(error.kind()));
    // A path may hold bytes that are no UTF-8.
    const std::string message = error.what();
    const nb::object text = nb::steal(PyUnicode_DecodeUTF8(
        message.data(), static_cast<Py_ssize_t>(message.size()), "backslashreplace"));
    PyErr_SetObject(type.ptr(), text.ptr());
  }
}

}  // namespace

void BindErrors(nb::module_&) { nb::register_exception_translator(Translate, nullptr); }

}  // namespace halftone::python
