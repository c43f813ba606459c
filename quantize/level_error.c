/* level_error.c: see the header. */
#include "level_error.h"

#include "checked.h"
#include "cpu.h"
#include "square_errors_int.h"

#include <math.h>

void mq_level_add_error(const struct mq_level *level, enum mq_isa isa, const float *weights,
                        const uint8_t *bytes, uint64_t rows, uint64_t cols, float *scratch,
                        size_t room, struct mq_square_sums *sums)
{
    static void (*const variants[MQ_ISA_COUNT])(const float *, const float *, size_t, double *) =
        MQ_ISA_TABLE(mq_square_errors);
    const uint64_t row_bytes = mq_level_row_bytes(level, cols), step = mq_max_u64(1, room / cols);
    for (uint64_t row = 0; row < rows; row += step) {
        const uint64_t n = mq_min_u64(step, rows - row);
        double part[2] = {0};
        mq_level_decode_rows(level, isa, bytes + row * row_bytes, n, cols, scratch);
        variants[isa](weights + row * cols, scratch, n * cols, part);
        sums->lost += part[0];
        sums->weights += part[1];
    }
}

double mq_relative_error(const struct mq_square_sums *s)
{
    if (s->lost == 0)
        return 0;
    return s->weights > 0 ? sqrt(s->lost / s->weights) : INFINITY;
}

double mq_level_error_noted(const struct mq_level *level)
{
    const double e = level->error;
    return fmax(MQ_ERROR_FLOOR, fmin(MQ_ERROR_NOTED * e, (1 + 2 * e) / 3));
}

double mq_level_error_far(const struct mq_level *level)
{
    const double e = level->error;
    return fmax(MQ_ERROR_FLOOR, fmin(MQ_ERROR_FAR * e, (2 + e) / 3));
}
