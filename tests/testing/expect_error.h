// Expecting that something fails as the library promises: by halftone::Error, in one line.

#pragma once

#include <gtest/gtest.h>

#include <optional>
#include <string>

#include "halftone/error.h"

namespace halftone {

// What `run` throws; a test failure if it is no Error or spans lines. None where nothing is thrown.
template <class F>
std::optional<Error> Caught(F&& run) {
  try {
    run();
  } catch (const Error& e) {
    EXPECT_EQ(std::string(e.what()).find('\n'), std::string::npos) << e.what();
    return e;
  } catch (const std::exception& e) {
    ADD_FAILURE() << "not a halftone::Error: " << e.what();
  }
  return std::nullopt;
}

// That `run` throws an Error of this kind whose message holds `part`.
template <class F>
void ExpectError(Error::Kind kind, const std::string& part, F&& run) {
  const std::optional<Error> error = Caught(run);
  ASSERT_TRUE(error) << "expected an error about: " << part;
  EXPECT_EQ(error->kind(), kind) << error->what();
  EXPECT_NE(std::string(error->what()).find(part), std::string::npos)
      << "'" << error->what() << "' does not say: " << part;
}

}  // namespace halftone
