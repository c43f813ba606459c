/* nearest.c: names by edit distance (Levenshtein's: insert, delete, replace). */
#include "nearest.h"

#include <stdint.h>
#include <string.h>

static size_t edit_distance(const char *a, const char *b)
{
    enum { MAX = 64 }; /* longer names are near nothing */
    const size_t n = strlen(a), m = strlen(b);
    size_t row[MAX + 1];
    if (n > MAX || m > MAX)
        return SIZE_MAX;
    for (size_t k = 0; k <= m; k++)
        row[k] = k;
    for (size_t i = 1; i <= n; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t k = 1; k <= m; k++) {
            const size_t substituted = diagonal + (a[i - 1] != b[k - 1]);
            diagonal = row[k];
            const size_t inserted = (row[k] < row[k - 1] ? row[k] : row[k - 1]) + 1;
            row[k] = substituted < inserted ? substituted : inserted;
        }
    }
    return row[m];
}

const char *mq_nearest(const char *word, const char *const *names, size_t n)
{
    const char *best = NULL;
    size_t best_distance = strlen(word) / 3 + 2;
    for (size_t i = 0; i < n; i++) {
        const size_t d = edit_distance(word, names[i]);
        if (d < best_distance) {
            best_distance = d;
            best = names[i];
        }
    }
    return best;
}
