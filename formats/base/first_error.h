/*
 * first_error.h: the first failure of threads that work side by side, which ends the work of all.
 *
 *     struct mq_first_error first = {.err = err};
 *     #pragma omp parallel for
 *     for (...) {
 *         moeq_error mine = {0};
 *         if (!mq_first_error_status(&first))
 *             mq_first_error_note(&first, do_part(..., &mine), &mine);
 *     }
 *     return mq_first_error_status(&first);
 */
#ifndef MQ_FIRST_ERROR_H
#define MQ_FIRST_ERROR_H

#include "error.h"

#include <stdatomic.h>

/* All zero but `err`, the caller's (or NULL): nothing has failed. */
struct mq_first_error {
    atomic_int status;
    moeq_error *err;
};

/* MOEQ_OK, or the status of what failed first. */
static inline moeq_status mq_first_error_status(struct mq_first_error *first)
{
    return (moeq_status)atomic_load(&first->status);
}

/* Notes how a thread's part went, and, if it is the first to fail, why. *first->err may be read when
 * all threads have ended. */
static inline void mq_first_error_note(struct mq_first_error *first, moeq_status status,
                                       const moeq_error *why)
{
    int none = MOEQ_OK;
    if (status != MOEQ_OK && atomic_compare_exchange_strong(&first->status, &none, (int)status))
        mq_fail_with(first->err, why);
}

#endif
