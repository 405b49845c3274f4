#pragma once

#include <cstddef>
#include <utility>

namespace pa {

namespace members_detail {

struct Anything {
  template <class T>
  operator T() const;  // NOLINT(google-explicit-constructor)
};

template <class T, std::size_t... I>
constexpr bool takes(std::index_sequence<I...>) {
  return requires { T{(static_cast<void>(I), Anything{})...}; };
}

template <class T, std::size_t N = 16>
constexpr std::size_t count() {
  if constexpr (N == 0 || takes<T>(std::make_index_sequence<N>{})) {
    return N;
  } else {
    return count<T, N - 1>();
  }
}

}  // namespace members_detail

/// Members of a plain struct, 16 at most.
template <class T>
inline constexpr std::size_t kMembers = members_detail::count<T>();

/// Calls `visit` with every member of a plain struct, in order.
template <class T, class F>
void visit_members(T& value, F visit) {
  constexpr std::size_t kCount = kMembers<T>;
  const auto each = [&](auto&... members) { (visit(members), ...); };
  if constexpr (kCount == 1) {
    auto& [a] = value;
    each(a);
  } else if constexpr (kCount == 2) {
    auto& [a, b] = value;
    each(a, b);
  } else if constexpr (kCount == 3) {
    auto& [a, b, c] = value;
    each(a, b, c);
  } else if constexpr (kCount == 4) {
    auto& [a, b, c, d] = value;
    each(a, b, c, d);
  } else if constexpr (kCount == 5) {
    auto& [a, b, c, d, e] = value;
    each(a, b, c, d, e);
  } else if constexpr (kCount == 6) {
    auto& [a, b, c, d, e, f] = value;
    each(a, b, c, d, e, f);
  } else if constexpr (kCount == 7) {
    auto& [a, b, c, d, e, f, g] = value;
    each(a, b, c, d, e, f, g);
  } else if constexpr (kCount == 8) {
    auto& [a, b, c, d, e, f, g, h] = value;
    each(a, b, c, d, e, f, g, h);
  } else if constexpr (kCount == 9) {
    auto& [a, b, c, d, e, f, g, h, i] = value;
    each(a, b, c, d, e, f, g, h, i);
  } else if constexpr (kCount == 10) {
    auto& [a, b, c, d, e, f, g, h, i, j] = value;
    each(a, b, c, d, e, f, g, h, i, j);
  } else if constexpr (kCount == 11) {
    auto& [a, b, c, d, e, f, g, h, i, j, k] = value;
    each(a, b, c, d, e, f, g, h, i, j, k);
  } else if constexpr (kCount == 12) {
    auto& [a, b, c, d, e, f, g, h, i, j, k, l] = value;
    each(a, b, c, d, e, f, g, h, i, j, k, l);
  } else if constexpr (kCount == 13) {
    auto& [a, b, c, d, e, f, g, h, i, j, k, l, m] = value;
    each(a, b, c, d, e, f, g, h, i, j, k, l, m);
  } else if constexpr (kCount == 14) {
    auto& [a, b, c, d, e, f, g, h, i, j, k, l, m, o] = value;
    each(a, b, c, d, e, f, g, h, i, j, k, l, m, o);
  } else if constexpr (kCount == 15) {
    auto& [a, b, c, d, e, f, g, h, i, j, k, l, m, o, p] = value;
    each(a, b, c, d, e, f, g, h, i, j, k, l, m, o, p);
  } else if constexpr (kCount == 16) {
    auto& [a, b, c, d, e, f, g, h, i, j, k, l, m, o, p, q] = value;
    each(a, b, c, d, e, f, g, h, i, j, k, l, m, o, p, q);
  } else {
    static_assert(kCount == 0, "more members than this counts");
  }
}

}  // namespace pa
