#pragma once

/// What Clang's -Wthread-safety checks; nothing elsewhere. The names are those of its manual.
#if defined(__clang__)
#define PA_THREAD_ATTRIBUTE(x) __attribute__((x))
#else
#define PA_THREAD_ATTRIBUTE(x)
#endif

#define CAPABILITY(x) PA_THREAD_ATTRIBUTE(capability(x))
#define SCOPED_CAPABILITY PA_THREAD_ATTRIBUTE(scoped_lockable)
#define GUARDED_BY(x) PA_THREAD_ATTRIBUTE(guarded_by(x))
#define REQUIRES(...) PA_THREAD_ATTRIBUTE(requires_capability(__VA_ARGS__))
#define EXCLUDES(...) PA_THREAD_ATTRIBUTE(locks_excluded(__VA_ARGS__))
#define ACQUIRE(...) PA_THREAD_ATTRIBUTE(acquire_capability(__VA_ARGS__))
#define RELEASE(...) PA_THREAD_ATTRIBUTE(release_capability(__VA_ARGS__))
