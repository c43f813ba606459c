/* units.c: times as people read them, and the clock. */
#include "command.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <time.h>

const char *mq_counted(uint64_t n, const char *word, char text[64])
{
    snprintf(text, 64, "%" PRIu64 " %.40s%s", n, word, n == 1 ? "" : "s");
    return text;
}

const char *mq_format_seconds(double seconds, char text[32])
{
    const long s = lround(seconds);
    if (seconds < 10)
        snprintf(text, 32, "%.1f s", seconds);
    else if (s < 60)
        snprintf(text, 32, "%ld s", s);
    else if (s < 3600)
        snprintf(text, 32, "%ld min %02ld s", s / 60, s % 60);
    else
        snprintf(text, 32, "%ld h %02ld min", s / 3600, s / 60 % 60);
    return text;
}

double mq_now_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}
