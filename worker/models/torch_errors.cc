#include "worker/models/torch_errors.h"

#include <c10/util/Exception.h>

#include <algorithm>
#include <exception>
#include <new>
#include <string>

namespace pa {
namespace {

constexpr std::size_t kLongest = 400;

/// What fits into a line of a log: the rest is lists of backends and stack traces.
std::string first_line(const char* text) {
  std::string line(text);
  line.resize(std::min(line.find('\n'), line.size()));
  if (line.size() > kLongest) line.replace(kLongest, std::string::npos, "...");
  return line;
}

}  // namespace

Error current_torch_error() {
  try {
    throw;
  } catch (const c10::OutOfMemoryError& error) {
    return overloaded(first_line(error.what_without_backtrace()));
  } catch (const std::bad_alloc&) {
    return overloaded("out of memory");
  } catch (const c10::Error& error) {
    return internal(first_line(error.what_without_backtrace()));
  } catch (const std::exception& error) {
    return internal(first_line(error.what()));
  } catch (...) {
    return internal("an unknown exception");
  }
}

}  // namespace pa
