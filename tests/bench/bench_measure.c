/* bench_measure.c: rates and their spread; memory; failing. */
#include "bench.h"

#include "pages.h"

#include <omp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MAX_REPEATS = 64 };

static double seconds_of(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

double bench_seconds(void)
{
    return seconds_of(CLOCK_MONOTONIC);
}

double bench_cpu_seconds(void)
{
    return seconds_of(CLOCK_PROCESS_CPUTIME_ID);
}

static int compare(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

struct bench_rate bench_summary(double *values, size_t n)
{
    qsort(values, n, sizeof *values, compare);
    const double median = (values[n / 2] + values[(n - 1) / 2]) / 2;
    const double quartiles = values[n - 1 - n / 4] - values[n / 4];
    return (struct bench_rate){median, median > 0 ? quartiles / median : 0, 0};
}

/* Units per second of all threads, each of which works for at least `seconds`. */
static double run_once(unsigned threads, double seconds, double units, bench_work *work,
                       void *argument)
{
    double sum = 0;
#pragma omp parallel num_threads((int)threads) reduction(+ : sum)
    {
        const unsigned thread = (unsigned)omp_get_thread_num();
        const double start = seconds_of(CLOCK_THREAD_CPUTIME_ID);
        double elapsed, calls = 0;
        do {
            work(argument, thread);
            calls++;
            elapsed = seconds_of(CLOCK_THREAD_CPUTIME_ID) - start;
        } while (elapsed < seconds);
        sum += calls * units / elapsed;
    }
    return sum;
}

struct bench_rate bench_measure(const struct bench *bench, unsigned threads, double units,
                                bench_work *work, void *argument, const struct bench_peak *peak)
{
    double rates[MAX_REPEATS], shares[MAX_REPEATS];
    const size_t repeats = bench->repeats < MAX_REPEATS ? (size_t)bench->repeats : MAX_REPEATS;
    const bool has_peak = peak && peak->work;
    run_once(threads, 0, units, work, argument); /* warms caches and pages */
    for (size_t i = 0; i < repeats; i++) {
        rates[i] = run_once(threads, bench->seconds, units, work, argument);
        if (has_peak)
            shares[i] =
                rates[i] / run_once(threads, bench->seconds / 4, peak->units, peak->work, NULL);
    }
    struct bench_rate rate = bench_summary(rates, repeats);
    if (has_peak)
        rate.of_peak = bench_summary(shares, repeats).median;
    return rate;
}

void *bench_memory(size_t bytes)
{
    void *p = mq_pages_alloc(bytes); /* as the evaluator does */
    if (!p)
        bench_die("out of memory");
    memset(p, 1, bytes);
    return p;
}

float *bench_floats(size_t n)
{
    float *x = bench_memory(n * sizeof *x);
    for (size_t i = 0; i < n; i++)
        x[i] = (float)(i % 1009) * 1e-3f - 0.5f;
    return x;
}

void bench_gaussian(float *x, size_t n)
{
    uint64_t state = 1;
    for (size_t i = 0; i < n; i++) { /* a sum of 12 uniforms is close enough to time with */
        float sum = -6.0f;
        for (int k = 0; k < 12; k++) {
            state = state * 6364136223846793005u + 1442695040888963407u;
            sum += (float)(state >> 40) * 0x1p-24f;
        }
        x[i] = 0.02f * sum;
    }
}

void bench_die(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "moeq-bench: ");
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(1);
}
