// Adapters of a mixture's experts, as files have them: AdapterModule is of one expert's matrix.
//
// peft has a pair for each matrix of each expert, "….experts.3.w1", as transformers 4 has them
// apart. Transformers 5 keeps the experts of a layer in two parameters, gate_up_proj [experts,
// 2 * inner, width], the gate first, and down_proj [experts, width, inner], for each of which peft
// has one pair: A [experts * r, in], expert by expert, and B [out, r * experts], whose column
// k * experts + e is expert e's. The pair of gate_up_proj has twice the rank of the others. They
// are called "mlp.experts.base_layer" and "mlp.experts", or "mlp.experts" where there is only one
// of them, and the router is "mlp.gate". What peft saved is in either form; it loads both.
//
// llama.cpp has A [experts, r, in] and B [experts, out, r] of each kind of matrix.
//
// Source: github.com/huggingface/peft (tuners/lora/layer.py, ParamWrapper;
// utils/transformers_weight_conversion.py), github.com/ggml-org/llama.cpp
// (convert_lora_to_gguf.py).

#pragma once

#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "pipeline/adapter_formats.h"

namespace halftone {

// Experts' matrices and the router's.
bool IsOfMixture(Role role);

// A parameter of a mixture in transformers 5.
struct FusedParameter {
  std::string name;  // "model.layers.3.mlp.experts.gate_up_proj"
  int64_t layer = 0;
  std::vector<Role> roles;  // whose matrices it holds, one above the other
};

// What peft calls `module` where a parameter of a mixture is meant. `targets`: target_parameters of
// its adapter_config.json.
std::optional<FusedParameter> FusedParameterOf(const Architecture& architecture,
                                               std::string_view module,
                                               const std::set<std::string>& targets);

// The modules of such a parameter's pair. Throws Error (kFormat) naming path and parameter.
std::vector<AdapterModule> SplitParameter(const std::string& path, const Architecture& architecture,
                                          const Hyperparameters& parameters,
                                          const FusedParameter& parameter,
                                          const AdapterHalves& halves);

// The modules of llama.cpp's pair of the tensor of that name. Throws Error likewise.
std::vector<AdapterModule> SplitExperts(const std::string& path, const Architecture& architecture,
                                        const Hyperparameters& parameters, const std::string& name,
                                        const AdapterHalves& halves);

// The modules with those of a layer's experts that llama.cpp has in one tensor as one, [experts *
// rank, in] and [experts * out, rank], at the place of the first. Experts that have no module get
// one of zeros.
std::vector<AdapterModule> StackedExperts(const std::vector<AdapterModule>& modules,
                                          int64_t experts);

// The modules with those of all mixtures, routers included, of one rank and scale, as peft needs
// them to make parameters of them.
std::vector<AdapterModule> EvenExperts(std::vector<AdapterModule> modules);

}  // namespace halftone
