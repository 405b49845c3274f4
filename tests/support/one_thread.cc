#include <ATen/Parallel.h>

/// Linked into tests that compute: one thread for an operation, since several on a busy box wait
/// for each other far longer than they compute.
namespace pa {
namespace {

[[maybe_unused]] const bool kOneThread = [] {
  at::set_num_threads(1);
  return true;
}();

}  // namespace
}  // namespace pa
