/*
 * lanes_ops.h: every operation of vec16.h and lanes_int.h, for test_lanes.c.
 *
 * lanes_ops.c is compiled once per instruction set and writes a row of 16 floats an operation.
 */
#ifndef LANES_OPS_H
#define LANES_OPS_H

/* X(exact, name, expression of vectors a, b, c and of the bytes p): exact ones move bits, even
 * NaNs' payloads; of the others NaNs are NaNs. Narrowing must not be given NaNs; v_min returns its
 * second operand for them. */
#define LANES_OPS(X)                                                            \
    X(true, "v_load, v_store", a)                                               \
    X(true, "v_set1", v_set1(first))                                            \
    X(false, "v_add", v_add(a, b))                                              \
    X(false, "v_sub", v_sub(a, b))                                              \
    X(false, "v_mul", v_mul(a, b))                                              \
    X(false, "v_div", v_div(a, b))                                              \
    X(false, "v_fma", v_fma(a, b, c))                                           \
    X(false, "v_fnma", v_fnma(a, b, c))                                         \
    X(false, "v_fms", v_fms(a, b, c))                                           \
    X(false, "v_fma, exactly 0", v_fma(a, b, v_neg(v_mul(a, b))))               \
    X(false, "v_fnma, exactly 0", v_fnma(a, b, v_mul(a, b)))                    \
    X(false, "v_fms, exactly 0", v_fms(a, b, v_mul(a, b)))                      \
    X(true, "v_neg", v_neg(a))                                                  \
    X(true, "v_abs", v_abs(a))                                                  \
    X(true, "v_min", v_min(a, b))                                               \
    X(true, "v_max", v_max(a, b))                                               \
    X(true, "v_min, equal", v_min(a, v_neg(a)))                                 \
    X(true, "v_max, equal", v_max(a, v_neg(a)))                                 \
    X(true, "v_gt, m_bits", v_set1((float)m_bits(v_gt(a, b))))                  \
    X(true, "v_lt, m_bits", v_set1((float)m_bits(v_lt(a, b))))                  \
    X(true, "v_gt, v_select", v_select(v_gt(a, b), a, c))                       \
    X(true, "v_lt, v_select", v_select(v_lt(a, b), a, c))                       \
    X(true, "m_and", v_select(m_and(v_lt(a, b), v_lt(a, c)), b, c))             \
    X(true, "m_or", v_select(m_or(v_lt(a, b), v_lt(a, c)), b, c))               \
    X(true, "v_round_f16", v_round_f16(a))                                      \
    X(true, "v_load_f16", v_load_f16(p))                                        \
    X(true, "v_load_bf16", v_load_bf16(p))                                      \
    X(true, "v_from_i8", v_from_i8((const int8_t *)p))                          \
    X(true, "v_store_low8, v_from_u8", low8(a))                                 \
    X(true, "v_shift_add_exponent", v_shift_add_exponent(a, b))                 \
    X(false, "v_sqrt", v_sqrt(a))                                               \
    X(false, "v_sum", v_set1(v_sum(a)))                                         \
    X(true, "v_max_lane", v_set1(v_max_lane(a)))                                \
    X(false, "v_round", v_round(a))                                             \
    X(true, "v_clamp", v_clamp(a, -2.0f, 2.0f))                                 \
    X(false, "v_exp", v_exp(a))                                                 \
    X(false, "v_silu", v_silu(a))                                               \
    X(true, "v_join", v_join(a, b))                                             \
    X(false, "v_sum_halves", v_sum_halves(a))                                   \
    X(true, "v_max_halves", v_max_halves(a))                                    \
    X(true, "v_set1_f16", v_set1_f16(p))                                        \
    X(true, "v_store_f16", narrowed(v_min(a, v_set1(INFINITY)), v_store_f16))   \
    X(true, "v_store_bf16", narrowed(v_min(a, v_set1(INFINITY)), v_store_bf16)) \
    X(false, "v_inverse_or_zero", v_inverse_or_zero(a))                         \
    X(true, "v_iota", v_iota())

enum {
    LANES_IN = 256, /* floats: of these a, b, c are the first 48; p is a's bytes */
    LANES_TRANSPOSED = 16 + 4,
#define LANES_ONE(exact, name, expression) +1
    LANES_ROWS = LANES_OPS(LANES_ONE) + LANES_TRANSPOSED,
#undef LANES_ONE
};

/* The rows of LANES_OPS, then v_transpose of all, then mq_transpose_bytes of the first 256 bytes.
 */
#define LANES_DECLARE(isa) void mq_lanes_ops_##isa(const float *in, float *out);
LANES_DECLARE(generic)
LANES_DECLARE(neon)
LANES_DECLARE(avx2)
LANES_DECLARE(avx512)
#undef LANES_DECLARE

#endif
