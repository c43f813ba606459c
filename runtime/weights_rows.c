/* weights_rows.c: see the header. */
#include "weights_rows.h"

#include "checked.h"
#include "error.h"

bool mq_weights_equal(const struct mq_weights *a, const struct mq_weights *b)
{
    return a->view == b->view && a->tensor == b->tensor && a->level == b->level &&
           (!a->level || (a->effort == b->effort && a->importance == b->importance));
}

uint64_t mq_weights_row_bytes(const struct mq_weights *weights)
{
    const uint64_t cols = weights->tensor->cols;
    return mq_max_u64(weights->tensor->row_bytes,
                      weights->level ? mq_level_row_bytes(weights->level, cols) : 0);
}

moeq_status mq_weights_check_values(const struct mq_weights *weights, enum mq_isa isa, uint64_t row,
                                    uint64_t count, const float *values, uint64_t per_row,
                                    uint64_t step, const char *what, moeq_error *err)
{
    const size_t n = count * per_row, bad = mq_first_not_finite(isa, values, n);
    if (bad == n)
        return MOEQ_OK;
    const uint64_t bad_row = row + bad / per_row;
    return mq_view_fail_row(err, MOEQ_MALFORMED, weights->view, weights->tensor, bad_row,
                            "row %llu, column %llu %s: expected a finite weight, found %g",
                            (unsigned long long)bad_row, (unsigned long long)(bad % per_row * step),
                            what, (double)values[bad]);
}

static moeq_status check_finite(const struct mq_weights *weights, enum mq_isa isa, uint64_t row,
                                uint64_t count, const float *rows, const char *what,
                                moeq_error *err)
{
    return mq_weights_check_values(weights, isa, row, count, rows, weights->tensor->cols, 1, what,
                                   err);
}

moeq_status mq_weights_decode(const struct mq_weights *weights, enum mq_isa isa, uint64_t row,
                              uint64_t count, const uint8_t *bytes, float *rows, moeq_error *err)
{
    mq_level_decode_rows(weights->storage, isa, bytes, count, weights->tensor->cols, rows);
    return check_finite(weights, isa, row, count, rows, "as stored", err);
}

moeq_status mq_weights_read(const struct mq_weights *weights, enum mq_isa isa, uint64_t row,
                            uint64_t count, uint8_t *bytes, float *rows, moeq_error *err)
{
    MQ_TRY(mq_view_read_rows(weights->view, weights->tensor, row, count, bytes, err));
    return mq_weights_decode(weights, isa, row, count, bytes, rows, err);
}

moeq_status mq_weights_decode_encoded(const struct mq_weights *weights, enum mq_isa isa,
                                      uint64_t row, uint64_t count, const uint8_t *bytes,
                                      float *out, moeq_error *err)
{
    mq_level_decode_rows(weights->level, isa, bytes, count, weights->tensor->cols, out);
    return check_finite(weights, isa, row, count, out, weights->level->name, err);
}
