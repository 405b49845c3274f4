#include "clients/cpp/request_builder.h"

#include <charconv>

#include "shared/io/json_reader.h"
#include "shared/io/request_json.h"

namespace pa {
namespace {

using json::Json;

constexpr std::size_t kMaxLabels = 65536;

template <class T>
std::optional<T> whole_number(std::string_view text) {
  T number = 0;
  const char* end = text.data() + text.size();
  const auto parsed = std::from_chars(text.data(), end, number);
  if (parsed.ec != std::errc{} || parsed.ptr != end || text.empty()) return std::nullopt;
  return number;
}

std::string_view trimmed(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(' ');
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(' ') - begin + 1);
}

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  for (;;) {
    const std::size_t end = text.find(separator);
    parts.push_back(text.substr(0, end));
    if (end == std::string_view::npos) return parts;
    text.remove_prefix(end + 1);
  }
}

/// Appends the labels of one entry: "7", "cat" or "0-9".
Status expand_label(std::string_view entry, std::vector<std::string>& labels) {
  if (entry.empty()) return invalid("empty label");
  const std::size_t dash = entry.find('-', 1);
  if (dash != std::string_view::npos) {
    const auto first = whole_number<std::uint32_t>(entry.substr(0, dash));
    const auto last = whole_number<std::uint32_t>(entry.substr(dash + 1));
    if (first && last) {
      const std::int64_t step = *first <= *last ? 1 : -1;
      for (std::int64_t i = *first; labels.size() <= kMaxLabels; i += step) {
        labels.push_back(std::to_string(i));
        if (i == *last) return {};
      }
      return {};
    }
  }
  labels.emplace_back(entry);
  return {};
}

/// Puts `value` at the dotted `path` of `document`; numbers in it index lists.
Status set_path(Json& document, const std::string& path, Json value) {
  Json* place = &document;
  for (const std::string_view part : split(path, '.')) {
    if (part.empty()) return invalid("--set " + path + ": a part of the field's name is empty");
    if (place->is_array()) {
      const auto index = whole_number<std::size_t>(part);
      if (!index || *index >= place->size()) {
        return invalid("--set " + path + ": '" + std::string(part) +
                       "' must be a place in a list of " + std::to_string(place->size()));
      }
      place = &(*place)[*index];
    } else if (place->is_object() || place->is_null()) {
      place = &(*place)[std::string(part)];
    } else {
      return invalid("--set " + path + ": there is nothing inside of " + place->dump());
    }
  }
  *place = std::move(value);
  return {};
}

Status set_size(Json& document, const std::string& text) {
  const std::size_t cross = text.find('x');
  const auto width = whole_number<std::int64_t>(std::string_view(text).substr(0, cross));
  const auto height = cross == std::string::npos
                          ? std::nullopt
                          : whole_number<std::int64_t>(std::string_view(text).substr(cross + 1));
  if (!width || !height) {
    return invalid("expected WIDTHxHEIGHT in pixels, such as 1024x768, found '" + text + "'",
                   "/size");
  }
  document.erase("latent_shape");
  document["size"] = {*width, *height};
  return {};
}

Status apply(Json& document, const RequestOverrides& overrides) {
  if (overrides.model) document["model"] = *overrides.model;
  if (overrides.count) document["samples"] = *overrides.count;
  if (overrides.size) PA_TRY(set_size(document, *overrides.size));
  if (overrides.steps || overrides.scheduler) document.erase("sigmas");
  if (overrides.steps) PA_TRY(set_path(document, "schedule.steps", *overrides.steps));
  if (overrides.scheduler) PA_TRY(set_path(document, "schedule.name", *overrides.scheduler));
  if (overrides.sampler) PA_TRY(set_path(document, "sampler.name", *overrides.sampler));
  if (overrides.cfg) PA_TRY(set_path(document, "guidance.cfg", *overrides.cfg));
  if (overrides.seed) document["seed"] = *overrides.seed;
  for (const auto& [path, text] : overrides.set) {
    Json value = Json::parse(text, nullptr, /*allow_exceptions=*/false);
    PA_TRY(set_path(document, path, value.is_discarded() ? Json(text) : std::move(value)));
  }
  return {};
}

/// Cycles the labels over the samples; without a number of samples there is one a label.
Status apply_labels(Json& document, const std::string& text) {
  PA_ASSIGN(const std::vector<std::string> labels, expand_labels(text));
  if (!document.contains("samples")) document["samples"] = labels.size();
  const Json& samples = document["samples"];
  if (!samples.is_number_unsigned() && !samples.is_number_integer())
    return {};  // The parser's matter.
  const auto count = samples.get<std::int64_t>();
  if (count < 1 || count > static_cast<std::int64_t>(kMaxLabels)) return {};
  Json list = Json::array();
  for (std::size_t i = 0; i < static_cast<std::size_t>(count); ++i) {
    list.push_back(labels[i % labels.size()]);
  }
  document["labels"] = std::move(list);
  return {};
}

}  // namespace

Result<std::vector<std::string>> expand_labels(std::string_view text) {
  std::vector<std::string> labels;
  for (const std::string_view entry : split(text, ',')) {
    if (!expand_label(trimmed(entry), labels).ok()) {
      return invalid("expected labels such as 0-9 or cat,dog, found '" + std::string(text) + "'",
                     "/labels");
    }
    if (labels.size() > kMaxLabels) {
      return invalid("expected at most " + std::to_string(kMaxLabels) + " labels", "/labels");
    }
  }
  return labels;
}

Result<std::string> build_request(Operation op, std::string_view base,
                                  const RequestOverrides& overrides, std::int64_t rows) {
  Json document = Json::object();
  if (!base.empty()) {
    PA_ASSIGN(document, json::parse(base));
    if (!document.is_object()) return parse_request(base).error();
  }
  const std::string wanted = op == Operation::kSample ? "sample" : "forward";
  if (document.contains("op") || !base.empty()) {
    const Json found = document.value("op", Json("sample"));
    if ((found == "sample" || found == "forward") && found != wanted) {
      return invalid(
          "the file holds a request for " + found.dump() + ": use pa " + found.get<std::string>(),
          "/op");
    }
  }
  if (!document.contains("op")) document["op"] = wanted;
  PA_TRY(apply(document, overrides));
  if (overrides.labels) PA_TRY(apply_labels(document, *overrides.labels));
  if (!document.contains("samples") && rows > 0) document["samples"] = rows;
  const bool has_schedule = document.contains("schedule") || document.contains("sigmas");
  if (base.empty() && op == Operation::kSample && !has_schedule)
    document["schedule"] = Json::object();
  PA_ASSIGN(const Request request,
            parse_request(document.dump(-1, ' ', false, Json::error_handler_t::replace)));
  return to_json(request);
}

}  // namespace pa
