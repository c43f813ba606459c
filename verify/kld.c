/* kld.c: from rows of logits to one token's figures. */
#include "kld.h"

#include "kld_int.h"
#include "portable_math.h"

void mq_softmax_of(enum mq_isa isa, const float *logits, size_t n, double *exps,
                   struct mq_softmax *s)
{
    static float (*const max_of[])(const float *, size_t) = MQ_ISA_TABLE(mq_logits_max);
    static double (*const exp_sum[])(const float *, size_t, float, double *, double *) =
        MQ_ISA_TABLE(mq_logits_exp_sum);
    double finite;
    s->max = max_of[isa](logits, n);
    s->sum = exp_sum[isa](logits, n, s->max, exps, &finite);
    s->finite = finite == 0;
    s->log_sum = s->finite ? mq_log(s->sum) : 0;
    s->top = 0;
    while (s->finite && logits[s->top] != s->max)
        s->top++;
}

double mq_softmax_nll(const struct mq_softmax *s, const float *logits, int32_t target)
{
    return s->log_sum - ((double)logits[target] - (double)s->max);
}

/*
 * With a = base - its max, b = arm - its max, and A, B their sums of exponentials:
 *     KL = sum exp(a)/A ((a - log A) - (b - log B)) = (sum exp(a) (a - b)) / A - (log A - log B)
 */
double mq_softmax_kl(enum mq_isa isa, const float *base, const struct mq_softmax *base_softmax,
                     const double *base_exps, const float *arm,
                     const struct mq_softmax *arm_softmax, size_t n)
{
    static double (*const cross[])(const float *, float, const double *, const float *, float,
                                   size_t) = MQ_ISA_TABLE(mq_logits_cross);
    const double mean_difference =
        cross[isa](base, base_softmax->max, base_exps, arm, arm_softmax->max, n) /
        base_softmax->sum;
    const double kl = mean_difference - (base_softmax->log_sum - arm_softmax->log_sum);
    return kl > 0 ? kl : 0;
}
