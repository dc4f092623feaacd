// halftone/model.h. One caller at a time may use a model; others wait for their turn.

#include "halftone/model.h"

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/filesystem.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/unique_ptr.h>
#include <nanobind/stl/vector.h>

#include <chrono>
#include <memory>
#include <mutex>

#include "python/bindings/bindings.h"
#include "python/bindings/call.h"
#include "python/bindings/options.h"

namespace halftone::python {
namespace {

using Logits = nb::ndarray<nb::numpy, float, nb::ndim<2>, nb::c_contig>;

struct SharedModel {
  std::unique_ptr<Model> model;
  std::timed_mutex busy;
};

// Holds a model while it works; a thread that waits for it still hears Ctrl-C.
class Turn {
 public:
  Turn(SharedModel& shared, CallProgress& progress) : lock_(shared.busy, std::defer_lock) {
    while (!lock_.try_lock_for(std::chrono::milliseconds(100))) progress.Check();
  }

 private:
  std::unique_lock<std::timed_mutex> lock_;
};

std::shared_ptr<SharedModel> Open(const std::filesystem::path& path, int threads, int64_t context,
                                  const Precision& precision,
                                  const std::optional<std::filesystem::path>& adapter,
                                  const std::string& kv_grid, const std::string& activations,
                                  std::optional<Callback> callback) {
  CallProgress progress(std::move(callback));
  LoadOptions options;
  options.threads = threads;
  options.context = context;
  options.precision = precision;
  options.adapter = TextOf(adapter);
  options.kv_grid = kv_grid;
  options.activations = ActivationsNamed(activations);
  options.progress = &progress;
  return Call(progress, [&] {
    auto shared = std::make_shared<SharedModel>();
    shared->model = Model::Open(Located(path, progress), options);
    return shared;
  });
}

// The array owns the library's buffer.
Logits LogitsOf(SharedModel& shared, const std::vector<int32_t>& ids) {
  CallProgress progress;
  auto logits = std::make_unique<std::vector<float>>(Call(progress, [&] {
    const Turn turn(shared, progress);
    return shared.model->Logits(ids, &progress);
  }));
  const size_t vocabulary = static_cast<size_t>(shared.model->vocabulary());
  float* const data = logits->data();
  const nb::capsule owner(logits.get(),
                          [](void* p) noexcept { delete static_cast<std::vector<float>*>(p); });
  logits.release();
  return Logits(data, {ids.size(), vocabulary}, owner);
}

// A continuation with its model and what asks it for signals.
class ModelContinuation {
 public:
  ModelContinuation(std::shared_ptr<SharedModel> shared, const std::vector<int32_t>& prompt,
                    GenerateOptions options)
      : shared_(std::move(shared)) {
    options.progress = &progress_;
    continuation_ = shared_->model->Continue(prompt, options);
  }

  std::optional<nb::str> Next() {
    const std::optional<std::string> text = Call(progress_, [&] {
      const Turn turn(*shared_, progress_);
      return continuation_->Next();
    });
    if (!text) return std::nullopt;
    return FileText(*text);
  }

  const Generation& made() const { return continuation_->made(); }

 private:
  std::shared_ptr<SharedModel> shared_;
  CallProgress progress_;
  std::unique_ptr<Continuation> continuation_;
};

std::unique_ptr<ModelContinuation> Continue(const std::shared_ptr<SharedModel>& shared,
                                            const std::vector<int32_t>& prompt, int64_t max_tokens,
                                            float temperature, int top_k, float top_p, float min_p,
                                            uint64_t seed,
                                            const std::vector<std::string>& stop_texts) {
  GenerateOptions options;
  options.max_tokens = max_tokens;
  options.sampling = {temperature, top_k, top_p, min_p, seed};
  options.stop_texts = stop_texts;
  return std::make_unique<ModelContinuation>(shared, prompt, options);
}

}  // namespace

void BindModel(nb::module_& module) {
  auto generation = nb::class_<Generation>(module, "Made", "What a continuation has made so far.")
                        .def_prop_ro("text", FileTextOf<&Generation::text, Generation>)
                        .def_ro("ids", &Generation::ids)
                        .def_ro("prompt_tokens", &Generation::prompt_tokens)
                        .def_ro("tokens", &Generation::tokens)
                        .def_ro("prompt_seconds", &Generation::prompt_seconds)
                        .def_ro("seconds", &Generation::seconds)
                        .def_ro("stop", &Generation::stop);
  AddRepr(generation, {"text", "tokens", "stop"});

  nb::class_<ModelContinuation>(module, "Continuation", "Text that is made as it is asked for.")
      .def("next", &ModelContinuation::Next, "The next piece of text; None after the end.")
      .def_prop_ro("made", &ModelContinuation::made, nb::rv_policy::copy);

  const LoadOptions load;
  nb::class_<SharedModel>(module, "Model", "An opened model.")
      .def_static("open", Open, nb::arg("path"), nb::kw_only(), nb::arg("threads") = load.threads,
                  nb::arg("context") = load.context, nb::arg("precision"),
                  nb::arg("adapter") = nb::none(), nb::arg("kv_grid") = load.kv_grid,
                  nb::arg("activations") = NameOf(load.activations),
                  nb::arg("progress") = nb::none())
      .def_prop_ro("architecture", [](SharedModel& s) { return s.model->architecture(); })
      .def_prop_ro("vocabulary", [](SharedModel& s) { return s.model->vocabulary(); })
      .def_prop_ro("context", [](SharedModel& s) { return s.model->context(); })
      .def_prop_ro("weight_bytes", [](SharedModel& s) { return s.model->weight_bytes(); })
      .def_prop_ro(
          "tokenizer", [](SharedModel& s) -> const ModelTokenizer& { return s.model->tokenizer(); },
          nb::rv_policy::reference_internal)
      .def("logits", LogitsOf, nb::arg("ids"), "f32 [tokens, vocabulary], after each token.")
      .def("continuation", Continue, nb::arg("prompt"), nb::kw_only(), nb::arg("max_tokens"),
           nb::arg("temperature"), nb::arg("top_k"), nb::arg("top_p"), nb::arg("min_p"),
           nb::arg("seed"), nb::arg("stop_texts"));
}

}  // namespace halftone::python
