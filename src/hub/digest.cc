#include "hub/digest.h"

#include <fmt/core.h>

#include <algorithm>
#include <string_view>

#include "base/error.h"

#ifdef HALFTONE_HUB
#include <openssl/evp.h>
#endif

namespace halftone {
namespace {

bool IsHex(std::string_view text) {
  return text.find_first_not_of("0123456789abcdef") == text.npos;
}

}  // namespace

#ifdef HALFTONE_HUB

struct Digest::State {
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  ~State() { EVP_MD_CTX_free(context); }
};

std::unique_ptr<Digest> Digest::ForEtag(const std::string& etag, uint64_t bytes) {
  if (!IsHex(etag) || (etag.size() != 64 && etag.size() != 40)) return nullptr;
  const bool git = etag.size() == 40;
  auto state = std::make_unique<State>();
  if (EVP_DigestInit_ex(state->context, git ? EVP_sha1() : EVP_sha256(), nullptr) != 1) {
    FailIo("this machine's OpenSSL has no {}", git ? "SHA-1" : "SHA-256");
  }
  std::unique_ptr<Digest> digest(new Digest(std::move(state)));
  if (git) {
    const std::string head = fmt::format("blob {}", bytes);
    // With the zero byte that ends it.
    digest->Add({reinterpret_cast<const uint8_t*>(head.c_str()), head.size() + 1});
  }
  return digest;
}

void Digest::Add(std::span<const uint8_t> bytes) {
  EVP_DigestUpdate(state_->context, bytes.data(), bytes.size());
}

std::string Digest::Finish() {
  unsigned char value[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  EVP_DigestFinal_ex(state_->context, value, &size);
  std::string text;
  for (unsigned int i = 0; i < size; ++i) text += fmt::format("{:02x}", value[i]);
  return text;
}

#else

struct Digest::State {};

std::unique_ptr<Digest> Digest::ForEtag(const std::string& etag, uint64_t) {
  if (!IsHex(etag)) return nullptr;
  FailUnsupported("this build of halftone has no checksums");
}

void Digest::Add(std::span<const uint8_t>) {}

std::string Digest::Finish() { return {}; }

#endif

Digest::Digest(std::unique_ptr<State> state) : state_(std::move(state)) {}
Digest::~Digest() = default;

}  // namespace halftone
