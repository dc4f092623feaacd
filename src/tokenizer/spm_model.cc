#include "tokenizer/spm_model.h"

#include <cstring>
#include <span>

#include "base/byte_cursor.h"

namespace halftone {
namespace {

// The fields of one message, one after another.
class ProtoReader {
 public:
  ProtoReader(const std::string& path, std::span<const uint8_t> bytes) : cursor_(path, bytes) {}

  // Goes to the next field; false at the end.
  bool Next() {
    if (cursor_.remaining() == 0) return false;
    const uint64_t at = cursor_.at();
    const uint64_t tag = Varint("a field's tag");
    field_ = tag >> 3;
    number_ = 0;
    bytes_ = {};
    switch (tag & 7) {
      case 0:
        number_ = Varint("a number");
        break;
      case 1:
        cursor_.Take(8, "a fixed number");
        break;
      case 2:
        bytes_ = cursor_.Take(Varint("a length"), "a field");
        break;
      case 5:
        number_ = cursor_.Read<uint32_t>("a fixed number");
        break;
      default:
        cursor_.Fail(at, "a field has no known form; this is no tokenizer.model of SentencePiece");
    }
    if (field_ == 0) cursor_.Fail(at, "a field has the number 0");
    return true;
  }

  uint64_t field() const { return field_; }
  bool flag() const { return number_ != 0; }
  // A negative int32 is written as 64 bits.
  int32_t integer() const { return static_cast<int32_t>(static_cast<uint32_t>(number_)); }
  float real() const {
    float value = 0;
    const auto bits = static_cast<uint32_t>(number_);
    std::memcpy(&value, &bits, sizeof value);
    return value;
  }
  std::string text() const { return {reinterpret_cast<const char*>(bytes_.data()), bytes_.size()}; }
  ProtoReader message() const { return {cursor_.path(), bytes_}; }

 private:
  uint64_t Varint(std::string_view what) {
    const uint64_t at = cursor_.at();
    uint64_t value = 0;
    for (int shift = 0; shift < 70; shift += 7) {
      const auto byte = cursor_.Read<uint8_t>(what);
      value |= uint64_t{byte & 0x7Fu} << shift;
      if (byte < 0x80) return value;
    }
    cursor_.Fail(at, "{} does not end", what);
  }

  ByteCursor cursor_;
  uint64_t field_ = 0;
  uint64_t number_ = 0;
  std::span<const uint8_t> bytes_;
};

SpmPiece ReadPiece(ProtoReader fields) {
  SpmPiece piece;
  while (fields.Next()) {
    switch (fields.field()) {
      case 1:
        piece.text = fields.text();
        break;
      case 2:
        piece.score = fields.real();
        break;
      case 3:
        piece.type = fields.integer() >= 1 && fields.integer() <= 6
                         ? static_cast<TokenType>(fields.integer())
                         : TokenType::kUndefined;
        break;
      default:
        break;
    }
  }
  return piece;
}

void ReadTrainer(ProtoReader fields, SpmModel& model) {
  while (fields.Next()) {
    switch (fields.field()) {
      case 3:
        model.kind = static_cast<SpmModel::Kind>(fields.integer() & 0xFF);
        break;
      case 24:
        model.space_as_suffix = fields.flag();
        break;
      case 35:
        model.byte_fallback = fields.flag();
        break;
      case 40:
        model.unknown = fields.integer();
        break;
      case 41:
        model.bos = fields.integer();
        break;
      case 42:
        model.eos = fields.integer();
        break;
      case 43:
        model.pad = fields.integer();
        break;
      default:
        break;
    }
  }
}

void ReadNormalizer(ProtoReader fields, SpmModel& model) {
  while (fields.Next()) {
    switch (fields.field()) {
      case 2:
        model.character_map = fields.text();
        break;
      case 3:
        model.add_space_prefix = fields.flag();
        break;
      case 4:
        model.remove_extra_spaces = fields.flag();
        break;
      case 5:
        model.escape_spaces = fields.flag();
        break;
      default:
        break;
    }
  }
}

}  // namespace

SpmModel ReadSpmModel(std::string_view bytes, const std::string& source) {
  SpmModel model;
  ProtoReader fields(source, {reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()});
  while (fields.Next()) {
    if (fields.field() == 1) model.pieces.push_back(ReadPiece(fields.message()));
    if (fields.field() == 2) ReadTrainer(fields.message(), model);
    if (fields.field() == 3) ReadNormalizer(fields.message(), model);
  }
  return model;
}

}  // namespace halftone
