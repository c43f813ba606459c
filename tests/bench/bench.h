/*
 * bench.h: moeq-bench: what every part of it shares.
 *
 * All figures of one run are rates, measured the same way: some threads do the same piece of work
 * over and over; a rate is the units done per second of each thread's own processor time, summed
 * over the threads. So other programs on the machine disturb it little, and ratios within a run
 * can be trusted where absolute figures cannot. Only disk and whole pipelines are timed by the
 * clock. A figure is the median of some repeats; its spread is the distance between the quartiles.
 */
#ifndef MQ_BENCH_H
#define MQ_BENCH_H

#include "cpu.h"

#include <stddef.h>

/* A line of the result. Ratios that do not apply are 0. */
struct bench_row {
    char group[24], name[40];
    const char *isa; /* NULL: does not apply */
    unsigned threads;
    double rate, spread; /* spread: relative */
    const char *unit;    /* "GFLOP/s" */
    double of_peak;      /* share of the machine's limit */
    const char *peak;    /* which limit */
    double vs_scalar;    /* times the rate of the scalar reference, thread by thread */
};

/* Work that does nothing but what the machine has a limit of. */
typedef void bench_work(void *argument, unsigned thread);
struct bench_peak {
    bench_work *work; /* NULL: this machine has it not */
    double units;     /* GFLOP or GOP a call */
    double one, all;  /* what it gave on one thread and on all */
};

struct bench {
    unsigned threads; /* "all threads" */
    int repeats;
    double seconds;     /* that a repeat takes at least */
    const char *folder; /* for temporary files; large enough for the disk's test */
    const char *model;  /* a small model with a tokenizer, */
    const char *text;   /* and text for it */
    const char *full_width;
    uint64_t tokens; /* of the whole evaluations */
    struct bench_row *rows;
    size_t count, capacity;
    /* The machine's limits on one thread and on all, for the others to compare with. */
    struct bench_peak fma[MQ_ISA_COUNT], dot[MQ_ISA_COUNT];
    double memory_read[2];        /* GB/s */
    double disk_read, disk_write; /* GB/s */
    /* Default encoders on all threads, Mweights/s, by the levels' order in the table. */
    double encode_all[128];
};

struct bench_rate {
    double median, spread;
    double of_peak;
};

/* Units per second when `threads` threads each call work(argument, thread), `units` a call. With a
 * peak (else NULL), each repeat is followed by one of it, and of_peak is the median of their
 * ratios: so a processor that others slow down for a while disturbs the ratio little. */
struct bench_rate bench_measure(const struct bench *bench, unsigned threads, double units,
                                bench_work *work, void *argument, const struct bench_peak *peak);

/* Median and spread of n values, which are sorted. */
struct bench_rate bench_summary(double *values, size_t n);

/* Seconds of a monotonic clock; of the processor, all threads of this process together. */
double bench_seconds(void);
double bench_cpu_seconds(void);

/* Appends a copy, and prints it as a line of the table unless output is JSON. */
void bench_add(struct bench *bench, const struct bench_row *row);

/* Aligned memory that is never freed, filled with small numbers; exits if there is none. */
void *bench_memory(size_t bytes);
float *bench_floats(size_t n);
void bench_gaussian(float *x, size_t n);

/* Ends the program with a message. */
void bench_die(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

/* The parts, in the order in which they run. */
void bench_machine(struct bench *bench);
void bench_codecs(struct bench *bench);
void bench_products(struct bench *bench);
void bench_vector(struct bench *bench);
void bench_attention(struct bench *bench);
void bench_recurrent(struct bench *bench);
void bench_calibrate(struct bench *bench);
void bench_text(struct bench *bench);
void bench_pipelines(struct bench *bench);

#endif
