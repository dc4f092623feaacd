// LoRA adapters in files: peft's folder (docs/formats/adapters.md) and llama.cpp's GGUF.
//
// Between the files and the engine's Adapter stands a form that is neither's: each module of the
// model once, its rows in Hugging Face's order.

#pragma once

#include <string>
#include <vector>

#include "engine/session.h"
#include "model/dialect.h"
#include "training/adapter.h"

namespace halftone {

// W x + scale * b (a x).
struct AdapterModule {
  RolePlace place;
  int64_t rank = 0;
  float scale = 1;
  std::vector<float> a;  // [rank, cols]
  std::vector<float> b;  // [rows, rank], rows in Hugging Face's order

  int64_t cols() const { return std::ssize(a) / rank; }
  int64_t rows() const { return std::ssize(b) / rank; }
};

// Whether A has the same values for all inputs of each group of so many.
bool IsSharedInGroups(const AdapterModule& module, int64_t group);

// What the file or folder holds. Throws Error: kFormat naming file and tensor for what is broken,
// or made for a model of another architecture; kUnsupported for kinds of adapters that are more
// than pairs of matrices (DoRA, trained embeddings, biases).
std::vector<AdapterModule> ReadAdapterModules(const std::string& path,
                                              const Architecture& architecture,
                                              const Hyperparameters& parameters);

// The adapter as the model's linear layers need it. Throws Error (kFormat), naming `source`, where
// a module does not fit the model.
Adapter AdapterFor(const LoadedModel& model, const std::vector<AdapterModule>& modules,
                   const std::string& source);

// The reverse. Layers of a fused tensor that do not share A become one module of their ranks' sum.
std::vector<AdapterModule> ModulesOf(const LoadedModel& model, const Adapter& adapter);

// Has A of each part say the same for all inputs whose weights share an offset, so that merging can
// keep their codes (merged_rows.h). Returns how many parts that is.
int64_t ShareInGroups(const LoadedModel& model, Adapter& adapter);

// Reads and attaches.
Adapter LoadAdapter(const std::string& path, LoadedModel& model);

// The checkpoint ready to run, with the adapter at `adapter` beside its weights; empty: none.
std::shared_ptr<const LoadedModel> LoadToRun(Checkpoint checkpoint, const std::string& adapter,
                                             std::shared_ptr<Ops> ops);

// Writes <path>/adapter_config.json and adapter_model.safetensors, as peft loads them, the numbers
// on the plain grid `type`. `base`: the model's name or path, for its base_model_name_or_path. The
// folder appears whole or not at all. Throws Error (kUsage) where something lies at `path`, kIo.
void WritePeftAdapter(const std::string& path, const std::vector<AdapterModule>& modules,
                      const std::string& base, const Grid& type = F32Grid());

// Writes a GGUF file that llama.cpp loads with --lora.
void WriteGgufAdapter(const std::string& path, const std::vector<AdapterModule>& modules,
                      const Architecture& architecture, const Hyperparameters& parameters,
                      const std::string& name, const Grid& type = F32Grid());

}  // namespace halftone
