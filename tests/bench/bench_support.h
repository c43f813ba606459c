/* bench_support.h: timing, and the machine's peak that the figures are compared with. */
#ifndef MQ_BENCH_SUPPORT_H
#define MQ_BENCH_SUPPORT_H

#include "cpu.h"

/* Seconds of a monotonic clock. */
double mq_bench_seconds(void);

/* Processor seconds that this process has used, all threads together: unlike the clock, hardly
 * disturbed by other programs on the machine. */
double mq_bench_cpu_seconds(void);

/* f32 fused multiply-adds with the widest vectors of `isa`, independent chains in registers only,
 * on `threads` threads: billions of floating-point operations (two a multiply-add) per second, from
 * processor time: what `threads` undisturbed processors give. */
double mq_bench_peak_gflops(enum mq_isa isa, unsigned threads);

#endif
