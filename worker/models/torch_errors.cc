#include "worker/models/torch_errors.h"

#include <c10/util/Exception.h>

#include <exception>
#include <new>

namespace pa {

Error current_torch_error() {
  try {
    throw;
  } catch (const c10::OutOfMemoryError& error) {
    return overloaded(error.what_without_backtrace());
  } catch (const std::bad_alloc&) {
    return overloaded("out of memory");
  } catch (const c10::Error& error) {
    return internal(error.what_without_backtrace());
  } catch (const std::exception& error) {
    return internal(error.what());
  } catch (...) {
    return internal("an unknown exception");
  }
}

}  // namespace pa
