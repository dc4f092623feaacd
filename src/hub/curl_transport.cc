// The transport by libcurl, or in a build without it (HALFTONE_HUB=OFF) the refusal.

#include "base/error.h"
#include "hub/transport.h"

#ifdef HALFTONE_HUB
#include <curl/curl.h>
#include <pthread.h>
#include <signal.h>

#include <algorithm>
#include <cctype>
#include <mutex>
#include <string_view>
#endif

namespace halftone {

const std::string& HttpReply::Header(const std::string& name) const {
  static const std::string none;
  const auto it = headers.find(name);
  return it == headers.end() ? none : it->second;
}

#ifdef HALFTONE_HUB

namespace {

constexpr long kConnectSeconds = 20;
// A transfer that brings less than a byte a second for so long is taken for dead.
constexpr long kStalledSeconds = 30;

// A connection that the other side has closed raises SIGPIPE when TLS writes to it. curl can only
// ignore the signal for the whole process, which is not a library's to do: it is kept from this
// thread, and taken away if it came.
class NoSigpipe {
 public:
  NoSigpipe() {
    sigemptyset(&pipe_);
    sigaddset(&pipe_, SIGPIPE);
    sigset_t pending;
    sigpending(&pending);
    was_pending_ = sigismember(&pending, SIGPIPE) == 1;
    pthread_sigmask(SIG_BLOCK, &pipe_, &old_);
  }
  ~NoSigpipe() {
    const timespec now{};
    if (!was_pending_) sigtimedwait(&pipe_, nullptr, &now);
    pthread_sigmask(SIG_SETMASK, &old_, nullptr);
  }
  NoSigpipe(const NoSigpipe&) = delete;
  NoSigpipe& operator=(const NoSigpipe&) = delete;

 private:
  sigset_t pipe_, old_;
  bool was_pending_ = false;
};

struct Transfer {
  const HttpRequest& request;
  HttpReply reply;
};

std::string_view Trimmed(std::string_view text) {
  const size_t first = text.find_first_not_of(" \t\r\n");
  if (first == text.npos) return {};
  return text.substr(first, text.find_last_not_of(" \t\r\n") - first + 1);
}

// A line of the reply's head. An interim reply (100) is followed by another head.
size_t OnHeader(char* data, size_t, size_t bytes, void* context) {
  HttpReply& reply = static_cast<Transfer*>(context)->reply;
  const std::string_view line(data, bytes);
  if (line.starts_with("HTTP/")) {
    reply.headers.clear();
    const size_t space = line.find(' ');
    reply.status = space == line.npos ? 0 : std::atoi(std::string(line.substr(space)).c_str());
    return bytes;
  }
  const size_t colon = line.find(':');
  if (colon == line.npos) return bytes;
  std::string name(Trimmed(line.substr(0, colon)));
  std::ranges::transform(name, name.begin(), [](unsigned char c) { return std::tolower(c); });
  reply.headers[name] = Trimmed(line.substr(colon + 1));
  return bytes;
}

size_t OnBody(char* data, size_t, size_t bytes, void* context) {
  auto* transfer = static_cast<Transfer*>(context);
  if (!transfer->request.on_body) return bytes;
  const auto piece = std::span(reinterpret_cast<const uint8_t*>(data), bytes);
  return transfer->request.on_body(transfer->reply, piece) ? bytes : 0;
}

int OnProgress(void* context, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
  const HttpRequest& request = static_cast<Transfer*>(context)->request;
  return request.cancelled && request.cancelled() ? 1 : 0;
}

bool IsHopeless(CURLcode code) {
  constexpr CURLcode kCodes[] = {CURLE_UNSUPPORTED_PROTOCOL, CURLE_URL_MALFORMAT,
                                 CURLE_PEER_FAILED_VERIFICATION, CURLE_SSL_CACERT_BADFILE,
                                 CURLE_COULDNT_RESOLVE_PROXY};
  return std::ranges::find(kCodes, code) != std::end(kCodes);
}

class CurlTransport : public Transport {
 public:
  CurlTransport() : curl_(curl_easy_init()) {
    if (curl_ == nullptr) FailIo("libcurl cannot be started");
  }
  ~CurlTransport() override { curl_easy_cleanup(curl_); }
  CurlTransport(const CurlTransport&) = delete;
  CurlTransport& operator=(const CurlTransport&) = delete;

  HttpReply Send(const HttpRequest& request) override {
    const NoSigpipe no_sigpipe;
    Transfer transfer{request, {}};
    char message[CURL_ERROR_SIZE] = "";
    curl_easy_reset(curl_);  // keeps the connection
    curl_slist* headers = nullptr;
    for (const std::string& header : request.headers) {
      headers = curl_slist_append(headers, header.c_str());
    }
    Set(CURLOPT_URL, request.url.c_str());
    Set(CURLOPT_HTTPHEADER, headers);
    Set(CURLOPT_USERAGENT, "halftone/" HALFTONE_VERSION);
    Set(CURLOPT_NOBODY, request.method == "HEAD" ? 1L : 0L);
    Set(CURLOPT_FOLLOWLOCATION, 0L);
    Set(CURLOPT_NOSIGNAL, 1L);
    Set(CURLOPT_CONNECTTIMEOUT, kConnectSeconds);
    Set(CURLOPT_LOW_SPEED_LIMIT, 1L);
    Set(CURLOPT_LOW_SPEED_TIME, kStalledSeconds);
    Set(CURLOPT_ERRORBUFFER, message);
    Set(CURLOPT_HEADERFUNCTION, &OnHeader);
    Set(CURLOPT_HEADERDATA, &transfer);
    Set(CURLOPT_WRITEFUNCTION, &OnBody);
    Set(CURLOPT_WRITEDATA, &transfer);
    Set(CURLOPT_NOPROGRESS, 0L);
    Set(CURLOPT_XFERINFOFUNCTION, &OnProgress);
    Set(CURLOPT_XFERINFODATA, &transfer);
    const CURLcode code = curl_easy_perform(curl_);
    curl_slist_free_all(headers);
    if (code != CURLE_OK) {
      transfer.reply.error = message[0] != '\0' ? message : curl_easy_strerror(code);
      transfer.reply.hopeless = IsHopeless(code);
    }
    return std::move(transfer.reply);
  }

 private:
  template <class T>
  void Set(CURLoption option, T value) {
    curl_easy_setopt(curl_, option, value);
  }

  CURL* curl_;
};

}  // namespace

std::unique_ptr<Transport> MakeTransport() {
  static std::once_flag started;  // libcurl's own state; not safe among threads before 7.84
  std::call_once(started, [] { curl_global_init(CURL_GLOBAL_DEFAULT); });
  return std::make_unique<CurlTransport>();
}

bool HasTransport() { return true; }

#else

std::unique_ptr<Transport> MakeTransport() {
  FailUnsupported("this build of halftone cannot download: it was made without libcurl");
}

bool HasTransport() { return false; }

#endif

}  // namespace halftone
