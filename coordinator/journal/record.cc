#include "coordinator/journal/record.h"

#include <msgpack.hpp>
#include <span>

#include "shared/wire/codec.h"

namespace pa {
namespace {

using Packer = msgpack::packer<msgpack::sbuffer>;

void pack_bytes(Packer& packer, std::string_view bytes) {
  packer.pack_bin(static_cast<std::uint32_t>(bytes.size()));
  packer.pack_bin_body(bytes.data(), static_cast<std::uint32_t>(bytes.size()));
}

std::string text_of(const msgpack::sbuffer& buffer) { return {buffer.data(), buffer.size()}; }

std::string_view bytes_of(const msgpack::object& object) {
  if (object.type != msgpack::type::BIN) throw msgpack::type_error();
  return {object.via.bin.ptr, object.via.bin.size};
}

/// The message of type T that `bytes` hold; throws as msgpack does if they hold something else.
template <class T>
T message_of(std::string_view bytes) {
  Result<Message> message = decode(std::as_bytes(std::span(bytes.data(), bytes.size())));
  if (!message.ok() || !std::holds_alternative<T>(*message)) throw msgpack::type_error();
  return std::get<T>(std::move(*message));
}

/// Calls `read` with the array of `size` elements that `record` must be.
template <class T, class Read>
Result<T> unpack(std::string_view record, std::uint32_t size, Read read) {
  try {
    const msgpack::object_handle handle = msgpack::unpack(record.data(), record.size());
    const msgpack::object& object = handle.get();
    if (object.type != msgpack::type::ARRAY || object.via.array.size != size)
      throw msgpack::type_error();
    return read(object.via.array.ptr);
  } catch (const std::exception&) {
    return internal("its record cannot be read");
  }
}

}  // namespace

std::string pack(const RequestRecord& record) {
  Hello model;  // The message that carries models.
  model.name = record.model.name;
  model.models = {record.model};
  msgpack::sbuffer buffer;
  Packer packer(buffer);
  packer.pack_array(6);
  pack_bytes(packer, encode(record.submit));
  pack_bytes(packer, encode(model));
  packer.pack(record.input_bytes);
  packer.pack(record.input_digest.high);
  packer.pack(record.input_digest.low);
  packer.pack(record.written_at);
  return text_of(buffer);
}

Result<RequestRecord> unpack_request(std::string_view bytes) {
  return unpack<RequestRecord>(bytes, 6, [](const msgpack::object* fields) {
    RequestRecord record;
    record.submit = message_of<Submit>(bytes_of(fields[0]));
    Hello model = message_of<Hello>(bytes_of(fields[1]));
    record.model = std::move(model.models.at(0));
    record.input_bytes = fields[2].as<std::uint64_t>();
    record.input_digest = {fields[3].as<std::uint64_t>(), fields[4].as<std::uint64_t>()};
    record.written_at = fields[5].as<std::int64_t>();
    return record;
  });
}

std::string pack(const SampleRecord& record) {
  Done report;  // The message that carries reports.
  report.samples = {record.report};
  msgpack::sbuffer buffer;
  Packer packer(buffer);
  packer.pack_array(5);
  pack_bytes(packer, encode(report));
  packer.pack(record.row_bytes);
  packer.pack(record.result_bytes);
  packer.pack(record.row_digest.high);
  packer.pack(record.row_digest.low);
  return text_of(buffer);
}

Result<SampleRecord> unpack_sample(std::string_view bytes) {
  return unpack<SampleRecord>(bytes, 5, [](const msgpack::object* fields) {
    SampleRecord record;
    record.report = message_of<Done>(bytes_of(fields[0])).samples.at(0);
    record.row_bytes = fields[1].as<std::uint64_t>();
    record.result_bytes = fields[2].as<std::uint64_t>();
    record.row_digest = {fields[3].as<std::uint64_t>(), fields[4].as<std::uint64_t>()};
    return record;
  });
}

std::string pack(const Done& outcome) { return encode(outcome); }

Result<Done> unpack_outcome(std::string_view record) {
  try {
    return message_of<Done>(record);
  } catch (const std::exception&) {
    return internal("its outcome cannot be read");
  }
}

}  // namespace pa
