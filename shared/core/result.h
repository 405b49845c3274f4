#pragma once

#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

namespace pa {

/// Why an operation did not happen. Carried in Result<T>, never thrown.
enum class Code : std::uint8_t {
  kInvalid,      ///< The request is wrong; sending it again fails again.
  kUnavailable,  ///< Nothing here can do it now: no such model, no live worker.
  kOverloaded,   ///< A bounded queue or memory is full; retry later.
  kDeadline,     ///< Time ran out; partial results were dropped.
  kCancelled,    ///< The client asked for it to stop.
  kWorkerLost,   ///< The worker vanished; another may run the shard.
  kInternal,     ///< A bug or a broken host; logged once, where found.
};

/// The name of `code` as it appears on the wire, in logs and in metrics: "invalid", "overloaded", ...
[[nodiscard]] std::string_view name_of(Code code);

/// The code named `name`; kInternal for a name this version does not know.
[[nodiscard]] Code code_named(std::string_view name);

/// A failure in words. `field` is the JSON pointer of the offending part of a request ("/sampler/name"), or empty.
struct Error {
  Code code = Code::kInternal;
  std::string message;
  std::string field;
};

[[nodiscard]] inline Error invalid(std::string message, std::string field = {}) {
  return {Code::kInvalid, std::move(message), std::move(field)};
}
[[nodiscard]] inline Error unavailable(std::string message) {
  return {Code::kUnavailable, std::move(message), {}};
}
[[nodiscard]] inline Error overloaded(std::string message) {
  return {Code::kOverloaded, std::move(message), {}};
}
[[nodiscard]] inline Error internal(std::string message) {
  return {Code::kInternal, std::move(message), {}};
}

/// Prints `what` with its place and aborts. For broken invariants only.
[[noreturn]] void broken(const char* file, int line, std::string_view what);

#define PA_CHECK(condition)                                         \
  do {                                                              \
    if (!(condition)) ::pa::broken(__FILE__, __LINE__, #condition); \
  } while (false)

/// A value, or the reason why there is none. Reading the absent side aborts.
template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value)  // NOLINT(google-explicit-constructor)
      : state_(std::in_place_index<0>, std::move(value)) {}
  Result(Error error)  // NOLINT(google-explicit-constructor)
      : state_(std::in_place_index<1>, std::move(error)) {}

  [[nodiscard]] bool ok() const { return state_.index() == 0; }
  explicit operator bool() const { return ok(); }

  [[nodiscard]] T& value() & {
    PA_CHECK(ok());
    return std::get<0>(state_);
  }
  [[nodiscard]] const T& value() const& {
    PA_CHECK(ok());
    return std::get<0>(state_);
  }
  [[nodiscard]] T&& value() && {
    PA_CHECK(ok());
    return std::get<0>(std::move(state_));
  }
  [[nodiscard]] T& operator*() & { return value(); }
  [[nodiscard]] const T& operator*() const& { return value(); }
  [[nodiscard]] T&& operator*() && { return std::move(*this).value(); }
  [[nodiscard]] T* operator->() { return &value(); }
  [[nodiscard]] const T* operator->() const { return &value(); }

  [[nodiscard]] const Error& error() const {
    PA_CHECK(!ok());
    return std::get<1>(state_);
  }

 private:
  std::variant<T, Error> state_;
};

/// Success, or the reason of a failure, of an operation that returns nothing.
template <>
class [[nodiscard]] Result<void> {
 public:
  Result() = default;
  Result(Error error)  // NOLINT(google-explicit-constructor)
      : state_(std::in_place_index<1>, std::move(error)) {}

  [[nodiscard]] bool ok() const { return state_.index() == 0; }
  explicit operator bool() const { return ok(); }

  [[nodiscard]] const Error& error() const {
    PA_CHECK(!ok());
    return std::get<1>(state_);
  }

 private:
  std::variant<std::monostate, Error> state_;
};

using Status = Result<void>;

/// Returns the error of `expression` from the enclosing function, if it has one.
#define PA_TRY(expression)                                                                    \
  do {                                                                                        \
    if (auto pa_try_result = (expression); !pa_try_result.ok()) return pa_try_result.error(); \
  } while (false)

#define PA_CONCAT_INNER(a, b) a##b
#define PA_CONCAT(a, b) PA_CONCAT_INNER(a, b)

/// PA_ASSIGN(auto x, f()): x is the value of f(), whose error is returned instead if it has one.
#define PA_ASSIGN(declaration, expression) \
  PA_ASSIGN_INNER(PA_CONCAT(pa_result_, __LINE__), declaration, expression)
#define PA_ASSIGN_INNER(temporary, declaration, expression) \
  auto temporary = (expression);                            \
  if (!temporary.ok()) return temporary.error();            \
  declaration = std::move(temporary).value()

}  // namespace pa
