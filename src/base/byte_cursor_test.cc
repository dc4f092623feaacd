#include "base/byte_cursor.h"

#include <gtest/gtest.h>

#include <string>

#include "base/printable.h"

namespace halftone {
namespace {

TEST(PrintableTest, EscapesWhatATerminalWouldObey) {
  EXPECT_EQ(Printable("blk.0.attn_q.weight"), "blk.0.attn_q.weight");
  EXPECT_EQ(Printable("\x1B[2J\r\n\t\x7F"), "\\x1B[2J\\x0D\\x0A\\x09\\x7F");
  EXPECT_EQ(Printable(std::string_view("a\0b", 3)), "a\\x00b");
  EXPECT_EQ(Printable("\xC2\x9B"), "\\xC2\\x9B");  // U+009B begins control sequences as well
}

TEST(PrintableTest, KeepsUtf8AndEscapesWhatIsNone) {
  const std::string good = "\xC3\xA9 \xE2\x96\x81 \xF0\x9F\x98\x80 \xC2\xA0";
  EXPECT_EQ(Printable(good), good);
  // Overlong, surrogate, past U+10FFFF, lone continuation, cut short: RFC 3629.
  EXPECT_EQ(Printable("\xC0\x80"), "\\xC0\\x80");
  EXPECT_EQ(Printable("\xE0\x80\x80"), "\\xE0\\x80\\x80");
  EXPECT_EQ(Printable("\xED\xA0\x80"), "\\xED\\xA0\\x80");
  EXPECT_EQ(Printable("\xF0\x80\x80\x80"), "\\xF0\\x80\\x80\\x80");
  EXPECT_EQ(Printable("\xF4\x90\x80\x80"), "\\xF4\\x90\\x80\\x80");
  EXPECT_EQ(Printable("\xBF"), "\\xBF");
  EXPECT_EQ(Printable("\xE2\x96"), "\\xE2\\x96");
}

TEST(PrintableTest, CutsLongNames) {
  EXPECT_EQ(Printable("abcdef", 3), "abc...");
  EXPECT_EQ(Printable("abc", 3), "abc");
  EXPECT_EQ(Printable("a\xE2\x96\x81z", 2), "a\xE2\x96\x81...");  // whole sequences only
}

TEST(ByteCursorTest, ReadsToTheEndAndNoFurther) {
  const uint8_t bytes[] = {1, 0, 2, 0, 0, 0, 'n'};
  ByteCursor cursor("file", bytes);
  EXPECT_EQ(cursor.Read<uint16_t>("a"), 1);
  EXPECT_EQ(cursor.Read<uint32_t>("b"), 2u);
  EXPECT_EQ(cursor.at(), 6u);
  cursor.Subject("tensor", "w\n");
  try {
    cursor.Read<uint16_t>("its length");
    FAIL();
  } catch (const Error& e) {
    EXPECT_STREQ(e.what(),
                 "file: byte 6: tensor 'w\\x0A': its length needs 2 bytes but the file has 1 left");
  }
  EXPECT_EQ(cursor.Text(1, "c"), "n");
  EXPECT_EQ(cursor.Take(0, "d").size(), 0u);
  EXPECT_THROW(cursor.Take(UINT64_MAX, "e"), Error);
}

}  // namespace
}  // namespace halftone
