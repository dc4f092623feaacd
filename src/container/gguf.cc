#include "container/container.h"
namespace halftone {
extern const Container kContainer_gguf;
constinit const Container kContainer_gguf{};
}
