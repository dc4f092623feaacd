#include "container/safetensors_file.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/mapped_file.h"
#include "tests/testing/byte_builder.h"
#include "tests/testing/expect_error.h"
#include "tests/testing/shared.h"
#include "tests/testing/temp_folder.h"

namespace halftone {
namespace {

using Kind = Error::Kind;

// {"w": {"dtype": ..., "shape": ..., "data_offsets": ...}}
std::string One(const std::string& dtype, const std::string& shape, const std::string& offsets) {
  return R"({"w":{"dtype":)" + dtype + R"(,"shape":)" + shape + R"(,"data_offsets":)" + offsets +
         "}}";
}

class SafetensorsFileTest : public testing::Test {
 protected:
  SafetensorsFile Read(std::string_view header, std::string_view data = "") const {
    return ReadSafetensors(folder_.Write("w.safetensors", SafetensorsBytes(header, data)));
  }

  void Refuses(const std::string& part, std::string_view header, std::string_view data = "") const {
    RefusesFile(part, SafetensorsBytes(header, data));
  }

  void RefusesFile(const std::string& part, std::string_view bytes) const {
    SCOPED_TRACE(part);
    const auto path = folder_.Write("w.safetensors", bytes);
    ExpectError(Kind::kFormat, part, [&] { ReadSafetensors(path); });
    ExpectError(Kind::kFormat, path.string() + ": byte ", [&] { ReadSafetensors(path); });
  }

  TempFolder folder_;
};

TEST_F(SafetensorsFileTest, ReadsTensorsInTheOrderOfTheirData) {
  const SafetensorsFile file = Read(
      R"(  {"b":{"dtype":"BF16","shape":[1,2],"data_offsets":[4,8],"note":{"x":[1,{"y":null}]}},)"
      R"("__metadata__":{"format":"pt"},)"
      R"("empty":{"dtype":"F64","shape":[3,0],"data_offsets":[4,4]},)"
      R"("a\u00e9":{"data_offsets":[0,4],"shape":[],"dtype":"F32"}}   )",
      "aaaabbbb");
  ASSERT_EQ(file.tensors.size(), 3u);
  EXPECT_EQ(file.tensors[0].name, "a\xC3\xA9");
  EXPECT_EQ(file.tensors[0].grid(), &F32Grid());
  EXPECT_TRUE(file.tensors[0].shape.empty());
  EXPECT_EQ(file.tensors[1].name, "empty");
  EXPECT_TRUE(file.tensors[1].data.empty());
  EXPECT_EQ(file.tensors[2].shape, (std::vector<int64_t>{1, 2}));
  EXPECT_TRUE(std::ranges::equal(file.tensors[2].data, std::string_view("bbbb")));
  EXPECT_EQ(file.metadata, (std::map<std::string, std::string>{{"format", "pt"}}));
}

// The grids that dtypes map to have as many bits as the dtypes.
TEST_F(SafetensorsFileTest, DtypesHaveTheSizeOfTheirGrids) {
  int mapped = 0;
  for (const SafetensorsDtype& dtype : AllSafetensorsDtypes()) {
    SafetensorsTensor tensor;
    tensor.dtype = &dtype;
    if (tensor.grid() == nullptr) continue;
    EXPECT_EQ(tensor.grid()->bits_per_weight(), dtype.bits) << dtype.name;
    EXPECT_TRUE(tensor.grid()->plain) << dtype.name;
    EXPECT_EQ(tensor.grid()->title, dtype.name);
    ++mapped;
  }
  EXPECT_GE(mapped, 3);
}

// Where this reader is stricter than the safetensors library, and why.
const std::map<std::string, std::string> kDeviations = {
    {"dup-key", "which of two tensors of one name is meant cannot be known"},
};

TEST_F(SafetensorsFileTest, AgreesWithTheLibraryOnEdgeCases) {
  HALFTONE_NEED_SHARED("fixtures/safetensors-edge/verdicts.json");
  const auto folder = SharedPath("fixtures/safetensors-edge");
  const Json verdicts = ParseJson(ReadTextFile(folder / "verdicts.json"), "verdicts.json");
  int cases = 0;
  for (const auto& [name, verdict] : verdicts["cases"].items()) {
    SCOPED_TRACE(name);
    ++cases;
    const auto path = folder / (name + ".safetensors");
    std::vector<std::string> names;
    const auto error = Caught([&] {
      for (const SafetensorsTensor& tensor : ReadSafetensors(path).tensors) {
        names.push_back(tensor.name);
      }
    });
    const auto peer = verdict.get<std::string>();
    if (error) {
      EXPECT_TRUE(peer.starts_with("REJECT") || kDeviations.contains(name)) << error->what();
      EXPECT_NE(std::string(error->what()).find(path.string()), std::string::npos);
      continue;
    }
    std::ranges::sort(names);
    std::string ours = "ACCEPT ";
    for (const std::string& n : names) ours += (n == names.front() ? "" : ",") + n;
    EXPECT_EQ(ours, peer);
  }
  EXPECT_EQ(cases, 26);
}

TEST_F(SafetensorsFileTest, RefusesBrokenLengths) {
  RefusesFile("the header's length needs 8 bytes", "1234567");
  for (const uint64_t length : {~0ull, 1ull << 63, 100'000'001ull}) {
    RefusesFile("at most 100000000", ByteBuilder().U64(length).Raw("{}"));
  }
  RefusesFile("the header needs 100000000 bytes", ByteBuilder().U64(100'000'000).Raw("{}"));
  RefusesFile("Git LFS", "version https://git-lfs.github.com/spec/v1\noid sha256:00");
}

TEST_F(SafetensorsFileTest, RefusesWhatIsNoJson) {
  for (const std::string_view header :
       {"", " ", "{", "{}}", "{}{}", "{} x", "{'a':1}", "{\"a\":}", "{,}", "\xEF\xBB\xBF{}",
        "{\"\xFF\":1}", "{\"\\ud800\":1}", "{\"a\nb\":1}", "nul"}) {
    Refuses("not valid JSON", header);
  }
  Refuses("byte 10: the header is not valid JSON", std::string_view("{}\0garbage", 10));
  Refuses("must be a JSON object but is an array", "[]");
  Refuses("must be a JSON object but is a string", "\"\"");
  Refuses("must be a JSON object but is null", "null");
  // Deep nesting must not use up the stack.
  const std::string deep(5'000'000, '[');
  Refuses("nested too deeply", R"({"w":{"note":)" + deep);
  Refuses("must be a JSON object", deep);
}

TEST_F(SafetensorsFileTest, RefusesEntriesThatAreNone) {
  Refuses("tensor 'w': must be an object but is null", R"({"w":null})");
  Refuses("tensor 'w': must be an object but is a number", R"({"w":1})");
  Refuses("has no dtype", R"({"w":{}})");
  Refuses("has no shape", R"({"w":{"dtype":"U8","data_offsets":[0,0]}})");
  Refuses("has no data_offsets", R"({"w":{"dtype":"U8","shape":[0]}})");
  Refuses("unknown dtype 'F99'", One("\"F99\"", "[]", "[0,4]"), "1234");
  Refuses("unknown dtype 'f32'", One("\"f32\"", "[]", "[0,4]"), "1234");
  Refuses("dtype cannot be a number", One("32", "[]", "[0,4]"), "1234");
  Refuses("shape cannot be a number", One("\"F32\"", "1", "[0,4]"), "1234");
  Refuses("shape holds a number that is no integer", One("\"F32\"", "[1.0]", "[0,4]"), "1234");
  Refuses("shape holds a number that is no integer", One("\"F32\"", "[1e0]", "[0,4]"), "1234");
  Refuses("shape holds a negative number", One("\"F32\"", "[-1]", "[0,4]"), "1234");
  Refuses("shape holds a negative number", One("\"F32\"", "[-0]", "[0,0]"));
  Refuses("shape holds an array", One("\"F32\"", "[[1]]", "[0,4]"), "1234");
  Refuses("shape holds a number that", One("\"F32\"", "[18446744073709551616]", "[0,4]"), "1234");
  Refuses("data_offsets has 3 numbers", One("\"F32\"", "[]", "[0,4,8]"), "1234");
  Refuses("data_offsets has 0 numbers", One("\"F32\"", "[]", "[]"), "1234");
  Refuses("'dtype' occurs twice", R"({"w":{"dtype":"U8","dtype":"U8"}})");
  Refuses("tensor 'w': occurs twice", R"({"w":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},)"
                                      R"("w":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}})");
  Refuses("the metadata 'a' must be a string but is a number", R"({"__metadata__":{"a":1}})");
  Refuses("the metadata 'a' must be a string but is an object", R"({"__metadata__":{"a":{}}})");
  Refuses("must be an object but is a string", R"({"__metadata__":"a"})");
  Refuses("occurs twice", R"({"__metadata__":{},"__metadata__":{}})");
  EXPECT_TRUE(Read(R"({"__metadata__":null})").tensors.empty());
}

TEST_F(SafetensorsFileTest, RefusesSizesThatDoNotFit) {
  const auto f32 = [](const std::string& shape, const std::string& offsets) {
    return One("\"F32\"", shape, offsets);
  };
  EXPECT_EQ(Read(f32("[1]", "[0,4]"), "1234").tensors.size(), 1u);
  Refuses("more than 2^63-1", f32("[9223372036854775808]", "[0,4]"), "1234");
  Refuses("more than 2^63-1", f32("[4294967296,4294967296]", "[0,0]"));
  Refuses("more than 2^63-1", f32("[0,9223372036854775808]", "[0,0]"));
  // The product times the size of an element wraps to 4 bytes.
  Refuses("does not take the 4 bytes", f32("[4611686018427387905]", "[0,4]"), "1234");
  Refuses("does not take the 4 bytes", f32("[2]", "[0,4]"), "1234");
  Refuses("does not take the 1 bytes", One("\"F4\"", "[1]", "[0,1]"), "1");
  Refuses("does not take the 1 bytes", One("\"F6_E2M3\"", "[1]", "[0,1]"), "1");
  EXPECT_EQ(Read(One("\"F6_E2M3\"", "[4]", "[0,3]"), "123").tensors.size(), 1u);
  Refuses("[4, 8] should begin at 0", f32("[1]", "[4,8]"), "12345678");
  Refuses("[4, 0] should begin at 0", f32("[1]", "[4,0]"), "1234");
  Refuses("does not take the 18446744073709551615 bytes", One("\"U8\"", "[1]", "[0,18446744073709551615]"), "1");
  Refuses("pass the end of the file", f32("[1]", "[0,4]"), "123");
  Refuses("1 bytes after the last", f32("[1]", "[0,4]"), "12345");
  Refuses("[0, 4] should begin at 4",
          R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},)"
          R"("b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})",
          "12345678");
}

}  // namespace
}  // namespace halftone
