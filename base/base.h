/* SPDX-License-Identifier: MIT */
/*
 * Attributes, assertions and the few macros that every file uses.
 */
#ifndef C2_BASE_BASE_H
#define C2_BASE_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define C2_PRINTF(fmt_index, first_index) __attribute__((format(printf, fmt_index, first_index)))
#define C2_NORETURN                       __attribute__((noreturn))

/* The result of this function must be used: it says whether something failed. */
#define C2_RESULT __attribute__((warn_unused_result)) enum c2_err

/* Runs fn(&variable) when the variable goes out of scope. */
#define C2_AUTO(fn) __attribute__((cleanup(fn)))

#define C2_ARRAY_LEN(a)                    (sizeof(a) / sizeof((a)[0]))
#define C2_CONTAINER_OF(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))
#define C2_MIN(a, b)                       ((a) < (b) ? (a) : (b))
#define C2_MAX(a, b)                       ((a) > (b) ? (a) : (b))

/* Propagates an error to the caller. */
#define C2_TRY(expr)                                                                               \
    do {                                                                                           \
        enum c2_err c2_try_err = (expr);                                                           \
        if (c2_try_err != C2_E_OK)                                                                 \
            return c2_try_err;                                                                     \
    } while (0)

/*
 * States what our own code guarantees; on in every build, release included. Never on bytes that
 * come from providers, replicas, the kernel, configuration or disk: those are errors.
 */
#define C2_ASSERT(cond)  ((cond) ? (void)0 : c2_assert_failed(#cond, __FILE__, __LINE__, __func__))
#define C2_UNREACHABLE() c2_assert_failed("unreachable", __FILE__, __LINE__, __func__)

C2_NORETURN void c2_assert_failed(const char *cond, const char *file, int line, const char *func);

#endif
