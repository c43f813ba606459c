/* feedback_triangles.c: factors and solutions of small triangles; compiled once per instruction set. */
#include "feedback_lanes_int.h"

bool MQ_ISA_NAME(mq_feedback_factor)(float *a, size_t lda, size_t n, float *D)
{
    for (size_t k = n; k-- > 0;) {
        D[k] = a[k * lda + k];
        if (!(D[k] > 0.0f) || !isfinite(D[k]))
            return false;
        for (size_t i = 0; i < k; i++) { /* column k still has D times F below row i */
            const float f = a[i * lda + k] / D[k];
            for (size_t j = i; j < k; j++)
                a[i * lda + j] = fmaf(-f, a[j * lda + k], a[i * lda + j]);
            a[i * lda + k] = f;
        }
    }
    return true;
}

/* 16 columns at a time: first among each other, then to all that come after. */
void MQ_ISA_NAME(mq_feedback_solve_back)(float *v, const float *f, size_t ldf, size_t columns)
{
    for (size_t end = columns, begin; end > 0; end = begin) {
        begin = (end - 1) / 16 * 16;
        v16 minus[16];
        for (size_t k = end; k-- > begin;) {
            minus[k - begin] = v_neg(v_load(v + 16 * k));
            add_columns(&minus[k - begin], 1, f + k, ldf, begin, k, v);
        }
        add_columns(minus, end - begin, f + begin, ldf, 0, begin, v);
    }
}

void MQ_ISA_NAME(mq_feedback_solve_on)(float *v, const float *f, size_t ldf, size_t columns)
{
    for (size_t begin = 0, end; begin < columns; begin = end) {
        end = columns - begin < 16 ? columns : begin + 16;
        v16 minus[16];
        for (size_t k = begin; k < end; k++) {
            minus[k - begin] = v_neg(v_load(v + 16 * k));
            add_rows(&minus[k - begin], 1, f + k * ldf, ldf, k + 1, end, v);
        }
        add_rows(minus, end - begin, f + begin * ldf, ldf, end, columns, v);
    }
}
