/* square_errors_int.h: the kernel behind level_error.c, one variant an instruction set. */
#ifndef MQ_SQUARE_ERRORS_INT_H
#define MQ_SQUARE_ERRORS_INT_H

#include <stddef.h>

#define MQ_DECLARE_SQUARE_ERRORS(isa) \
    void mq_square_errors_##isa(const float *weights, const float *stored, size_t n, double sums[2]);

MQ_DECLARE_SQUARE_ERRORS(generic)
MQ_DECLARE_SQUARE_ERRORS(neon)
MQ_DECLARE_SQUARE_ERRORS(avx2)
MQ_DECLARE_SQUARE_ERRORS(avx512)

#endif
