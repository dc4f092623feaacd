#include "container/container.h"
namespace halftone {
extern const Container kContainer_safetensors;
constinit const Container kContainer_safetensors{};
}
