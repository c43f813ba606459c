/* sizes.c: sizes in bytes as people write and read them. */
#include "sizes.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

bool mq_parse_number(const char *text, bool units, uint64_t *value)
{
    uint64_t v = 0, fraction = 0, scale = 1, unit = 1;
    const char *p = text;
    for (; *p >= '0' && *p <= '9'; p++)
        if (__builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, *p - '0', &v))
            return false;
    if (p == text)
        return false;
    if (units && *p == '.')
        for (p++; *p >= '0' && *p <= '9' && scale < 1000000; p++, scale *= 10)
            fraction = 10 * fraction + (uint64_t)(*p - '0');
    if (units && *p) {
        static const char letters[] = "KMGT";
        const char *letter = strchr(letters, *p >= 'a' ? *p - 32 : *p);
        if (!letter)
            return false;
        unit = UINT64_C(1) << 10 * (letter - letters + 1);
        p++;
        if (*p == 'i')
            p++;
        if (*p == 'B' || *p == 'b')
            p++;
    }
    if (scale > 1 && unit == 1)
        return false;
    if (__builtin_mul_overflow(v, unit, &v) ||
        __builtin_add_overflow(v, fraction * unit / scale, &v)) /* 2^20 2^40 < 2^64 */
        return false;
    *value = v;
    return *p == '\0';
}

bool mq_parse_size(const char *text, uint64_t *bytes)
{
    return mq_parse_number(text, true, bytes);
}

const char *mq_format_bytes(uint64_t bytes, char text[32])
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    double v = (double)bytes;
    size_t u = 0;
    while (v >= 1024 && u + 1 < sizeof units / sizeof *units) {
        v /= 1024;
        u++;
    }
    snprintf(text, 32,
             u == 0 || v >= 100 ? "%.0f %s"
             : v >= 10          ? "%.1f %s"
                                : "%.2f %s",
             v, units[u]);
    return text;
}

const char *mq_format_size_up(uint64_t bytes, char text[32])
{
    static const char letters[] = "KMGT";
    enum { DECIMALS = 1000000 }; /* that mq_parse_number reads */
    size_t u = 0;
    while (u < sizeof letters - 1 && bytes >> 10 * (u + 1))
        u++;
    if (u == 0) {
        snprintf(text, 32, "%" PRIu64, bytes);
        return text;
    }
    const uint64_t unit = UINT64_C(1) << 10 * u, rest = bytes % unit;
    uint64_t whole = bytes / unit,
             part = (rest * DECIMALS + unit - 1) / unit; /* 2^40 2^20 < 2^64 */
    whole += part / DECIMALS;
    part %= DECIMALS;
    int n = snprintf(text, 32, "%" PRIu64 ".%06" PRIu64, whole, part);
    while (text[n - 1] == '0')
        n--;
    n -= text[n - 1] == '.';
    text[n] = letters[u - 1];
    text[n + 1] = '\0';
    return text;
}
