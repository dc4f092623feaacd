#include "base/foreign_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace halftone {
namespace {

using testing::HasSubstr;

TEST(ForeignFileTest, NamesWhatBeginsSo) {
  const std::string rest(100, '\1');
  // Beginnings as the programs that own the formats write them.
  EXPECT_THAT(ForeignFile("version https://git-lfs.github.com/spec/v1\noid sha256:0\n"),
              HasSubstr("Git LFS"));
  EXPECT_THAT(ForeignFile(std::string("PK\x03\x04\x14\x00", 6) + rest), HasSubstr("zip"));
  EXPECT_THAT(ForeignFile("\x1F\x8B\x08" + rest), HasSubstr("compressed"));
  EXPECT_THAT(ForeignFile("\xFD"
                          "7zXZ" +
                          rest),
              HasSubstr("compressed"));
  EXPECT_THAT(ForeignFile("\x28\xB5\x2F\xFD" + rest), HasSubstr("compressed"));
  EXPECT_THAT(ForeignFile("\x89HDF\r\n\x1A\n" + rest), HasSubstr("HDF5"));
  EXPECT_THAT(ForeignFile("tjgg" + rest), HasSubstr("before GGUF"));
  EXPECT_THAT(ForeignFile("<!doctype html>"), HasSubstr("web page"));
  EXPECT_THAT(ForeignFile(std::string(64, '\0')), HasSubstr("zeros"));
  EXPECT_THAT(ForeignFile(""), HasSubstr("empty"));
}

TEST(ForeignFileTest, SaysNothingOfModels) {
  EXPECT_EQ(ForeignFile("GGUF\x03" + std::string(100, '\0')), "");
  EXPECT_EQ(ForeignFile(std::string("\x10\0\0\0\0\0\0\0{}", 10) + std::string(100, ' ')), "");
  EXPECT_EQ(ForeignFile("{}"), "");
  EXPECT_EQ(ForeignFile(std::string(63, '\0')), "");
  EXPECT_EQ(ForeignFile("P"), "");
}

}  // namespace
}  // namespace halftone
